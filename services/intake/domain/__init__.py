"""Pure rules of intake: no clock, no ids, no I/O."""
