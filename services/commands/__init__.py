"""The subcommands of `desk`, one module per noun."""
