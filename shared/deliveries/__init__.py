"""What leaves the desk: rows, written with a decision and sent until they arrive (R9)."""
