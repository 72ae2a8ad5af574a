"""The consumer: records in, rows and decisions out, offsets moved in the same transaction (R6)."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from shared.clock import Clock
from shared.contracts.registry import (
    INBOUND_DECODERS,
    Recorded,
    UndecodableError,
    decode_envelope,
    decode_shared_record,
)
from shared.errors import DeskError, InvalidInputError, UnavailableError
from shared.journal.journal import Journal
from shared.log.port import LogReader, Record, TopicPartition, in_time
from shared.postgres.pool import Connection, Pool
from shared.runtime.crash import crash_point
from shared.runtime.fence import HOLD, hold_fold
from shared.runtime.quarantine import Parked, park, read_parked, redriven
from shared.runtime.read_model import Fold, ReadModel, write
from shared.runtime.unit import Batch, Inbound, Unit
from shared.runtime.weather import (
    RACES_MAX,
    RETRY_AT_ONCE,
    WEATHER,
    OvertakenError,
    blamed,
    cause_of,
    is_hopeless,
    public_cause,
)
from shared.telemetry.metrics import ServiceMetrics
from shared.telemetry.traces import batch_span

BATCH_SIZE_MAX: Final = 2_000
SMALL_BATCH_SIZE: Final = 200
LINGER_SECONDS: Final = 0.02
LOOK_AGAIN_SECONDS: Final = 30


class React(Protocol):
    """Decides what events call for, inside the transaction that moves their offsets.

    May be called again with the same events, alone or in any batch, after a crash: what it decides
    must not depend on how events were batched. Must not await anything but `unit.connection`; 5 s
    at most. Raises: UnavailableError to be called again later; any other DeskError, of one event,
    to have that one parked. Anything else is a fault, and so is a time-out: the batch is halved
    until the event that causes it stands alone; that is tried TRIES_MAX times and parked with the
    traceback, its rows written all the same. What another system wrote is refused by adding to
    `unit.parked`.
    """

    async def __call__(self, batch: Batch, unit: Unit, /) -> None:
        """Collect in `unit` what the batch calls for."""
        ...


class Archive(Protocol):
    """Keeps raw records, inside the transaction that moves their offsets, before all else.

    May be given records again that it kept; must not await anything but the connection; 5 s at
    most. Returns records that must not be believed, to be parked. Must not raise because of what a
    record holds: what is not archived is not passed by, so its partition waits until this works,
    tried every LOOK_AGAIN_SECONDS, while readiness names it; the others move on.
    """

    async def __call__(self, connection: Connection, records: Sequence[Record], /) -> list[Parked]:
        """Keep the records; return those to park."""
        ...


_log = structlog.get_logger()

_MOVE: Final = f"""
WITH live AS ({HOLD.replace("$1", "$5")})
UPDATE kernel.consumer_offset o SET next_offset = m.after
FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[]) m(topic, partition, before, after)
WHERE o.topic = m.topic AND o.partition = m.partition AND o.next_offset = m.before
    AND EXISTS (SELECT FROM live)
"""  # noqa: S608 text of ours
APPLIED: Final = "SELECT topic, partition, next_offset FROM kernel.consumer_offset"
_LOAD: Final = """
WITH missing AS (
    INSERT INTO kernel.consumer_offset (topic, partition, next_offset)
    SELECT topic, partition, 0 FROM unnest($1::text[], $2::int[]) m(topic, partition)
    ON CONFLICT DO NOTHING RETURNING topic, partition, next_offset
)
SELECT topic, partition, next_offset FROM missing UNION ALL
SELECT topic, partition, next_offset FROM kernel.consumer_offset
JOIN unnest($1::text[], $2::int[]) m(topic, partition) USING (topic, partition)
"""


async def load_offsets(pool: Pool, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the next offset of each place, 0 for one never read."""
    rows = await pool.fetch(
        _LOAD, [place.topic for place in places], [place.partition for place in places]
    )
    return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def applied_offsets(pool: Pool) -> dict[TopicPartition, int]:
    """Return how far this service has applied each partition, whichever replica did it."""
    rows = await pool.fetch(APPLIED)
    return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


@dataclass(frozen=True, slots=True)
class Prepared:
    """Records read, decoded and folded: all that can be done without a transaction."""

    records: Sequence[Record]
    events: Sequence[Recorded]
    inbound: Sequence[Inbound]
    parked: Sequence[Parked]
    fold: Fold


def prepare(model: ReadModel, records: Sequence[Record]) -> Prepared:
    """Sort records out by their bytes alone (R8) and fold the events among them.

    What the projection fails on is parked here as a rebuild leaves it out.
    """
    fold = Fold(model)
    events: list[Recorded] = []
    inbound: list[Inbound] = []
    parked: list[Parked] = []
    place = 0
    for record in records:
        try:
            if (decode := INBOUND_DECODERS.get(record.topic)) is not None:
                envelope = decode_envelope(record.value)
                inbound.append(Inbound(record, envelope, decode(envelope), place))
            else:
                event = decode_shared_record(record)
                fold.add(event)
                events.append(event)
                place += not event.history  # reactions are told of no others
        except UndecodableError as error:
            parked.append(Parked(record, error.reason, error.detail))
    return Prepared(records, events, inbound, parked, fold)


