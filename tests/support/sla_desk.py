"""Sla itself, fed from memory and stepped by hand: its real consumer, relay, timers, and database.

Nothing runs by itself. The clock stands at the end of a step while everything recorded in the step
is applied, in an order that a log may deliver; then the timers fire that have come due by then.
"""

from collections import deque
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from random import Random
from unittest.mock import AsyncMock, patch

import asyncpg

from services.sla.handlers import RulePublisher
from services.sla.handlers import rules as rule_handlers
from services.sla.projections import READ_MODEL
from services.sla.wiring import room
from shared.calendar import instant
from shared.contracts import registry
from shared.contracts.envelope import Lineage, encode_event
from shared.ids import event_id
from shared.journal import journal
from shared.log.partitioner import partition_of
from shared.log.port import Outgoing, Record, TopicPartition
from shared.postgres.migrate import migrate
from shared.postgres.pool import open_pool
from shared.replay import schema
from shared.runtime import consumer, read_model, timers
from shared.runtime.service import Service, Surroundings
from shared.runtime.timers import GRACE, Timers, Watermark
from shared.telemetry.metrics import MetricRegistry
from support.sla_lives import Happening, Life
from support.sla_rules import ZONE

PARTITIONS = 2
BEHIND = 0.3
REMEMBERED_MAX = 200_000
LINEAGE = Lineage(actor="soak", correlation_id="soak")
FORGET = (
    "DELETE FROM kernel.journal WHERE stream_id = ANY($1::text[])",
    "DELETE FROM kernel.timer WHERE stream_id = ANY($1::text[])",
    "DELETE FROM read.fact WHERE stream_id = ANY($1::text[])",
    "DELETE FROM read.said WHERE stream_id = ANY($1::text[])",
    "DELETE FROM read.clock WHERE ticket_id = ANY($1::text[]::uuid[])",
    "DELETE FROM read.ticket WHERE ticket_id = ANY($1::text[]::uuid[])",
    "DELETE FROM read.touched WHERE $1::text[] IS NOT NULL",  # nobody counts verdicts here
)

ARMED_IN_TIME = "UPDATE kernel.timer SET armed_at = $1 WHERE due_at <= $1 AND armed_at > $1"
UNLOGGED = (
    *("kernel.journal", "kernel.outbox", "kernel.timer"),
    *("read.fact", "read.said", "read.clock", "read.ticket"),
)


