"""Alembic's entry: writes the SQL of the missing revisions, which asyncpg then runs."""

from alembic import context

context.configure(
    dialect_name="postgresql",
    dialect_opts={"paramstyle": "named"},
    transactional_ddl=False,  # the caller has begun the transaction
    output_buffer=context.config.output_buffer,
    version_table=context.config.get_main_option("version_table"),
    version_table_schema="public",
)
with context.begin_transaction():
    context.run_migrations()
