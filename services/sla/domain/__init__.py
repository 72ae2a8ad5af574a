"""Pure rules of sla: no clock, no ids, no I/O."""
