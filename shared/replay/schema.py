"""The schemas that hold a read model's tables: the live one, and those beside it.

They belong to the replay role, which makes, fills and switches them; the app role works in them.
"""

from typing import Final

from shared.postgres.pool import Connection
from shared.runtime.fence import LIVE_FOLD, name_fold
from shared.runtime.read_model import Fold, ReadModel

LIVE: Final = "read"
SHADOW: Final = "read_next"
PREVIOUS: Final = "read_previous"


async def live_fingerprint(connection: Connection) -> str | None:
    """Return the fold that is live, None while there is none."""
    return await connection.fetchval(LIVE_FOLD)


async def fingerprint_of(connection: Connection, schema: str) -> str | None:
    """Return the fold that a schema was made for, None while there is none."""
    return await connection.fetchval(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1", schema
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
    await connection.execute(f"COMMENT ON SCHEMA {schema} IS '{model.fingerprint}'")
    await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO desk_app")
    await connection.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO desk_app"
    )
    if schema == LIVE:
        await name_fold(connection, model.fingerprint)
