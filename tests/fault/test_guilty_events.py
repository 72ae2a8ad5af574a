"""One event, or one timer, that always fails: found by halving, set aside, redriven; no other."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from support.bent_log import BentLog, BentReader
from support.histories import START, created

from services.intake.projections import READ_MODEL
from shared.clock import SystemClock
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCreated, TicketStarted
from shared.contracts.registry import Recorded, topics_of
from shared.errors import InvalidInputError, UnavailableError
from shared.journal.journal import Append, Draft
from shared.log.embedded import EmbeddedLog
from shared.log.port import Log, LogUnavailableError, Record, TopicPartition
from shared.postgres.migrate import migrate
from shared.postgres.pool import Connection, open_pool
from shared.replay.rebuild import verify
from shared.runtime import consumer as consumer_module
from shared.runtime import watch, weather
from shared.runtime.quarantine import Parked
from shared.runtime.read_model import ReadModel
from shared.runtime.service import Service, Surroundings
from shared.runtime.spec import Spec
from shared.runtime.timers import redrive_timer
from shared.runtime.unit import Batch, Timer, Unit, lineage_after
from shared.runtime.weather import TRIES_MAX
from shared.telemetry.metrics import MetricRegistry

GUILTY = 7
TICKETS = 12
TOPICS = topics_of("intake")
Fail = Callable[[Unit], Awaitable[object]]


async def too_slow(unit: Unit) -> None:
    await unit.connection.execute("SET LOCAL statement_timeout = 100")
    await unit.connection.execute("SELECT pg_sleep(30)")


async def locked_out(unit: Unit) -> None:
    await unit.connection.execute("DO $$ BEGIN RAISE lock_not_available; END $$")


async def idle(unit: Unit) -> None:
    await unit.connection.execute("SET LOCAL idle_in_transaction_session_timeout = 50")
    await asyncio.sleep(0.2)
    await unit.connection.execute("SELECT 1")


async def broken(_: Unit) -> None:
    raise ZeroDivisionError("a rule nobody thought through")


async def refused(_: Unit) -> None:
    raise InvalidInputError("this event cannot be answered")


class Guilt:
    """A reaction that starts work on each new ticket, and fails on one of them until mended."""

    def __init__(self, fail: Fail, times: int = 10**9) -> None:
        self._fail = fail
        self.times_left = times
        self.tries_alone = 0

    async def __call__(self, batch: Batch, unit: Unit) -> None:
        for event in batch.events:
            if isinstance(event.data, TicketCreated):
                started = TicketStarted(ticket_id=event.data.ticket_id, agent_id="bo")
                cause = lineage_after(event, "intake")
                unit.append(event.stream_id, 1, [Draft(started, event.time)], cause)
        if self.times_left and any(is_guilty(event) for event in batch.events):
            self.times_left -= 1
            self.tries_alone += len(batch.events) == 1
            await self._fail(unit)


def is_guilty(event: Recorded) -> bool:
    return isinstance(event.data, TicketCreated) and event.data.ticket_id.int == GUILTY


@asynccontextmanager
async def desk(
    make_database: Callable[[str], str],
    wrap: Callable[[Log], Log] = lambda log: log,
    **parts: object,
) -> AsyncGenerator[Service]:
    """Run one small service: intake's tickets and tables, and the parts under test."""
    log = await EmbeddedLog(make_database("log")).open()
    await log.create_topics(TOPICS, 2)
    dsn = make_database("service")
    await migrate(dsn)
    spec = replace(Spec("intake", TOPICS, READ_MODEL), **parts)  # type: ignore[arg-type]
    metrics = MetricRegistry().for_service("intake")
    service = await Service.open(
        spec, Surroundings(dsn, wrap(log), SystemClock(), metrics, "one", partitions=2)
    )
    try:
        yield service
    finally:
        await service.stop()
        await log.close()


