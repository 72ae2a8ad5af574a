"""Kernels with one rule taken out, each the way one would plausibly get it wrong."""

import asyncio
from collections.abc import Sequence
from typing import Any

from support.memory_store import (
    KERNEL,
    MemoryStore,
    Row,
    Transaction,
    outbox_rows,
    upsert_of,
    upserts,
)

from shared.journal.relay import BATCH_SIZE_MAX, SENT, Relay
from shared.log.port import Outgoing, TopicPartition
from shared.runtime.consumer import Consumer, Prepared
from shared.runtime.leases import Leases
from shared.runtime.timers import GRACE, Timers
from simulation.rules import MODEL
from simulation.world import Kernel, Size

_BEHIND = "the outbox behind the highest id that was sent"
_MOVE_ANYHOW = "move offsets whatever they are now"


async def _behind(_: MemoryStore, tx: Transaction, last: int) -> list[Row]:
    return outbox_rows(tx, last, BATCH_SIZE_MAX)


async def _move_anyhow(_: MemoryStore, tx: Transaction, *columns: Sequence[Any]) -> list[Row]:
    moved: list[Row] = []
    for topic, partition, _before, after in zip(*columns, strict=True):
        await tx.lock("offset", (topic, partition))
        tx.put("offset", (topic, partition), after)
        moved.append(Row.of(topic=topic))
    return moved


KERNEL[_BEHIND] = _behind
KERNEL[_MOVE_ANYHOW] = _move_anyhow
_UNGUARDED: dict[str, str] = {}
for _table in MODEL.tables:
    for _upsert in upserts(_table):
        _UNGUARDED[_upsert.sql] = f"{_upsert.sql} -- whatever its sequence"
        KERNEL[_UNGUARDED[_upsert.sql]] = upsert_of(_upsert, wins=lambda new, _old: new > 0)


class HighWaterRelay(Relay):
    """Remembers the highest id it has sent, instead of reading what is still there."""

    _last = 0

    async def pass_on(self) -> int:
        rows = await self._pool.fetch(_BEHIND, self._last)
        if not rows:
            return 0
        writer = self._make_writer()
        await writer.send(
            [Outgoing(row["type"], row["stream_id"].encode(), row["value"]) for row in rows]
        )
        self._last = rows[-1]["id"]
        await self._pool.execute(SENT, [row["id"] for row in rows])
        return len(rows)


class EagerRelay(Relay):
    """Deletes before it sends."""

    async def pass_on(self) -> int:
        rows = await self._pool.fetch(_BEHIND, 0)
        await self._pool.execute(SENT, [row["id"] for row in rows])
        await self._make_writer().send(
            [Outgoing(row["type"], row["stream_id"].encode(), row["value"]) for row in rows]
        )
        return len(rows)


class OffsetFirstConsumer(Consumer):
    """Moves its offsets in a transaction of their own, before the rows they stand for."""

    async def _move(
        self,
        connection: Any,
        before: dict[TopicPartition, int],
        after: dict[TopicPartition, int],
    ) -> None:
        async with self._pool.acquire() as other, other.transaction():
            await super()._move(other, before, after)


class UncomparedConsumer(Consumer):
    """Moves its offsets without looking whether they are still where it read from."""

    async def _move(
        self,
        connection: Any,
        before: dict[TopicPartition, int],
        after: dict[TopicPartition, int],
    ) -> None:
        places = sorted(before)
        await connection.execute(
            _MOVE_ANYHOW,
            [place.topic for place in places],
            [place.partition for place in places],
            [before[place] for place in places],
            [after[place] for place in places],
        )


class OffsetLastConsumer(Consumer):
    """Moves its offsets once their rows are committed."""

    async def _move(
        self,
        connection: Any,
        before: dict[TopicPartition, int],
        after: dict[TopicPartition, int],
    ) -> None:
        self._moves = before, after

    async def step(self, wait_seconds: float) -> int:
        applied = await super().step(wait_seconds)
        if applied:
            async with self._pool.acquire() as connection, connection.transaction():
                await super()._move(connection, *self._moves)
        return applied


class _Unguarded:
    """A connection on which the facet that arrives last wins."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, sql: str, *arguments: Any) -> str:
        return await self._connection.execute(_UNGUARDED.get(sql, sql), *arguments)


class ArrivalConsumer(Consumer):
    """Guards rows by arrival instead of sequence."""

    async def _apply(
        self, connection: Any, batch: Prepared, *, park_again: bool = True
    ) -> list[Any]:
        return await super()._apply(_Unguarded(connection), batch, park_again=park_again)


class HastyTimers(Timers):
    """Fires what the clock says is due, whatever has not been read yet."""

    async def step(self) -> int:
        await asyncio.sleep(0)
        return await self.fire(self._clock.now() - GRACE)


class EverybodysLeases(Leases):
    """Gives everything to everybody, as leases do at the worst: they spread work, no more."""

    async def take(self, name: str) -> bool:
        await asyncio.sleep(0)
        return True

    async def take_share(self, partitions: int) -> frozenset[int]:
        await asyncio.sleep(0)
        return frozenset(range(partitions))


CALM = Size()
ROUGH = Size(tickets=6, deaths=6, naps=2, failures=0.3, seconds=3.0)
CROWDED = Size(tickets=12, deaths=1, naps=0, failures=0.1, seconds=0.2)
MUTATIONS: dict[str, tuple[Kernel, Size, str]] = {
    # what was taken out → the kernel, the worlds that show it, and the invariant it breaks
    "a relay that remembers the highest id": (Kernel(relay=HighWaterRelay), CROWDED, "I6"),
    "a relay that deletes before it sends": (Kernel(relay=EagerRelay), ROUGH, "I2"),
    "offsets before their rows": (Kernel(consumer=OffsetFirstConsumer), ROUGH, "I4"),
    "offsets after their rows": (Kernel(consumer=OffsetLastConsumer), ROUGH, "I4"),
    "offsets without compare-and-set": (Kernel(consumer=UncomparedConsumer), ROUGH, "I4"),
    "rows guarded by arrival": (Kernel(consumer=ArrivalConsumer), ROUGH, "I3"),
    "timers without the watermark": (Kernel(timers=HastyTimers), ROUGH, "I5"),
}
KERNELS: dict[str, Kernel] = {
    "whole": Kernel(),
    "leases to everybody": Kernel(leases=EverybodysLeases),
    **{name: kernel for name, (kernel, _, _) in MUTATIONS.items()},
}
