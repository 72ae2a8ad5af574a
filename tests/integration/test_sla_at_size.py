"""What sla reads of many tickets: the range that was asked for, and the same answers as before."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest
from support.attainment_scan import scanned
from support.plans import rows_looked_at

from services.sla.chores import add_up_verdicts, count_verdicts
from services.sla.domain.clocks.attainment import AttainmentQuery
from services.sla.projections import READ_MODEL
from services.sla.queries import clocks, read_attainment
from shared.postgres.migrate import migrate
from shared.postgres.pool import Connection, Pool, open_pool
from shared.replay import schema
from shared.runtime import rollups

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


async def settle(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the chore count until all is done, many hours at a time."""

    @asynccontextmanager
    async def acquire() -> AsyncGenerator[Connection]:
        yield connection

    monkeypatch.setattr(rollups, "HOURS_MAX", 1_000)
    chore = rollups.Rollups(READ_MODEL.fingerprint, count_verdicts, add_up_verdicts)
    while await chore.refresh(cast("Pool", SimpleNamespace(acquire=acquire))):
        pass


def spy(connection: Connection, sent: list[tuple[Any, ...]]) -> Connection:
    """Return the connection, with `sent` being told of each statement."""

    def told(send: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *statement: sent.append(statement) or send(*statement)

    names = {"fetch": told(connection.fetch), "fetchrow": told(connection.fetchrow)}
    return cast("Connection", SimpleNamespace(transaction=connection.transaction, **names))


async def test_promises_kept_are_read_from_few_rows_however_many_there_were(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await settle(connection, monkeypatch)
    now = START + 100 * DAY
    for asked, most in (
        (AttainmentQuery(), 200),
        (AttainmentQuery(by=("policy", "month"), zone="Asia/Kathmandu"), ENDED / 40),
        (AttainmentQuery(start=START + DAY + DAY / 100, end=START + 25 * DAY), ENDED / 40),
        # Of nearly every hour of the last days something was broken and settled after the end.
        (AttainmentQuery(start=START + DAY, end=START + 9 * DAY + DAY / 100), ENDED / 1.5),
    ):
        sent: list[tuple[Any, ...]] = []
        found = await read_attainment(spy(connection, sent), asked, now)
        expected = await scanned(connection, asked, now)
        assert [(one.met, one.missed) for one in found] == [row[3:5] for row in expected]
        looked_at = [await rows_looked_at(connection, *one) for one in sent]
        assert 0 < sum(looked_at) < most
