"""PostgreSQL: pools and roles, migrations, the embedded server."""
