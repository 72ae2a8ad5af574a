"""Rebuilding read models from the log and proving that they agree with the live ones."""
