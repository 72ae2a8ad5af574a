"""A service's consumer on a database, given records in the batches that a test chooses."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

import asyncpg
import msgspec

from shared.clock import Clock
from shared.contracts.registry import decode_record
from shared.journal.journal import Journal
from shared.log.port import Record, TopicPartition
from shared.postgres.migrate import migrate
from shared.postgres.pool import open_pool
from shared.replay import schema
from shared.runtime import consumer
from shared.runtime.consumer import Consumer
from shared.runtime.spec import Spec
from shared.telemetry.metrics import MetricRegistry

_EMPTIED = (
    *("journal", "outbox", "timer", "delivery", "quarantine", "consumer_offset"),
    *("snapshot", "parked_timer"),
)
_LEFT = {
    "timers": "SELECT stream_id, name, due_at FROM kernel.timer",
    "deliveries": "SELECT id, target, body, stream_id, sequence FROM kernel.delivery",
    "quarantine": "SELECT topic, record_offset, reason, detail FROM kernel.quarantine",
}


@dataclass
class ChosenBatches:
    """A log reader that gives out batches as they were cut."""

    left: list[list[Record]] = field(default_factory=list[list[Record]])

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.assign`."""

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        """Return the next batch, empty behind the last; never waits."""
        return self.left.pop(0) if self.left else []

    async def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.publish`."""

    async def close(self) -> None:
        """See `LogReader.close`."""


def splits(records: list[Record], chance: Random) -> list[list[Record]]:
    """Return the records in batches cut at random."""
    cuts = sorted(chance.sample(range(1, len(records)), chance.randrange(1, len(records) // 2)))
    return [records[a:b] for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True)]


@dataclass
class Reading:
    """What a service makes of batches, each time from an empty database."""

    owner: "asyncpg.Connection[Any]"
    new_consumer: Callable[[ChosenBatches], Consumer]
    tables: Sequence[str]

    async def outcome(self, batches: Sequence[list[Record]]) -> dict[str, list[Any]]:
        """Return all that reactions decided, without the instants of recording."""
        await self.owner.execute(f"TRUNCATE {', '.join(self.tables)}")
        await self.owner.execute("ALTER SEQUENCE kernel.number RESTART")
        reading = self.new_consumer(ChosenBatches(list(batches)))
        records = [record for batch in batches for record in batch]
        await reading.assign(sorted({TopicPartition(r.topic, r.partition) for r in records}))
        try:
            for _ in batches:
                assert await reading.step(0)
        finally:
            await reading.close()
        return {"journal": await self._journal()} | {
            name: sorted(tuple[Any, ...](row) for row in await self.owner.fetch(query))
            for name, query in _LEFT.items()
        }

    async def _journal(self) -> list[Any]:
        found: list[Any] = []
        for row in await self.owner.fetch(
            "SELECT stream_id, type, value FROM kernel.journal ORDER BY stream_id, sequence"
        ):
            record = Record(row["type"], 0, 0, row["stream_id"].encode(), row["value"], 0)
            e = decode_record(record)
            place = e.stream_id, e.sequence, e.type, e.time
            found.append(
                (*place, msgspec.to_builtins(e.data), e.causation_id, e.correlation_id, e.actor)
            )
        return found


@asynccontextmanager
async def reading(dsn: str, spec: Spec, clock: Clock) -> AsyncGenerator[Reading]:
    """Migrate a database and open it for the service of `spec`."""
    await migrate(dsn, spec.migrations)
    maker = await open_pool(dsn, role="desk_replay", name="maker", size_max=1)
    async with maker.acquire() as connection, connection.transaction():
        await schema.create(connection, spec.read_model, schema.LIVE)
    await maker.close()
    pool = await open_pool(dsn, role="desk_app", name=spec.name, size_max=2)
    owner = await asyncpg.connect(dsn)
    there = {row[0] for row in await owner.fetch("SELECT tablename FROM pg_tables")}
    tables = [f"kernel.{name}" for name in _EMPTIED if name in there]
    tables += [f"read.{table.name}" for table in spec.read_model.tables]

    def new_consumer(reader: ChosenBatches) -> Consumer:
        return Consumer(
            pool=pool,
            reader=reader,
            journal=Journal(spec.name, clock),
            model=spec.read_model,
            react=spec.react,
            archive=None,
            clock=clock,
            metrics=MetricRegistry().for_service(spec.name),
            turning_points=spec.turning_points,
        )

    try:
        with patch.object(consumer, "LINGER_SECONDS", 0):
            yield Reading(owner, new_consumer, tables)
    finally:
        await owner.close()
        await pool.close()
