"""What sla reads of many tickets: the range that was asked for, and the same answers as before."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import asyncpg
import pytest
from support.plans import rows_looked_at

from services.sla.domain.attainment import Asked
from services.sla.projections import READ_MODEL
from services.sla.queries import attainment, clocks
from services.sla.tables import ALL_CYCLES, CYCLES_WITHIN
from shared.postgres.migrate import migrate
from shared.postgres.pool import Connection, open_pool
from shared.replay import schema

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ENDED, RUNNING = 20_000, 20
CLOCKS_OF_A_TICKET = 3
_FILL = """
INSERT INTO read.clock (ticket_id, target, cycle, generation, kind, policy_id, due_at, outcome,
    stopped_at, breached_at)
SELECT md5((n / 3)::text)::uuid, 'resolution', 1 + n % 2, 1 + n % 3, 'sla', 'p' || n % 2,
    $3::timestamptz + n * interval '1 minute',
    CASE WHEN n <= $1 THEN (ARRAY['met', 'missed', 'cancelled'])[1 + n * 7 % 3] END,
    CASE WHEN n <= $1 AND n * 7 % 3 < 2 THEN $3 + n * interval '90 seconds' END,
    CASE WHEN n % 5 = 0 THEN $3 + n * interval '1 minute' END
FROM generate_series(1, $1::int + $2::int) n
"""
_TICKETS = """
INSERT INTO read.ticket (ticket_id, is_over, priority, customer)
SELECT DISTINCT ON (ticket_id) ticket_id, outcome IS NOT NULL, 'P' || length(target) % 4, 'acme'
FROM read.clock ORDER BY ticket_id, outcome NULLS FIRST
"""


@pytest.fixture
async def connection(make_database: Callable[[str], str]) -> AsyncGenerator[Connection]:
    dsn = make_database("sla")
    await migrate(dsn)
    pool = await open_pool(dsn, role="desk_replay", name="test", size_max=1)
    async with pool.acquire() as connection, connection.transaction():
        await schema.create(connection, READ_MODEL, schema.LIVE)
        await connection.execute(_FILL, ENDED, RUNNING, START)
        await connection.execute(_TICKETS)
    await pool.close()
    owner = await asyncpg.connect(dsn)
    await owner.execute("ANALYZE")
    await owner.close()
    pool = await open_pool(dsn, role="desk_app", name="test", size_max=1)
    async with pool.acquire() as connection:
        yield connection
    await pool.close()


async def test_running_clocks_are_found_without_those_that_ended(connection: Connection) -> None:
    far = START + 100 * DAY
    for sql in (clocks._UPCOMING, clocks._OVERDUE):
        arguments = START if sql is clocks._UPCOMING else far, 50, None, None
        looked_at = await rows_looked_at(connection, sql, *arguments)
        assert 0 < looked_at <= 4 * RUNNING
    of_all = await rows_looked_at(connection, clocks._UNDER_WAY, UUID(int=0), RUNNING)
    assert 0 < of_all <= 4 * RUNNING


async def test_tickets_under_way_are_gone_through_some_at_a_time(connection: Connection) -> None:
    await connection.execute(
        "UPDATE read.ticket SET is_over = true WHERE get_byte(uuid_send(ticket_id), 0) % 2 = 0"
    )
    under_way = {
        row[0]
        for row in await connection.fetch("SELECT ticket_id FROM read.clock WHERE outcome IS NULL")
    }
    found: list[UUID] = []
    first = UUID(int=0)
    while more := await clocks.tickets_under_way(connection, first, 4):
        found += more[:3]
        looked_at = await rows_looked_at(connection, clocks._UNDER_WAY, first, 4)
        assert looked_at <= 4 * (1 + CLOCKS_OF_A_TICKET)
        first = UUID(int=more[2].int + 1) if more[2:] else UUID(int=2**128 - 1)
    assert found == sorted(under_way)


async def test_what_ended_last_is_read_from_its_end(connection: Connection) -> None:
    assert await rows_looked_at(connection, clocks._ENDED_LAST, 50, 400) == 400
    every = (
        "SELECT ticket_id::text FROM read.clock WHERE outcome IS NOT NULL GROUP BY ticket_id"
        " ORDER BY max(stopped_at) DESC NULLS LAST, ticket_id LIMIT $1"
    )
    assert await connection.fetch(clocks._ENDED_LAST, 50, 400) == await connection.fetch(every, 50)


async def test_a_period_reads_its_own_clocks_and_tells_the_same(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Random(7)
    for _ in range(40):
        start = START + chance.random() * 25 * DAY
        end = start + chance.random() * 5 * DAY
        asked = Asked(
            start=start if chance.random() < 0.8 else None,
            end=end if chance.random() < 0.8 else None,
            by=tuple(chance.sample(["policy", "month", "priority"], 2)),
            zone="Europe/Berlin",
        )
        now = start + chance.random() * 9 * DAY
        found = await attainment.read_attainment(connection, asked, now)
        with monkeypatch.context() as whole:
            whole.setattr(attainment, "CYCLES_WITHIN", ALL_CYCLES)
            assert found == await attainment.read_attainment(connection, asked, now)
    of_a_day = f"SELECT k.* {CYCLES_WITHIN}"
    looked_at = await rows_looked_at(connection, of_a_day, START + 9 * DAY, START + 10 * DAY)
    assert 0 < looked_at < ENDED / 3
