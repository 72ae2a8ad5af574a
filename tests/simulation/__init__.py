"""The kernel in virtual time: a seed decides who overtakes whom and who dies."""
