"""Who may write what: commands that only look cannot write at all (R8)."""

import ast
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from services.sla.projections import READ_MODEL
from shared.postgres.migrate import migrate
from shared.postgres.pool import open_pool, open_reader
from shared.replay import schema

COMMANDS = Path(__file__).parents[2] / "services" / "commands"
WRITES = (
    "INSERT INTO kernel.journal VALUES ('s', 1, 'ticket.created', '')",
    "INSERT INTO kernel.outbox (stream_id, sequence) VALUES ('s', 1)",
    "INSERT INTO kernel.timer VALUES ('s', 'n', now(), now())",
    "INSERT INTO kernel.delivery (id, target, body, next_at)"
    " VALUES (gen_random_uuid(), 't', '', now())",
    "UPDATE kernel.consumer_offset SET next_offset = 0",
    "DELETE FROM read.clock",
    "CREATE SCHEMA other",
)


@pytest.mark.parametrize("statement", WRITES)
async def test_who_only_looks_can_write_nothing(
    statement: str, make_database: Callable[[str], str]
) -> None:
    dsn = make_database("sla")
    await migrate(dsn)
    replay = await open_pool(dsn, role="desk_replay", name="test", size_max=1)
    async with replay.acquire() as connection, connection.transaction():
        await schema.create(connection, READ_MODEL, schema.LIVE)
    await replay.close()
    reader = await open_reader(dsn, name="test")
    try:
        for table in ("kernel.journal", "read.clock", "read.history"):
            assert await reader.fetchval(f"SELECT count(*) FROM {table}") == 0
        with pytest.raises(
            (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)
        ):
            await reader.execute(statement)
    finally:
        await reader.close()


@pytest.mark.parametrize("path", sorted(COMMANDS.glob("*.py")), ids=lambda path: path.name)
def test_no_command_connects_as_the_owner_of_a_database(path: Path) -> None:
    calls = [
        ast.unparse(n.func)
        for n in ast.walk(ast.parse(path.read_text()))
        if isinstance(n, ast.Call)
    ]
    assert not {"asyncpg.connect", "asyncpg.create_pool"} & set(calls)
