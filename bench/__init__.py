"""What the desk can do on this machine, beside what the design asks of it."""
