"""Promises: calendars, policies, clocks, warnings, breaches."""
