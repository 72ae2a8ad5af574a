"""What the kernel relies on in its database, on PostgreSQL and on the simulation's store."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from simulation.rules import MODEL
from support.histories import created, written
from support.memory_store import MemoryPool, MemoryStore

from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCommented, TicketStarted
from shared.journal import relay, snapshots
from shared.journal.journal import Append, Draft, Journal
from shared.journal.snapshots import Compaction, read_pasts
from shared.log.port import TopicPartition
from shared.postgres.migrate import migrate
from shared.postgres.pool import open_pool
from shared.replay import schema
from shared.runtime import consumer, leases, timers
from shared.runtime.consumer import applied_offsets, load_offsets
from shared.runtime.fence import HOLD, hold_fold
from shared.runtime.leases import Leases
from shared.runtime.read_model import Fold, read_histories, write
from shared.runtime.unit import Timer, Unit

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
PLACE = TopicPartition("ticket.created", 0)
LINEAGE = Lineage(actor="test", correlation_id="c")


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        return NOW


JOURNAL = Journal("intake", Clock())


@pytest.fixture(params=["postgres", "memory"])
async def pool(request: pytest.FixtureRequest) -> AsyncGenerator[Any]:
    if request.param == "memory":
        yield MemoryStore(lambda: datetime.now(UTC), MODEL).pool()
        return
    make_database: Callable[[str], str] = request.getfixturevalue("make_database")
    dsn = make_database("store")
    await migrate(dsn)
    replay = await open_pool(dsn, role="desk_replay", name="test", size_max=1)
    async with replay.acquire() as connection, connection.transaction():
        await schema.create(connection, MODEL, schema.LIVE)
    await replay.close()
    made = await open_pool(dsn, role="desk_app", name="test", size_max=8)
    yield made
    await made.close()


def opening(number: int) -> Append:
    ticket = UUID(int=number)
    return Append(str(ticket), 0, (Draft(created(ticket), NOW),), LINEAGE)


@asynccontextmanager
async def begun(pool: Any) -> AsyncGenerator[Any]:
    async with pool.acquire() as connection, connection.transaction():
        yield connection


async def outbox(pool: Any) -> list[int]:
    rows = await pool.fetch(relay._NEXT, 100, 10**9)
    return [UUID(row["stream_id"]).int for row in rows]


async def test_what_is_rolled_back_leaves_nothing(pool: Any) -> None:
    with suppress(ZeroDivisionError):
        async with begun(pool) as connection:
            assert await JOURNAL.append(connection, [opening(1)]) == [True]
            assert len((await JOURNAL.read(connection, [str(UUID(int=1))]))[str(UUID(int=1))]) == 1
            raise ZeroDivisionError
    assert await outbox(pool) == []
    async with begun(pool) as connection:
        assert await JOURNAL.append(connection, [opening(1)]) == [True]
    assert await outbox(pool) == [1]


async def test_a_late_append_is_left_out_and_so_is_a_simultaneous_one(pool: Any) -> None:
    async with begun(pool) as connection:
        await JOURNAL.append(connection, [opening(1)])
        started = Draft(TicketStarted(ticket_id=UUID(int=1), agent_id="bo"), NOW)
        late = Append(str(UUID(int=1)), 0, (started,), LINEAGE)
        assert await JOURNAL.append(connection, [late, opening(2)]) == [False, True]
    async with pool.acquire() as one:
        async with one.transaction():
            await JOURNAL.append(one, [opening(3)])

            async def rival() -> list[bool]:
                async with begun(pool) as other:
                    return await JOURNAL.append(other, [opening(4), opening(3)])

            waiting = asyncio.create_task(rival())
            await asyncio.sleep(0.1)
            assert not waiting.done(), "it waits to see what becomes of the first"
        assert await waiting == [True, False], "and is late then, as is what would follow on it"


async def test_outbox_ids_may_be_committed_out_of_order(pool: Any) -> None:
    async with pool.acquire() as first:
        async with first.transaction():
            await JOURNAL.append(first, [opening(1)])
            async with begun(pool) as second:
                await JOURNAL.append(second, [opening(2)])
            assert await outbox(pool) == [2], "the later id is there before the earlier one"
        assert await outbox(pool) == [1, 2]


async def move(connection: Any, before: int, after: int, fold: str = MODEL.fingerprint) -> str:
    places = ([PLACE.topic], [PLACE.partition])
    return await connection.execute(consumer._MOVE, *places, [before], [after], fold)


async def test_who_has_another_fold_than_the_live_one_moves_nothing(pool: Any) -> None:
    await load_offsets(pool, [PLACE])
    async with begun(pool) as connection:
        await hold_fold(connection, MODEL.fingerprint)
        assert await move(connection, 0, 5, fold="2-another") == "UPDATE 0"
        assert await connection.fetchval(HOLD, "2-another") is None
        assert await move(connection, 0, 5) == "UPDATE 1"


async def test_of_two_who_move_an_offset_one_moves_it(pool: Any) -> None:
    assert await load_offsets(pool, [PLACE]) == {PLACE: 0}
    async with begun(pool) as one:
        assert await move(one, 0, 5) == "UPDATE 1"

        async def rival() -> str:
            async with begun(pool) as other:
                return await move(other, 0, 7)

        waiting = asyncio.create_task(rival())
        await asyncio.sleep(0.1)
        assert not waiting.done()
    assert await waiting == "UPDATE 0"
    assert await applied_offsets(pool) == {PLACE: 5}
    assert await load_offsets(pool, [PLACE]) == {PLACE: 5}


async def test_a_lease_is_kept_renewed_and_released(pool: Any) -> None:
    one, two = Leases(pool, "one"), Leases(pool, "two")
    assert await one.take("relay")
    assert not await two.take("relay")
    assert await one.take("relay")
    assert await one.take_share(2) == frozenset({0, 1})
    await two.take_share(2)
    assert len(await one.take_share(2)) == 1
    assert len(await two.take_share(2)) == 1


async def test_an_expired_lease_is_free_and_now_is_when_the_transaction_began(pool: Any) -> None:
    async with begun(pool) as connection:
        assert await connection.fetchval(leases._TAKE, "relay", "one", 0.05) == 1
        await asyncio.sleep(0.1)  # past its end, as clocks on the wall see it
        live = await connection.fetch(leases._LIVE, "relay%")
        assert [row["holder"] for row in live] == ["one"]
    assert await pool.fetch(leases._LIVE, "relay%") == []
    assert await pool.fetchval(leases._TAKE, "relay", "two", 60) == 2, "a new holder, a new token"
    assert await pool.fetchval(leases._TAKE, "relay", "one", 60) is None


async def arm(pool: Any, *due: timedelta) -> None:
    async with begun(pool) as connection:
        unit = Unit(connection, JOURNAL, NOW)
        unit.set_timers("s", [Timer("s", f"t{n}", NOW + wait) for n, wait in enumerate(due)])
        await unit.flush()


async def test_a_due_timer_is_claimed_once_and_comes_back_if_its_claim_is_undone(pool: Any) -> None:
    await arm(pool, timedelta(seconds=1), timedelta(seconds=9))
    until = NOW + timedelta(seconds=5)
    assert await pool.fetchval(timers.NEXT_DUE, until) == NOW + timedelta(seconds=1)
    with suppress(ZeroDivisionError):
        async with begun(pool) as one:
            assert [row["name"] for row in await one.fetch(timers._CLAIM, until, 10)] == ["t0"]
            async with begun(pool) as other:
                assert await other.fetch(timers._CLAIM, until, 10) == [], "others pass it by"
            raise ZeroDivisionError
    async with begun(pool) as again:
        assert len(await again.fetch(timers._CLAIM, until, 10)) == 1
    await arm(pool)
    assert await pool.fetchval(timers.NEXT_DUE, NOW + timedelta(days=1)) is None


async def test_an_older_event_does_not_overwrite_a_newer_one(pool: Any) -> None:
    ticket = UUID(int=1)
    events = written("intake", [created(ticket), TicketStarted(ticket_id=ticket, agent_id="bo")])
    for event in (events[1], events[0], events[0]):
        fold = Fold(MODEL)
        fold.add(event)
        async with begun(pool) as connection:
            await write(connection, MODEL, fold, "read")
    async with begun(pool) as connection:
        histories = await read_histories(connection, [str(ticket)])
    assert [event.sequence for event in histories[str(ticket)]] == [1, 2]
    assert await ticket_row(pool) == {
        "ticket_id": str(ticket),
        "birth_seq": 1,
        "title": "VPN drops",
        "progress_seq": 2,
        "status": "in_progress",
    }


async def ticket_row(pool: Any) -> dict[str, Any]:
    """Return the only row of the read model, which no statement of the kernel reads."""
    if isinstance(pool, MemoryPool):
        (row,) = pool._store.rows("ticket").values()
        return row
    row = await pool.fetchrow("SELECT * FROM read.ticket")
    return dict(row) | {"ticket_id": str(row["ticket_id"])}


async def test_who_waits_for_another_in_a_circle_is_told(pool: Any) -> None:
    async def opens(first: int, second: int, met: asyncio.Barrier) -> bool:
        try:
            async with begun(pool) as connection:
                await JOURNAL.append(connection, [opening(first)])
                await met.wait()
                await JOURNAL.append(connection, [opening(second)])
        except asyncpg.DeadlockDetectedError:
            return False
        return True

    met = asyncio.Barrier(2)
    fates = await asyncio.gather(opens(1, 2, met), opens(2, 1, met), return_exceptions=True)
    assert fates.count(False) == 1
    assert fates.count(True) == 1


COMPACTION = Compaction[Any](
    tail_max=3,
    key=lambda data: str(data.comment_id.int) if isinstance(data, TicketCommented) else None,
)


async def talk(pool: Any, first: int, last: int) -> None:
    """Append comments to the first ticket; its creation is sequence 1."""
    drafts = [
        Draft(
            TicketCommented(
                ticket_id=UUID(int=1),
                comment_id=UUID(int=number),
                author_id="bo",
                author_role="agent",
                visibility="public",
                text="we are on it",
            ),
            NOW,
        )
        for number in range(first, last + 1)
    ]
    async with begun(pool) as connection:
        append = Append(str(UUID(int=1)), first - 1, tuple(drafts), LINEAGE)
        assert await JOURNAL.append(connection, [append]) == [True]


async def left(pool: Any, *keys: int, compaction: Any = COMPACTION) -> tuple[list[int], int]:
    """Return the sequences that are left of the first ticket, and the last there is."""
    stream_id = str(UUID(int=1))
    async with begun(pool) as connection:
        pasts = await read_pasts(connection, compaction, {stream_id: [str(key) for key in keys]})
    return [event.sequence for event in pasts[stream_id].events], pasts[stream_id].sequence


async def snapshots_of(pool: Any) -> list[tuple[int, int]]:
    """Return version and sequence of all snapshots."""
    if isinstance(pool, MemoryPool):
        return sorted((key[1], row[0]) for key, row in pool._store.rows("snapshot").items())
    rows = await pool.fetch("SELECT version, sequence FROM kernel.snapshot ORDER BY version")
    return [(row["version"], row["sequence"]) for row in rows]


async def test_a_long_past_is_read_by_its_snapshot(pool: Any) -> None:
    assert await left(pool, 2) == ([], 0)
    async with begun(pool) as connection:
        await JOURNAL.append(connection, [opening(1)])
    await talk(pool, 2, 3)
    assert await left(pool, 3) == ([1, 3], 3)
    assert await snapshots_of(pool) == [], "its tail is short"
    await talk(pool, 4, 5)
    assert await left(pool, 3) == ([1, 3], 5)
    assert await snapshots_of(pool) == [(1, 5)]
    await talk(pool, 6, 7)
    assert await left(pool, 2, 7, 8) == ([1, 2, 7], 7)
    assert await left(pool) == ([1], 7)
    assert await left(pool, compaction=None) == ([1, 2, 3, 4, 5, 6, 7], 7)
    assert await snapshots_of(pool) == [(1, 5)]


async def test_a_snapshot_of_another_version_is_not_read_and_an_older_one_goes(pool: Any) -> None:
    async with begun(pool) as connection:
        await JOURNAL.append(connection, [opening(1)])
    await talk(pool, 2, 5)
    newer = replace(COMPACTION, version=2, key=lambda _: None)
    assert await left(pool, 2) == ([1, 2], 5)
    assert await left(pool, compaction=newer) == ([1, 5], 5)
    assert await snapshots_of(pool) == [(2, 5)]
    assert await left(pool, 2) == ([1, 2], 5), "the older program goes on as it did"
    assert await snapshots_of(pool) == [(1, 5), (2, 5)]
    await talk(pool, 6, 9)
    assert await left(pool, 2, compaction=newer) == ([1, 9], 9)
    assert await snapshots_of(pool) == [(2, 9)]


async def test_a_snapshot_that_does_not_fit_the_journal_is_thrown_away(pool: Any) -> None:
    async with begun(pool) as connection:
        await JOURNAL.append(connection, [opening(1)])
    await talk(pool, 2, 5)
    stream_id = str(UUID(int=1))
    for taken, kept in [(9, [1, 9]), (4, [1]), (4, [4, 7]), (3, [1, 2])]:
        async with begun(pool) as connection:
            await connection.execute(snapshots.FORGET, stream_id, 1)
            await connection.execute(snapshots.TAKE, stream_id, 1, taken, kept, [], [])
        assert await left(pool, 2) == ([1, 2], 5), (taken, kept)
        assert await snapshots_of(pool) == [(1, 5)], "the next one is taken from all"
