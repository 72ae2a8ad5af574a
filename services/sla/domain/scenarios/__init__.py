"""Scenarios: run, compared with what they state, and made from a real ticket."""