async def report(service: Service, numbers: Sequence[int] = range(TICKETS)) -> None:
    """Record all tickets in one transaction, so that they are read as one batch."""
    lineage = Lineage(actor="ann", correlation_id="c")
    tickets = [UUID(int=number) for number in numbers]
    appends = [Append(str(one), 0, (Draft(created(one), START),), lineage) for one in tickets]
    await service.committer.append(appends)


async def until(holds: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.01)


async def trouble_of(service: Service) -> str:
    try:
        await service.check_loops()
    except UnavailableError as error:
        return error.detail
    return ""


async def is_all_read(service: Service) -> bool:
    return await service.pool.fetchval(
        "SELECT sum(next_offset) = (SELECT count(*) FROM kernel.journal)"
        " AND NOT EXISTS (SELECT FROM kernel.outbox) FROM kernel.consumer_offset"
    )


async def started(service: Service) -> list[int]:
    rows = await service.pool.fetch(
        "SELECT stream_id FROM kernel.journal WHERE type = 'ticket.started' ORDER BY 1"
    )
    return [UUID(row[0]).int for row in rows]


async def tables_are_as_rebuilt(service: Service) -> bool:
    around = service.around
    pool = await open_pool(around.dsn, role="desk_replay", name="test", size_max=1)
    verdicts = await verify(service.spec.read_model, around.log, pool)
    await pool.close()
    return all(verdict.agrees for verdict in verdicts)


@pytest.mark.parametrize(
    ("fail", "cause", "reason", "tries"),
    [
        (too_slow, "QueryCanceledError", "reaction", TRIES_MAX),
        (locked_out, "LockNotAvailableError", "reaction", TRIES_MAX),
        (idle, "CutOffError", "reaction", TRIES_MAX),
        (broken, "ZeroDivisionError", "reaction", TRIES_MAX),
        (refused, "cannot be answered", "InvalidInputError", 1),
    ],
)
async def test_a_batch_that_fails_is_halved_until_its_guilty_event_is_parked(
    fail: Fail,
    cause: str,
    reason: str,
    tries: int,
    make_database: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weather, "IDLE_IN_TRANSACTION_SECONDS_MAX", 0.15)
    guilt = Guilt(fail)
    async with desk(make_database, react=guilt) as service:
        await report(service)

        async def is_told() -> bool:
            return cause in await trouble_of(service)

        await until(is_told)
        await until(lambda: is_all_read(service))
        parked = await service.pool.fetch("SELECT * FROM kernel.quarantine")
        assert [UUID(row["key"].decode()).int for row in parked] == [GUILTY]
        assert parked[0]["reason"] == reason
        assert cause in parked[0]["detail"]
        assert guilt.tries_alone == tries
        assert await started(service) == [n for n in range(TICKETS) if n != GUILTY]
        assert await service.pool.fetchval("SELECT count(*) FROM read.board") == TICKETS
        assert await tables_are_as_rebuilt(service)
        await until(lambda: _is_well(service))

        number = parked[0]["id"]
        refusal = (await service.consumer.redrive([number]))[number]
        assert refusal is not None
        assert cause in refusal
        guilt.times_left = 0
        assert await service.consumer.redrive([number]) == {number: None}
        assert await service.consumer.redrive([number]) == {}
        assert await started(service) == list(range(TICKETS))


async def _is_well(service: Service) -> bool:
    return not await trouble_of(service)


@pytest.mark.parametrize("tickets", [range(TICKETS), [GUILTY]], ids=["batch", "alone"])
async def test_a_replica_frozen_in_mid_transaction_has_nothing_parked_for_it(
    tickets: Sequence[int],
    make_database: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weather, "IDLE_IN_TRANSACTION_SECONDS_MAX", 0.15)
    guilt = Guilt(idle, times=TRIES_MAX - 1)
    async with desk(make_database, react=guilt) as service:
        await report(service, tickets)
        await until(lambda: is_all_read(service))
        assert guilt.times_left == 0
        assert await service.pool.fetchval("SELECT count(*) FROM kernel.quarantine") == 0
        assert await started(service) == list(tickets)


