"""What routing writes, and the state of its own that it decides by."""