class HandClock:
    """Stands where it is put."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """Return where it stands."""
        return self.at


class SoakLog:
    """A log that holds what was not read yet; what is appended comes in any order a log allows.

    One topic keeps the order of each ticket, different topics know none: now and then one of them
    stays behind the others for a while, and `held_back` for as long as a test wants it. `kept` are
    all records of the streams that somebody wants to see again.
    """

    def __init__(self, chance: Random, topics: Sequence[str]) -> None:
        self._chance = chance
        self._topics = topics
        self._ends: dict[TopicPartition, int] = {}
        self.waiting: deque[Record] = deque()
        self.held_back: str | None = None
        self.kept: dict[bytes, list[Record]] = {}
        self.sent = 0
        self.read = 0

    def append(self, records: Iterable[Outgoing]) -> None:
        """Store records behind all that wait, mixed among each other."""
        for out in _mixed(list(records), self._chance):
            if out.topic not in self._topics:
                continue
            place = TopicPartition(out.topic, partition_of(out.key, PARTITIONS))
            offset = self._ends.get(place, 0)
            self._ends[place] = offset + 1
            record = Record(*place, offset, out.key, out.value, 0)
            self.waiting.append(record)
            if out.key in self.kept:
                self.kept[out.key].append(record)

    def writer(self, _name: str) -> "SoakLog":
        """See `Log.writer`."""
        return self

    def reader(self, _name: str) -> "SoakLog":
        """See `Log.reader`."""
        return self

    async def send(self, records: Sequence[Outgoing]) -> None:
        """See `LogWriter.send`."""
        self.sent += len(records)
        self.append(records)

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.assign`; it is done once, at the start."""
        if any(positions.values()):
            raise RuntimeError("this log is read once")

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        """See `LogReader.fetch`; never waits."""
        behind = self.held_back
        if behind is None and self._chance.random() < BEHIND:
            behind = self._chance.choice(self._topics)
        found: list[Record] = []
        left: list[Record] = []
        while self.waiting and len(found) < records_max:
            record = self.waiting.popleft()
            (left if record.topic == behind else found).append(record)
        if not found and self.held_back is None:
            found, left = left[:records_max], left[records_max:]
        self.waiting.extendleft(reversed(left))
        self.read += len(found)
        return found

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """See `Log.end_offsets`."""
        return {place: end for place, end in self._ends.items() if place.topic in topics}

    async def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.publish`."""

    async def close(self) -> None:
        """See `Log.close`."""


def _mixed(records: list[Outgoing], chance: Random) -> list[Outgoing]:
    """Shuffle records; those of one topic and key stay in their order."""
    order: dict[tuple[str, bytes], deque[Outgoing]] = {}
    for one in records:
        order.setdefault((one.topic, one.key), deque()).append(one)
    slots = list(records)
    chance.shuffle(slots)
    return [order[one.topic, one.key].popleft() for one in slots]


class SoakDesk:
    """Sla in this process, moved on step by step."""

    def __init__(self, service: Service, log: SoakLog, clock: HandClock) -> None:
        self.service = service
        self.log = log
        self.clock = clock
        self.rulebook = RulePublisher(service)
        self.fired = 0
        on_due = service.spec.on_due
        assert on_due is not None
        self._timers = Timers(
            fold=READ_MODEL.fingerprint,
            pool=service.pool,
            journal=service.journal,
            watermark=Watermark(log, service.pool, service.spec.topics, clock),
            on_due=on_due,
            clock=clock,
            metrics=service.around.metrics,
        )

    async def step(
        self, until_us: int, batches: Iterable[Sequence[Outgoing]], middle: "Middle | None" = None
    ) -> None:
        """Apply everything recorded in a step that ends at an instant, then fire what has come due.

        `middle` is done when a part of it is applied.
        """
        until = self.clock.at = instant(until_us)
        for batch in batches:
            self.log.append(batch)
        await self.service.consumer.step(0)
        if middle is not None:
            await middle(self)
        await self.settle()
        self.clock.at = until + GRACE
        fired = await self._fire(until)
        while fired:
            while fired:
                fired = await self._fire(until)
            await self.settle()
            fired = await self._fire(until)

    async def _fire(self, until: datetime) -> int:
        """Fire what is due; what was armed for now since the clock stands need not wait either."""
        await self.service.pool.execute(ARMED_IN_TIME, until)
        fired = await self._timers.step()
        self.fired += fired
        return fired

    async def settle(self) -> None:
        """Read and pass on until there is nothing left."""
        idle = 0
        while idle < 2:  # the batch read ahead may be from before what was passed on
            moved = await self.service.consumer.step(0)
            moved += await self.service.relay.pass_on()
            idle = 0 if moved else idle + 1


Middle = Callable[[SoakDesk], Awaitable[None]]
MakeLog = Callable[[Random, Sequence[str]], SoakLog]


@asynccontextmanager
async def soak_desk(
    dsn: str,
    chance: Random,
    start_us: int,
    batch_size: int = consumer.BATCH_SIZE_MAX,
    make_log: MakeLog = SoakLog,
) -> AsyncGenerator[SoakDesk]:
    """Open sla on an empty database, with its default rules published.

    `batch_size` is how many records, or timers, share a transaction at most. Publishing does not
    wait until all is read: nothing is read here unless the desk is told to. What is decoded is
    remembered for as long as tickets live, not only for the moments of a desk that must be small.
    """
    remembering = lru_cache(REMEMBERED_MAX)(registry.decode_event)
    with (
        patch.object(rule_handlers, "catch_up", AsyncMock()),
        patch.object(consumer, "BATCH_SIZE_MAX", batch_size),
        patch.object(registry, "decode_shared", remembering),
        patch.object(journal, "decode_shared", remembering),
        patch.object(read_model, "decode_shared", remembering),
        patch.object(timers, "BATCH_SIZE_MAX", min(batch_size, timers.BATCH_SIZE_MAX * 10)),
    ):
        async with _open(dsn, start_us, make_log(chance, room().spec.topics)) as desk:
            yield desk


@asynccontextmanager
async def _open(dsn: str, start_us: int, log: SoakLog) -> AsyncGenerator[SoakDesk]:
    clock = HandClock(instant(start_us))
    spec = room().spec
    await migrate(dsn, spec.migrations)
    replay = await open_pool(dsn, role="desk_replay", name="sla replay", size_max=1)
    async with replay.acquire() as connection, connection.transaction():
        await schema.create(connection, READ_MODEL, schema.LIVE)
    await replay.close()
    await _keep_no_wal(dsn)
    pool = await open_pool(dsn, role="desk_app", name="sla", size_max=4)
    around = Surroundings(
        dsn=dsn,
        log=log,
        clock=clock,
        metrics=MetricRegistry().for_service("sla"),
        holder="soak",
        partitions=PARTITIONS,
    )
    service = Service(spec, around, pool, pool)
    places = [TopicPartition(topic, n) for topic in spec.topics for n in range(PARTITIONS)]
    try:
        await service.consumer.assign(places)
        desk = SoakDesk(service, log, clock)
        await desk.rulebook.publish_defaults(ZONE)
        await desk.settle()
        yield desk
    finally:
        await service.stop()


async def _keep_no_wal(dsn: str) -> None:
    """Let the tables that are written all the time do without a log: no crash is survived here."""
    connection = await asyncpg.connect(dsn)
    try:
        for table in UNLOGGED:
            await connection.execute(f"ALTER TABLE {table} SET UNLOGGED")
    finally:
        await connection.close()


def outgoing(life: Life, happening: Happening, lineage: Lineage = LINEAGE) -> Outgoing:
    """Return what a happening is in the log, and let the life know that it was delivered."""
    sequence = life.deliver(happening)
    data, writer = happening.data, happening.writer
    value = encode_event(
        writer,
        data,
        sequence=sequence,
        event_id=event_id(writer, data.stream_id, sequence),
        time=instant(happening.time_us),
        recorded_at=instant(happening.recorded_us),
        lineage=lineage,
    )
    return Outgoing(data.TYPE, data.stream_id.encode(), value)


async def forget(dsn: str, tickets: Collection[str]) -> None:
    """Delete tickets that have ended, which the service may not: keeps a long soak's disk small."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in FORGET:
            await connection.execute(statement, list(tickets))
    finally:
        await connection.close()
