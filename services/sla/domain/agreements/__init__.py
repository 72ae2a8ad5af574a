"""Agreements, who signed them, and what is due for a period."""
