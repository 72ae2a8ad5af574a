"""Kernels with one rule taken out, each the way one would plausibly get it wrong."""

import asyncio
from collections.abc import Sequence
from typing import Any

from support.memory_store import KERNEL, MemoryStore, Row, Transaction, outbox_rows

from shared.journal.relay import BATCH_SIZE_MAX, SENT, Relay
from shared.log.port import Outgoing, TopicPartition
from shared.runtime.consumer import Consumer, Prepared
from shared.runtime.timers import GRACE, Timers
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


class ArrivalConsumer(Consumer):
    """Guards rows by arrival: each batch writes as if it were newer than all before it."""

    _arrived = 0

    async def _apply(
        self, connection: Any, batch: Prepared, *, park_again: bool = True
    ) -> list[Any]:
        for table in batch.fold._rows.values():
            for row in table.values():
                for place in range(0, len(row), 2):
                    if row[place] is not None:
                        ArrivalConsumer._arrived += 1
                        row[place] += 1_000 * ArrivalConsumer._arrived
        return await super()._apply(connection, batch, park_again=park_again)


class HastyTimers(Timers):
    """Fires what the clock says is due, whatever has not been read yet."""

    async def step(self) -> int:
        await asyncio.sleep(0)
        return await self.fire(self._clock.now() - GRACE)


CALM = Size()
ROUGH = Size(tickets=6, deaths=6, naps=2, failures=0.3)
CROWDED = Size(tickets=12, deaths=1, naps=0, failures=0.1, seconds=0.2)
MUTATIONS = {
    "a relay that remembers the highest id": (Kernel(relay=HighWaterRelay), CROWDED),
    "a relay that deletes before it sends": (Kernel(relay=EagerRelay), ROUGH),
    "offsets outside the transaction of their rows": (Kernel(consumer=OffsetFirstConsumer), ROUGH),
    "offsets moved without compare-and-set": (Kernel(consumer=UncomparedConsumer), ROUGH),
    "rows guarded by arrival": (Kernel(consumer=ArrivalConsumer), ROUGH),
    "timers without the watermark": (Kernel(timers=HastyTimers), ROUGH),
}