async def test_what_a_projection_fails_on_is_parked_live_and_left_out_of_a_rebuild(
    make_database: Callable[[str], str],
) -> None:
    is_broken = True

    def project(event: Recorded) -> object:
        for number, facet in enumerate(READ_MODEL.project(event)):
            if number and is_broken and is_guilty(event):
                raise ZeroDivisionError("a fold nobody thought through")
            yield facet

    model = ReadModel(READ_MODEL.tables, project, READ_MODEL.views)  # type: ignore[arg-type]
    guilt = Guilt(broken, times=0)
    async with desk(make_database, react=guilt, read_model=model) as service:
        await report(service)
        await until(lambda: is_all_read(service))
        (parked,) = await service.pool.fetch("SELECT id, reason, detail FROM kernel.quarantine")
        assert parked["reason"] == "projection"
        assert parked["detail"].startswith("ZeroDivisionError: a fold nobody")
        assert await service.pool.fetchval("SELECT count(*) FROM read.board") == TICKETS - 1
        assert GUILTY not in await started(service)
        assert await tables_are_as_rebuilt(service)
        assert (await service.consumer.redrive([parked["id"]]))[parked["id"]] is not None
        is_broken = False
        assert await service.consumer.redrive([parked["id"]]) == {parked["id"]: None}
        assert await started(service) == list(range(TICKETS))
        await until(lambda: is_all_read(service))
        assert await tables_are_as_rebuilt(service)


async def test_what_cannot_be_archived_holds_up_its_partition_and_no_other(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "LOOK_AGAIN_SECONDS", 5)  # over the longest back-off
    kept: list[tuple[str, int, int]] = []
    is_broken = True

    async def archive(_: Connection, records: Sequence[Record]) -> list[Parked]:
        if is_broken and any(_is_of_guilty(record) for record in records):
            raise ZeroDivisionError("an archive nobody thought through")
        kept.extend((r.topic, r.partition, r.offset) for r in records)
        return []

    async with desk(make_database, react=Guilt(broken, times=0), archive=archive) as service:
        await report(service)

        async def is_held_up() -> bool:
            trouble = await trouble_of(service)
            return "ticket.created-" in trouble and "ZeroDivisionError" in trouble

        await until(is_held_up)
        (place,) = service.consumer.held_up
        other = 1 - place.partition
        await until(lambda: _is_read(service, "ticket.created", other))
        await until(lambda: _is_read(service, "ticket.started", other))
        assert await service.pool.fetchval("SELECT count(*) FROM kernel.quarantine") == 0
        is_broken = False
        await until(lambda: is_all_read(service))
        await until(lambda: _is_well(service))
        assert len(set(kept)) == 2 * TICKETS


def _is_of_guilty(record: Record) -> bool:
    return record.topic == "ticket.created" and record.key == str(UUID(int=GUILTY)).encode()


async def _is_read(service: Service, topic: str, partition: int) -> bool:
    ends = await service.around.log.end_offsets([topic])
    applied = await service.pool.fetchval(
        "SELECT next_offset FROM kernel.consumer_offset WHERE topic = $1 AND partition = $2",
        topic,
        partition,
    )
    return applied == ends[topic, partition] > 0  # type: ignore[index] a place is a tuple


