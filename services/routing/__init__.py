"""Triage and people: priority, assignment, escalation, roster."""
