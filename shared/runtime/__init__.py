"""The read side: consumers, leases, projections, reactions, timers, quarantine."""
