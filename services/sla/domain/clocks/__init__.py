"""One ticket's clocks: its history judged by the rules, and what is read from the ledger."""
