"""The kernel's parts on real PostgreSQL: races, zombies, timers, limits."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest
from support.histories import created

from services.intake.projections import READ_MODEL
from services.reporting.handlers import archive
from services.reporting.wiring import room as reporting_room
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketStarted
from shared.contracts.registry import topics_of
from shared.errors import TooBusyError
from shared.journal.committer import Committer
from shared.journal.journal import Append, Draft, Journal
from shared.journal.relay import Relay
from shared.log.embedded import EmbeddedLog
from shared.log.port import Outgoing, Record, TopicPartition
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.replay.rebuild import ensure
from shared.runtime.consumer import Consumer
from shared.runtime.leases import Leases
from shared.runtime.timers import GRACE, Timers, Watermark
from shared.runtime.unit import Timer, Unit
from shared.runtime.weather import OvertakenError
from shared.telemetry.metrics import MetricRegistry, ServiceMetrics

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
LINEAGE = Lineage(actor="test", correlation_id="c")
TOPICS = topics_of("intake")


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


def metrics() -> ServiceMetrics:
    return MetricRegistry().for_service("test")


def opening(number: int) -> Append:
    ticket_id = UUID(int=number)
    return Append(str(ticket_id), 0, (Draft(created(ticket_id), NOW),), LINEAGE)


@asynccontextmanager
async def service_pool(make_database: Callable[[str], str]) -> AsyncGenerator[Pool]:
    dsn = make_database("service")
    await migrate(dsn)
    pool = await open_pool(dsn, role="desk_app", name="test", size_max=8)
    try:
        yield pool
    finally:
        await pool.close()


async def test_of_two_who_append_to_one_stream_one_is_late(
    make_database: Callable[[str], str],
) -> None:
    async with service_pool(make_database) as pool:
        journal = Journal("intake", SetClock())
        committers = [Committer(journal, pool, metrics(), outbox_max=100) for _ in range(4)]
        fates = await asyncio.gather(
            *(c.append([opening(n)]) for c in committers for n in range(9))
        )
        assert sum(fate[0] for fate in fates) == 9
        assert await pool.fetchval("SELECT count(*) FROM kernel.journal") == 9
        assert await pool.fetchval("SELECT count(*) FROM kernel.outbox") == 9


async def test_a_late_append_of_several_events_leaves_nothing_behind(
    make_database: Callable[[str], str],
) -> None:
    async with service_pool(make_database) as pool:
        committer = Committer(Journal("intake", SetClock()), pool, metrics(), outbox_max=100)
        first = opening(1)
        started = Draft(TicketStarted(ticket_id=UUID(int=1), agent_id="bo"), NOW)
        late = Append(first.stream_id, 0, (*first.drafts, started), LINEAGE)
        assert await committer.append([first]) == [True]
        assert await committer.append([late]) == [False]
        assert await pool.fetchval("SELECT max(sequence) FROM kernel.journal") == 1


async def test_nobody_may_change_the_journal(make_database: Callable[[str], str]) -> None:
    async with service_pool(make_database) as pool:
        for statement in (
            "DELETE FROM kernel.journal",
            "UPDATE kernel.journal SET type = 'x'",
            "TRUNCATE kernel.journal",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(statement)


async def test_a_full_outbox_asks_to_come_back_later(make_database: Callable[[str], str]) -> None:
    async with service_pool(make_database) as pool:
        committer = Committer(Journal("intake", SetClock()), pool, metrics(), outbox_max=10)
        committer.outbox_length = 11
        with pytest.raises(TooBusyError) as caught:
            await committer.append([opening(1)])
        assert caught.value.retry_after_seconds > 0


@asynccontextmanager
async def intake(make_database: Callable[[str], str]) -> AsyncGenerator[tuple[Pool, EmbeddedLog]]:
    log = await EmbeddedLog(make_database("log")).open()
    await log.create_topics(TOPICS, 2)
    dsn = make_database("service")
    await migrate(dsn)
    replay = await open_pool(dsn, role="desk_replay", name="test", size_max=1)
    await ensure(READ_MODEL, log, replay)
    await replay.close()
    pool = await open_pool(dsn, role="desk_app", name="test", size_max=8)
    try:
        yield pool, log
    finally:
        await pool.close()
        await log.close()


def consumer(pool: Pool, log: EmbeddedLog) -> Consumer:
    return Consumer(
        pool=pool,
        reader=log.reader("test"),
        journal=Journal("intake", SetClock()),
        model=READ_MODEL,
        react=None,
        archive=None,
        clock=SetClock(),
        metrics=metrics(),
    )


PLACES = [TopicPartition(topic, number) for topic in TOPICS for number in range(2)]


async def test_a_zombie_that_works_on_changes_nothing(make_database: Callable[[str], str]) -> None:
    async with intake(make_database) as (pool, log):
        committer = Committer(Journal("intake", SetClock()), pool, metrics(), outbox_max=100)
        await committer.append([opening(n) for n in range(5)])
        relay = Relay(pool, lambda: log.writer("test"), metrics())
        assert await relay.pass_on() == 5
        zombie, heir = consumer(pool, log), consumer(pool, log)
        await zombie.assign(PLACES)
        await heir.assign(PLACES)
        assert await heir.step(1) == 5
        await pool.execute("UPDATE read.board SET title = 'kept'")
        with pytest.raises(OvertakenError):
            await zombie.step(1)
        assert await pool.fetchval("SELECT count(*) FROM read.board WHERE title = 'kept'") == 5
        await zombie.assign(PLACES)
        assert await zombie.step(0) == 0


async def test_replicas_share_partitions_and_take_over_from_one_that_leaves(
    make_database: Callable[[str], str],
) -> None:
    async with service_pool(make_database) as pool:
        one, two = Leases(pool, "one"), Leases(pool, "two")
        assert await one.take_share(6) == frozenset(range(6))
        await two.take_share(6)
        assert len(await one.take_share(6)) == 3
        mine, theirs = await one.take_share(6), await two.take_share(6)
        assert (len(mine), len(theirs), mine & theirs) == (3, 3, frozenset())
        assert not await two.take("relay") or not await one.take("relay")
        await one.release_all()
        assert await two.take_share(6) == frozenset(range(6))


async def test_a_timer_waits_until_its_inputs_have_been_read(
    make_database: Callable[[str], str],
) -> None:
    async with intake(make_database) as (pool, log):
        clock = SetClock()
        fired: list[Timer] = []

        async def on_due(due: object, _unit: Unit) -> None:
            fired.extend(due)  # type: ignore[arg-type]

        watermark = Watermark(log, pool, TOPICS, clock)
        timers = Timers(
            fold=READ_MODEL.fingerprint,
            pool=pool,
            journal=Journal("sla", clock),
            watermark=watermark,
            on_due=on_due,
            clock=clock,
            metrics=metrics(),
        )
        async with pool.acquire() as connection, connection.transaction():
            unit = Unit(connection, Journal("sla", clock), NOW)
            unit.set_timers("s", [Timer("s", "breach", NOW + timedelta(seconds=10))])
            await unit.flush()
        reader = consumer(pool, log)
        await reader.assign(PLACES)
        writer = log.writer("test")
        await writer.send([Outgoing("ticket.created", b"k", b"{}")])
        assert await timers.step() == 0, "not due"
        clock.at = NOW + timedelta(seconds=10) + 2 * GRACE
        assert await timers.step() == 0, "due, but a record has not been read"
        await reader.step(1)
        assert await timers.step() == 1
        assert [timer.name for timer in fired] == ["breach"]
        assert await timers.step() == 0, "once"


async def test_two_events_under_one_sequence_raise_the_alarm(
    make_database: Callable[[str], str],
) -> None:
    dsn = make_database("reporting")
    await migrate(dsn, reporting_room().spec.migrations)
    from support.histories import written

    (first,) = written("intake", [created(UUID(int=1))])
    (other,) = written("intake", [created(UUID(int=1), "Another title")])
    key = first.stream_id.encode()
    records = [
        Record("ticket.created", 0, offset, key, value, offset)
        for offset, value in enumerate([first.value, first.value, other.value])
    ]
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        assert await archive(connection, records[:2]) == [], "a re-send is no equivocation"
        parked = await archive(connection, records[2:])
    assert [(p.reason, p.record.offset) for p in parked] == [("equivocation", 2)]
    await connection.close()
