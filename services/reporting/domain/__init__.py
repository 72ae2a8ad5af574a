"""Pure rules of reporting: no clock, no ids, no I/O."""
