"""The five services of Deskledger and the `desk` command that runs them."""
