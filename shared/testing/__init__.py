"""Helpers for tests; production code never imports them."""
