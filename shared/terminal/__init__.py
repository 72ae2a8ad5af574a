"""What `desk` commands share: options, a client of the desk, tables, files that are given."""
