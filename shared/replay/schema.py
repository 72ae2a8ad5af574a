"""The schemas that hold a read model's tables: the live one, and those beside it.

They belong to the replay role, which makes, fills and switches them; the app role works in them.
"""

from typing import Final

from shared.postgres.pool import Connection
from shared.runtime.fence import LIVE_FOLD, name_fold
from shared.runtime.read_model import ReadModel

LIVE: Final = "read"
SHADOW: Final = "read_next"
PREVIOUS: Final = "read_previous"
CHECK: Final = "read_check"
_POSITIONS: Final = """
CREATE TABLE IF NOT EXISTS {schema}.fold_position (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    until bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
)
"""
_KEEP_POSITIONS: Final = f"""
DELETE FROM {LIVE}.fold_position;
INSERT INTO {LIVE}.fold_position (topic, partition, next_offset)
SELECT topic, partition, next_offset FROM kernel.consumer_offset
"""  # noqa: S608 names are ours


async def live_fingerprint(connection: Connection) -> str | None:
    """Return the fold that is live, None while there is none."""
    return await connection.fetchval(LIVE_FOLD)


async def fingerprint_of(connection: Connection, schema: str) -> str | None:
    """Return the fold that a schema was made for, None while there is none."""
    return await connection.fetchval(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1", schema
    )


async def begin(connection: Connection, model: ReadModel, schema: str) -> None:
    """Make the model's tables anew in `schema`, bare, to be filled; in the caller's transaction.

    Beside them `fold_position` says up to where they are, and up to where they shall be filled.
    """
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
    await connection.execute(f"CREATE SCHEMA {schema}")
    await connection.execute(_POSITIONS.format(schema=schema))
    for table in model.tables:
        await connection.execute(table.create_sql(schema))


async def finish(connection: Connection, model: ReadModel, schema: str) -> None:
    """Add what is derived from filled and indexed tables, and say which fold they are of."""
    await connection.execute(f"SET LOCAL search_path = {schema}, kernel")
    for view in model.views:
        await connection.execute(view)
    await connection.execute(f"COMMENT ON SCHEMA {schema} IS '{model.fingerprint}'")
    await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO desk_app")
    await connection.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO desk_app"
    )


async def create(connection: Connection, model: ReadModel, schema: str) -> None:
    """Make the model's tables and views anew in `schema`, empty, in the caller's transaction."""
    await begin(connection, model, schema)
    for table in model.tables:
        for statement in table.index_sql(schema):
            await connection.execute(statement)
    await finish(connection, model, schema)
    if schema == LIVE:
        await name_fold(connection, model.fingerprint)


async def switch(connection: Connection, model: ReadModel) -> None:
    """Make the shadow schema the live one, in the caller's transaction.

    The old one is kept with its positions, so that a rollback only has to catch up.
    """
    await connection.execute(f"DROP SCHEMA IF EXISTS {PREVIOUS} CASCADE")
    if await fingerprint_of(connection, LIVE) is not None:
        await connection.execute(_POSITIONS.format(schema=LIVE))
        await connection.execute(_KEEP_POSITIONS)
        await connection.execute(f"ALTER SCHEMA {LIVE} RENAME TO {PREVIOUS}")
    await connection.execute(f"ALTER SCHEMA {SHADOW} RENAME TO {LIVE}")
    await name_fold(connection, model.fingerprint)


async def take_previous(connection: Connection, model: ReadModel) -> None:
    """Make the model that was live before the shadow to go on with, if it is of this fold."""
    async with connection.transaction():
        if await fingerprint_of(connection, PREVIOUS) == model.fingerprint:
            await connection.execute(f"DROP SCHEMA IF EXISTS {SHADOW} CASCADE")
            await connection.execute(f"ALTER SCHEMA {PREVIOUS} RENAME TO {SHADOW}")
