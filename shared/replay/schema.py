"""The schemas that hold a read model's tables: the live one, and those beside it.

They belong to the replay role, which makes, fills and switches them; the app role works in them.
"""

import hashlib
from typing import Final

from shared.postgres.pool import Connection
from shared.runtime.read_model import Fold, ReadModel

LIVE: Final = "read"
SHADOW: Final = "read_next"
PREVIOUS: Final = "read_previous"


def fingerprint(model: ReadModel) -> str:
    """Return a digest of the model's tables and views; another one means: rebuild."""
    statements: list[str] = []
    for table in model.tables:
        statements += [table.create_sql(LIVE), *table.index_sql(LIVE)]
    return hashlib.sha256("\n".join([*statements, *model.views]).encode()).hexdigest()


async def live_fingerprint(connection: Connection) -> str | None:
    """Return what the live schema was made for, None while there is none."""
    return await connection.fetchval(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1", LIVE
    )


async def create(
    connection: Connection, model: ReadModel, schema: str, fold: Fold | None = None
) -> None:
    """Make the model's tables and views anew in `schema`, in the caller's transaction.

    With a fold, its rows are copied in before there is an index, which is several times quicker.
    """
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    await connection.execute(f"CREATE SCHEMA {schema}")
    for table in model.tables:
        await connection.execute(table.create_sql(schema))
        if fold is not None:
            await connection.copy_records_to_table(
                table.name,
                schema_name=schema,
                columns=[column.name for column in table.columns],
                records=fold.rows(table),
            )
        for statement in table.index_sql(schema):
            await connection.execute(statement)
    await connection.execute(f"SET LOCAL search_path = {schema}, kernel")
    for view in model.views:
        await connection.execute(view)
    await connection.execute(f"COMMENT ON SCHEMA {schema} IS '{fingerprint(model)}'")
    await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO desk_app")
    await connection.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO desk_app"
    )