class Consumer:
    """Applies records of the assigned partitions. One consumer belongs to one task.

    A batch that fails by a fault is halved, try by try, until the guilty record stands alone; that
    one is parked and the rest moves on (R14). A lone record that cannot even be kept and folded
    holds its own partition up, and no other.
    """

    def __init__(  # noqa: PLR0913 the parts it ties together, named by its one caller
        self,
        *,
        pool: Pool,
        reader: LogReader,
        journal: Journal,
        model: ReadModel,
        react: React | None,
        archive: Archive | None,
        clock: Clock,
        metrics: ServiceMetrics,
        turning_points: frozenset[str] = frozenset(),
    ) -> None:
        self._pool = pool
        self._reader = reader
        self._journal = journal
        self._model = model
        self._react = react
        self._archive = archive
        self._clock = clock
        self._metrics = metrics
        self._turning_points = turning_points
        self._ahead: asyncio.Task[Prepared] | None = None
        self._left: Sequence[Record] = ()
        self._size_max = BATCH_SIZE_MAX
        self._races = 0
        self._tries: Counter[tuple[TopicPartition, int]] = Counter()
        self._looked_at = 0.0
        self.held_up: dict[TopicPartition, str] = {}
        self.positions: dict[TopicPartition, int] = {}

    async def assign(self, places: Sequence[TopicPartition]) -> None:
        """Take up these partitions where the last transaction left them."""
        await self.close()
        self.positions = await load_offsets(self._pool, places) if places else {}
        self.held_up = {p: why for p, why in self.held_up.items() if p in self.positions}
        free = {place: at for place, at in self.positions.items() if place not in self.held_up}
        await self._reader.assign(free)

    async def close(self) -> None:
        """Forget what was read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)
        self._left = ()

    async def step(self, wait_seconds: float) -> int:
        """Apply one batch, and meanwhile read and fold the next; return how many records.

        Raises: OvertakenError when another replica applied them; SupersededError when another
        version's model is live; LogUnavailableError; asyncpg errors; what the service's own code
        raises. In each case nothing was applied, and `assign` makes a new start.
        """
        await self._look_again()
        ahead = self._ahead or self._read_ahead(wait_seconds)
        self._ahead = None
        batch = await ahead
        if not batch.records:
            return 0
        is_small = len(batch.records) < SMALL_BATCH_SIZE
        self._ahead = self._read_ahead(wait_seconds, LINGER_SECONDS if is_small else 0)
        began = asyncio.get_running_loop().time()
        try:
            await self._commit(batch)
        except Exception as raised:  # noqa: BLE001 raised again unless set aside
            error = blamed(raised, asyncio.get_running_loop().time() - began)
            if not self._is_fault(error) or not await self._set_aside(batch, error):
                raise error from raised.__cause__
        self._metrics.projected(asyncio.get_running_loop().time() - began)
        for topic, count in Counter(record.topic for record in batch.records).items():
            self._metrics.consumed(topic, count)
        return len(batch.records)

    def _read_ahead(
        self, wait_seconds: float, linger_seconds: float = 0
    ) -> "asyncio.Task[Prepared]":
        """Start reading; after a small batch a moment later, so that the next is not as small.

        A transaction costs the same for one record as for a hundred.
        """

        async def read() -> Prepared:
            await asyncio.sleep(linger_seconds)
            records = self._left or in_time(
                await self._reader.fetch(records_max=self._size_max, wait_seconds=wait_seconds)
            )
            end = _turn(records, self._turning_points)
            self._left = records[end:]
            return prepare(self._model, records[:end])

        ahead = asyncio.create_task(read())
        # A service that is torn down may never ask what became of it.
        ahead.add_done_callback(lambda task: task.cancelled() or task.exception())
        return ahead

    async def _commit(self, batch: Prepared, failed: Parked | None = None) -> None:
        """Apply a batch and move past it; a record that `failed` is kept, folded and parked."""
        before: dict[TopicPartition, int] = {}
        after: dict[TopicPartition, int] = {}
        for record in batch.records:
            place = TopicPartition(record.topic, record.partition)
            before.setdefault(place, self.positions[place])
            after[place] = record.offset + 1
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                await self._move(connection, before, after)
                with batch_span(self._journal.writer, "process", _positions(batch)):
                    parked = await self._archived(connection, batch)
                    if failed is None:
                        parked += await self._apply(connection, batch)
                    else:
                        await write(connection, self._model, batch.fold, "read")
                        parked = [failed]
                await park(connection, parked, self._clock.now())
                crash_point("consumer.before_commit")
            crash_point("consumer.after_commit")
        self.positions |= after
        self._races = 0
        self._size_max = min(2 * self._size_max, BATCH_SIZE_MAX)
        if self._tries:
            for record in batch.records:
                self._tries.pop((TopicPartition(record.topic, record.partition), record.offset), 0)
        for entry in parked:
            self._metrics.quarantined(entry.record.topic, entry.reason)

    def _is_fault(self, error: Exception) -> bool:
        """Say whether the batch is to blame; somebody who is always quicker is none but itself."""
        if isinstance(error, RETRY_AT_ONCE):
            self._races += 1
            return not isinstance(error, WEATHER) and self._races > RACES_MAX
        return not isinstance(error, WEATHER)

    async def _set_aside(self, batch: Prepared, error: Exception) -> bool:
        """Read fewer records next time; say whether a record that stood alone was parked.

        What a projection makes of it is applied all the same, as a rebuild does. A record that
        cannot be kept or folded is not passed by: that would part the archive from the log, or the
        tables from their rebuild. Its partition waits, in sight, and is looked at again.
        """
        self._size_max = max(1, len(batch.records) // 2)
        if len(batch.records) > 1:
            return False
        (record,) = batch.records
        place = TopicPartition(record.topic, record.partition)
        self._tries[place, record.offset] += 1
        if not is_hopeless(error, self._tries[place, record.offset]):
            return False
        reason = type(error).__name__ if isinstance(error, DeskError) else "reaction"
        try:
            await self._commit(batch, Parked(record, reason, cause_of(error)))
        except Exception as again:
            if self._is_fault(again):
                self._looked_at = asyncio.get_running_loop().time()
                at = f"{place.topic}-{place.partition}@{record.offset}"
                self.held_up[place] = f"{at}: {public_cause(again)}"
            raise
        _log.error("record_parked", topic=record.topic, offset=record.offset, exc_info=error)
        return True

    async def _look_again(self) -> None:
        """Now and then, try the partitions that were held up."""
        now = asyncio.get_running_loop().time()
        if self.held_up and now - self._looked_at > LOOK_AGAIN_SECONDS:
            self._looked_at = now
            self._size_max = 1  # so that the guilty ones are met alone, and hold up no others
            self.held_up.clear()
            await self.assign(list(self.positions))

    async def redrive(self, quarantine_ids: Sequence[int]) -> dict[int, str | None]:
        """Apply parked records again; return for each why it still cannot be, or None."""
        async with self._pool.acquire() as connection:
            records = await read_parked(connection, quarantine_ids)
            return {
                number: await self._redrive_one(connection, number, record)
                for number, record in records.items()
            }

    async def _redrive_one(self, connection: Connection, number: int, record: Record) -> str | None:
        began = asyncio.get_running_loop().time()
        try:
            async with connection.transaction():
                await hold_fold(connection, self._model.fingerprint)
                if await redriven(connection, number, self._clock.now()):
                    for still in await self._apply(connection, prepare(self._model, [record])):
                        raise InvalidInputError(still.detail)  # noqa: TRY301 undoes it all
        except RETRY_AT_ONCE as error:
            raise UnavailableError("another writer was quicker; try again") from error
        except Exception as raised:
            error = blamed(raised, asyncio.get_running_loop().time() - began)
            if isinstance(error, WEATHER):
                raise
            return cause_of(error)
        return None

    async def _move(
        self,
        connection: Connection,
        before: dict[TopicPartition, int],
        after: dict[TopicPartition, int],
    ) -> None:
        places = sorted(before)
        status = await connection.execute(
            _MOVE,
            [place.topic for place in places],
            [place.partition for place in places],
            [before[place] for place in places],
            [after[place] for place in places],
            self._model.fingerprint,
        )
        if status != f"UPDATE {len(places)}":
            await hold_fold(connection, self._model.fingerprint)
            raise OvertakenError("another replica has taken these partitions over")

    async def _archived(self, connection: Connection, batch: Prepared) -> list[Parked]:
        return [] if self._archive is None else await self._archive(connection, batch.records)

    async def _apply(self, connection: Connection, batch: Prepared) -> list[Parked]:
        """Write rows and decisions; return what cannot be applied."""
        await write(connection, self._model, batch.fold, "read")
        unit = Unit(connection, self._journal, self._clock.now(), parked=list(batch.parked))
        news = Batch(batch.events, batch.inbound)
        if self._react is not None and (news.events or news.inbound):
            await self._react(news, unit)
        await unit.flush()
        return unit.parked


def _turn(records: Sequence[Record], topics: Collection[str]) -> int:
    """Return how many of these records come before the first turn to such topics or from them."""
    for place in range(1, len(records) if topics else 0):
        if (records[place].topic in topics) != (records[0].topic in topics):
            return place
    return len(records)


def _positions(batch: Prepared) -> Iterator[tuple[str, str | None]]:
    """Yield topic and traceparent of everything that could be decoded."""
    for event in batch.events:
        yield event.type, event.traceparent
    for inbound in batch.inbound:
        yield inbound.record.topic, inbound.envelope.traceparent
