"""A look for what is due costs what is due, however many timers are armed (R7)."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
from support.plans import rows_looked_at

from shared.postgres.migrate import migrate
from shared.postgres.pool import Connection, open_pool
from shared.runtime.timers import _CLAIM, BATCH_SIZE_MAX, NEXT_DUE

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
ARMED = 30_000
LATER = timedelta(days=1)
_FILL = """
INSERT INTO kernel.timer SELECT 'ticket ' || n, 'breach', $2, $3 FROM generate_series(1, $1::int) n
"""


@pytest.fixture
async def connection(make_database: Callable[[str], str]) -> AsyncIterator[Connection]:
    """A database with timers that are not due, and with some that are due but armed just now."""
    dsn = make_database("service")
    await migrate(dsn)
    pool = await open_pool(dsn, role="desk_app", name="test", size_max=1)
    async with pool.acquire() as connection:
        await connection.execute(_FILL, ARMED, NOW + LATER, NOW - LATER)
        await connection.execute(
            _FILL.replace("'breach'", "'warn'"), ARMED, NOW - LATER, NOW + LATER
        )
        yield connection
    await pool.close()


async def arm(connection: Connection, name: str, due_at: datetime, armed_at: datetime) -> None:
    await connection.execute(
        "INSERT INTO kernel.timer VALUES ('due', $1, $2, $3)", name, due_at, armed_at
    )


@pytest.mark.parametrize("is_analyzed", [False, True])
async def test_one_due_timer_among_many_is_one_row_to_look_at(
    connection: Connection, *, is_analyzed: bool
) -> None:
    await arm(connection, "breach", NOW, NOW - LATER)
    if is_analyzed:
        owner = await connection.fetchval("SELECT session_user")
        await connection.execute(f'SET ROLE "{owner}"')
        await connection.execute("ANALYZE kernel.timer")
        await connection.execute("SET ROLE desk_app")
    assert await rows_looked_at(connection, NEXT_DUE, NOW) == 1
    claimed_and_deleted = 2
    assert await rows_looked_at(connection, _CLAIM, NOW, BATCH_SIZE_MAX) == claimed_and_deleted


async def test_nothing_due_is_nothing_to_look_at(connection: Connection) -> None:
    assert await rows_looked_at(connection, NEXT_DUE, NOW) == 0
    assert await rows_looked_at(connection, _CLAIM, NOW, BATCH_SIZE_MAX) == 0


async def test_what_is_armed_late_waits_from_then_on(connection: Connection) -> None:
    await arm(connection, "late", NOW - LATER, NOW)
    just_before = NOW - timedelta(microseconds=1)
    assert await connection.fetchval(NEXT_DUE, just_before) is None
    assert await connection.fetch(_CLAIM, just_before, BATCH_SIZE_MAX) == []
    assert await connection.fetchval(NEXT_DUE, NOW) == NOW
    claimed = await connection.fetch(_CLAIM, NOW, BATCH_SIZE_MAX)
    assert [(row["name"], row["due_at"]) for row in claimed] == [("late", NOW - LATER)]