@pytest.mark.parametrize("fail", [too_slow, broken])
async def test_a_timer_that_always_fails_is_set_aside_and_blocks_no_other(
    fail: Fail, make_database: Callable[[str], str]
) -> None:
    fired: set[str] = set()
    is_broken = True

    async def on_due(due: Sequence[Timer], unit: Unit) -> None:
        if is_broken and any(timer.stream_id == str(GUILTY) for timer in due):
            await fail(unit)
        fired.update(timer.stream_id for timer in due)

    async with desk(make_database, on_due=on_due) as service:
        at = service.clock.now() - timedelta(minutes=1)
        await service.pool.executemany(
            "INSERT INTO kernel.timer VALUES ($1, 'due', $2, $2)",
            [(str(number), at + timedelta(seconds=number)) for number in range(TICKETS)],
        )
        await until(lambda: _is_empty(service, "kernel.timer"))
        assert fired == {str(number) for number in range(TICKETS)} - {str(GUILTY)}
        (parked,) = await service.pool.fetch("SELECT * FROM kernel.parked_timer")
        assert parked["stream_id"] == str(GUILTY)
        assert parked["detail"].startswith(parked["reason"])
        assert "Traceback" in parked["detail"]
        is_broken = False
        assert await redrive_timer(service.pool, parked["id"], service.clock.now())
        assert not await redrive_timer(service.pool, parked["id"], service.clock.now())
        await until(lambda: _is_empty(service, "kernel.timer"))
        assert str(GUILTY) in fired
        assert await _is_empty(service, "kernel.parked_timer")


async def _is_empty(service: Service, table: str) -> bool:
    return not await service.pool.fetchval(f"SELECT count(*) FROM {table}")


async def test_a_stream_that_is_judged_anew_needs_its_parked_timer_no_more(
    make_database: Callable[[str], str],
) -> None:
    async def on_due(_due: Sequence[Timer], _unit: Unit) -> None:
        raise InvalidInputError("not like this")

    async with desk(make_database, on_due=on_due) as service:
        at = service.clock.now() - timedelta(minutes=1)
        await service.pool.execute("INSERT INTO kernel.timer VALUES ('a', 'due', $1, $1)", at)
        await until(lambda: _is_empty(service, "kernel.timer"))
        assert not await _is_empty(service, "kernel.parked_timer")
        async with service.pool.acquire() as connection, connection.transaction():
            unit = Unit(connection, service.journal, at)
            unit.set_timers("a", [])
            await unit.flush()
        assert await _is_empty(service, "kernel.parked_timer")


async def test_weather_that_lasts_in_one_reaction_is_an_alarm(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(_: Unit) -> None:
        raise UnavailableError("something is away")

    monkeypatch.setattr(watch, "STANDSTILL_SECONDS_MAX", 0.5)
    async with desk(make_database, react=Guilt(unavailable)) as service:
        await report(service)

        async def is_alarmed() -> bool:
            return "has not moved for" in await trouble_of(service)

        await until(is_alarmed)


class Gone(BentLog):
    """Writes, and says where it ends until it `is_away`; gives nothing to read."""

    is_away = False

    def reader(self, name: str) -> "Unreadable":
        return Unreadable(self.inner.reader(name))

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        if self.is_away:
            raise LogUnavailableError("no broker")
        return await super().end_offsets(topics)


class Unreadable(BentReader):
    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        await asyncio.sleep(wait_seconds)
        raise LogUnavailableError(f"no broker for {records_max} records")


async def test_while_the_log_is_away_a_standstill_is_told_and_counted_and_doors_stay_open(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STANDSTILL_SECONDS_MAX", 0.5)
    gone: list[Gone] = []

    def wrap(log: Log) -> Log:
        gone.append(Gone(log))
        return gone[0]

    async with desk(make_database, wrap) as service:
        await report(service)
        await until(lambda: _is_behind(service))
        gone[0].is_away = True

        async def is_told() -> bool:
            try:
                degraded = await service.check_loops()
            except UnavailableError:
                return False  # the log answered a moment ago
            return any("has not moved for" in one for one in degraded)

        await until(is_told)
        exposition = service.around.metrics.registry.exposition().decode()
        line = next(
            line
            for line in exposition.splitlines()
            if line.startswith("desk_consumer_standstill_seconds{")
        )
        assert float(line.rpartition(" ")[2]) > 0


async def _is_behind(service: Service) -> bool:
    return service.watch.behind == TICKETS
