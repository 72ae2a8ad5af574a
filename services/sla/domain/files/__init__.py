"""Calendars, policies and scenarios as a file has them, and as the engine takes them."""
