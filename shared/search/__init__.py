"""One text index for all services: what is found by which words, ranked and marked (ADR 0030)."""
