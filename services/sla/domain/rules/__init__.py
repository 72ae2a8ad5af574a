"""Rules in their versions: what is published, and what a new set adds to it."""
