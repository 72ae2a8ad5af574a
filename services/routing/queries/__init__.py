"""What routing reads: for people, and for its decisions."""
