"""The write side: a service's own journal, its outbox, and the relay to the log."""
