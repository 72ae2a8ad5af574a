"""What is published about clocks: the ledger against what was published before."""
