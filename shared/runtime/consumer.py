"""The consumer: records in, rows and decisions out, offsets moved in the same transaction (R6)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from shared.clock import Clock
from shared.contracts.registry import (
    INBOUND,
    Recorded,
    UndecodableError,
    decode_envelope,
    decode_report,
    decode_shared_record,
)
from shared.errors import UnavailableError
from shared.journal.journal import Journal
from shared.log.port import LogReader, Record, TopicPartition
from shared.postgres.pool import Connection, Pool
from shared.runtime.crash import crash_point
from shared.runtime.fence import HOLD, hold_fold
from shared.runtime.quarantine import Parked, park, read_parked
from shared.runtime.read_model import Fold, ReadModel, write
from shared.runtime.unit import Batch, Inbound, MovedOnError, Unit
from shared.telemetry.metrics import ServiceMetrics

BATCH_SIZE_MAX: Final = 2_000
SMALL_BATCH_SIZE: Final = 200
LINGER_SECONDS: Final = 0.02
React = Callable[[Batch, Unit], Awaitable[None]]
Archive = Callable[[Connection, Sequence[Record]], Awaitable[list[Parked]]]

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


class OvertakenError(UnavailableError):
    """Another replica has moved these offsets; this one must load them again."""


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
    reports: Sequence[Inbound]
    parked: Sequence[Parked]
    fold: Fold


def prepare(model: ReadModel, records: Sequence[Record]) -> Prepared:
    """Sort records out by their bytes alone (R8) and fold the events among them."""
    events, reports, parked = sort_out(records)
    fold = Fold(model)
    for event in events:
        fold.add(event)
    return Prepared(records, events, reports, parked, fold)


class Consumer:
    """Applies records of the assigned partitions. One consumer belongs to one task."""

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
    ) -> None:
        self._pool = pool
        self._reader = reader
        self._journal = journal
        self._model = model
        self._react = react
        self._archive = archive
        self._clock = clock
        self._metrics = metrics
        self._ahead: asyncio.Task[Prepared] | None = None
        self.positions: dict[TopicPartition, int] = {}

    async def assign(self, places: Sequence[TopicPartition]) -> None:
        """Take up these partitions where the last transaction left them."""
        await self.close()
        self.positions = await load_offsets(self._pool, places) if places else {}
        await self._reader.assign(self.positions)

    async def close(self) -> None:
        """Forget what was read ahead."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def step(self, wait_seconds: float) -> int:
        """Apply one batch, and meanwhile read and fold the next; return how many records.

        Raises: OvertakenError when another replica applied them; SupersededError when another
        version's model is live; LogUnavailableError; asyncpg errors. In each case nothing was
        applied, and `assign` makes a new start.
        """
        ahead = self._ahead or self._read_ahead(wait_seconds)
        self._ahead = None
        batch = await ahead
        if not batch.records:
            return 0
        is_small = len(batch.records) < SMALL_BATCH_SIZE
        self._ahead = self._read_ahead(wait_seconds, LINGER_SECONDS if is_small else 0)
        began = asyncio.get_running_loop().time()
        before: dict[TopicPartition, int] = {}
        after: dict[TopicPartition, int] = {}
        for record in batch.records:
            place = TopicPartition(record.topic, record.partition)
            before.setdefault(place, self.positions[place])
            after[place] = record.offset + 1
        async with self._pool.acquire() as connection:
            async with connection.transaction():
                await self._move(connection, before, after)
                await self._apply(connection, batch)
                crash_point("consumer.before_commit")
            crash_point("consumer.after_commit")
        self.positions |= after
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
            records = await self._reader.fetch(
                records_max=BATCH_SIZE_MAX, wait_seconds=wait_seconds
            )
            return prepare(self._model, records)

        return asyncio.create_task(read())

    async def redrive(self, quarantine_ids: Sequence[int]) -> dict[int, str | None]:
        """Apply parked records again; return for each why it still cannot be, or None."""
        async with self._pool.acquire() as connection, connection.transaction():
            await hold_fold(connection, self._model.fingerprint)
            records = await read_parked(connection, quarantine_ids)
            batch = prepare(self._model, list(records.values()))
            still = await self._apply(connection, batch, park_again=False)
            reasons = {
                (p.record.topic, p.record.partition, p.record.offset): p.detail for p in still
            }
            verdicts = {
                number: reasons.get((record.topic, record.partition, record.offset))
                for number, record in records.items()
            }
            await connection.execute(
                "UPDATE kernel.quarantine SET redriven_at = $2 WHERE id = ANY($1::bigint[])",
                [number for number, reason in verdicts.items() if reason is None],
                self._clock.now(),
            )
            return verdicts

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

    async def _apply(
        self, connection: Connection, batch: Prepared, *, park_again: bool = True
    ) -> list[Parked]:
        parked = list(batch.parked)
        if self._archive is not None and park_again:
            parked += await self._archive(connection, batch.records)
        await write(connection, self._model, batch.fold, "read")
        unit = Unit(connection, self._journal, self._clock.now(), parked=parked)
        news = Batch([event for event in batch.events if not event.history], batch.reports)
        if self._react is not None and (news.events or news.reports):
            await self._react(news, unit)
        await unit.flush()
        if park_again:
            await park(connection, unit.parked, unit.now)
            for entry in unit.parked:
                self._metrics.quarantined(entry.record.topic, entry.reason)
        return unit.parked


def sort_out(records: Sequence[Record]) -> tuple[list[Recorded], list[Inbound], list[Parked]]:
    """Decode records into events, reports and those to park; from their bytes alone (R8)."""
    events: list[Recorded] = []
    reports: list[Inbound] = []
    parked: list[Parked] = []
    for record in records:
        try:
            if record.topic == INBOUND:
                envelope = decode_envelope(record.value)
                reports.append(Inbound(record, envelope, decode_report(envelope)))
            else:
                events.append(decode_shared_record(record))
        except UndecodableError as error:
            parked.append(Parked(record, error.reason, error.detail))
    return events, reports, parked


RETRY_AT_ONCE: Final = (
    OvertakenError,
    MovedOnError,
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
)
"""Somebody else was quicker; load positions and try again without waiting."""
