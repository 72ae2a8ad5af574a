"""Pure rules of knowledge: no clock, no ids, no I/O."""
