"""The desk's door: every channel in and out, the ticket record and its lifecycle."""
