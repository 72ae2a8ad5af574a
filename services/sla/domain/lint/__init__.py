"""What is wrong with calendars and policies, seen before any ticket feels it."""
