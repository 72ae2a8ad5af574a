"""Pure rules of routing: no clock, no ids, no I/O."""
