"""What the kernel's tables let go of, and when; each says so beside itself."""

import re
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.runtime import purge
from shared.runtime.leases import Leases
from shared.runtime.purge import EVERY, RULES, Purge

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
KEPT_FOR_EVER = {"journal"}
EMPTIED_BY_ITS_READER = {"outbox", "timer", "parked_timer"}
FEW_ROWS = {"consumer_offset", "live_fold", "turn"}
KEPT_BY_WHO_WRITES_IT = {"fold_run", "snapshot", "snapshot_key"}


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at


@pytest.fixture
async def pool(make_database: Callable[[str], str]) -> AsyncGenerator[Pool]:
    dsn = make_database("service")
    await migrate(dsn)
    made = await open_pool(dsn, role="desk_app", name="test", size_max=2)
    yield made
    await made.close()


async def purged(pool: Pool, clock: SetClock) -> int:
    chore, rows = Purge(pool, clock), 0
    while count := await chore.step():
        rows += count
    return rows


async def deliveries(pool: Pool) -> dict[str, int]:
    rows = await pool.fetch("SELECT state, count(*) FROM kernel.delivery GROUP BY 1")
    return dict(map(tuple, rows))


async def test_every_table_says_what_bounds_it_and_each_bound_is_kept(pool: Pool) -> None:
    comments = dict(
        await pool.fetch(
            "SELECT relname, coalesce(obj_description(oid, 'pg_class'), '') FROM pg_class"
            " WHERE relnamespace = 'kernel'::regnamespace AND relkind = 'r'"
        )
    )
    ruled = {rule.table for rule in RULES}
    bounded = KEPT_FOR_EVER | EMPTIED_BY_ITS_READER | FEW_ROWS | KEPT_BY_WHO_WRITES_IT
    assert comments.keys() - bounded == ruled
    assert all(comments.values())
    for rule in RULES:
        for days in re.findall(r"interval '(\d+) days?'", rule.sql):
            assert re.search(rf"\b{days}\b", comments[rule.table]), rule.table


async def test_deliveries_leave_by_their_state_and_age(pool: Pool) -> None:
    clock = SetClock()
    for number, state in enumerate(("pending", "sent", "discarded", "dead")):
        await pool.execute(
            "INSERT INTO kernel.delivery (id, target, body, state, next_at, since)"
            " VALUES ($1, 'x', '', $2, $3, $3)",
            UUID(int=number),
            state,
            NOW,
        )
    clock.at = NOW + timedelta(days=3)
    assert await purged(pool, clock) == 0, "not one second too early"
    clock.at += timedelta(seconds=1)
    assert await purged(pool, clock) == 1
    assert await deliveries(pool) == {"sent": 1, "discarded": 1, "dead": 2}
    clock.at = NOW + timedelta(days=14, seconds=1)
    assert await purged(pool, clock) == 2
    clock.at = NOW + timedelta(days=90, seconds=1)
    assert await purged(pool, clock) == 1
    assert await deliveries(pool) == {"dead": 1}, "it has been dead for 87 days"
    clock.at += timedelta(days=3, seconds=1)
    assert await purged(pool, clock) == 1


async def test_one_that_is_being_sent_is_not_given_up_meanwhile(pool: Pool) -> None:
    clock = SetClock()
    clock.at = NOW + timedelta(days=4)
    await pool.execute(
        "INSERT INTO kernel.delivery (id, target, body, next_at, since)"
        " VALUES ($1, 'x', '', $2, $3)",
        UUID(int=1),
        clock.at + timedelta(seconds=20),
        NOW,
    )
    assert await purged(pool, clock) == 0


async def test_lanes_members_and_parked_records_leave(pool: Pool) -> None:
    clock = SetClock()
    await pool.execute(
        "INSERT INTO kernel.lane (id, token, claimed_until) VALUES ($1, 1, $2)", UUID(int=1), NOW
    )
    await pool.executemany(
        "INSERT INTO kernel.quarantine (topic, partition, record_offset, timestamp_ms, reason,"
        " detail, parked_at, redriven_at) VALUES ('t', 0, $1, 0, 'r', 'd', $2, $3)",
        [(0, NOW, NOW), (1, NOW, None)],
    )
    await Leases(pool, "dead").take_share(2)
    await pool.execute("UPDATE kernel.lease SET expires_at = $1", NOW)
    clock.at = NOW + timedelta(days=1, seconds=1)
    assert await purged(pool, clock) == 1
    names = await pool.fetch("SELECT name FROM kernel.lease ORDER BY 1")
    assert [row[0] for row in names] == ["partition:0", "partition:1"]
    clock.at = NOW + timedelta(days=30, seconds=1)
    assert await purged(pool, clock) == 2, "the lane, and what was redriven"
    clock.at = NOW + timedelta(days=365, seconds=1)
    assert await purged(pool, clock) == 1
    assert await pool.fetchval("SELECT count(*) FROM kernel.quarantine") == 0


async def test_it_works_in_chunks_and_once_an_hour(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purge, "CHUNK_SIZE", 4)
    clock = SetClock()
    insert = (
        "INSERT INTO kernel.delivery (id, target, body, state, next_at, since)"
        " VALUES ($1, 'x', '', 'sent', $2, $2)"
    )
    await pool.executemany(insert, [(UUID(int=n), NOW) for n in range(10)])
    clock.at = NOW + timedelta(days=15)
    chore = Purge(pool, clock)
    assert [await chore.step() for _ in range(4)] == [4, 4, 2, 0]
    await pool.execute(insert, UUID(int=11), NOW)
    clock.at += EVERY - timedelta(seconds=1)
    assert await chore.step() == 0
    clock.at += timedelta(seconds=1)
    assert await chore.step() == 1
    await pool.execute(insert, UUID(int=12), NOW)
    clock.at -= timedelta(hours=2)
    assert await chore.step() == 1, "a clock that was set back does not stop it"


async def test_deliveries_are_found_by_an_index(pool: Pool) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan TO off")
        for rule in RULES[1:3]:
            plan = await _plan(connection, rule.sql)
            assert re.search(r"delivery_state.*\n\s+Index Cond: .*since <", plan), plan


async def _plan(connection: asyncpg.Connection, sql: str) -> str:
    text = sql.replace("$1", "'2026-01-05'").replace("$2", "1000")
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {text}"))
