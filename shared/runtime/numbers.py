"""Human-readable numbers: never given twice, with gaps where a write failed.

A database restored from an older copy, or begun anew, has an older sequence, or a new one. What the
desk has given before is on its board and in the log: `raise_past` moves the sequence past it.
"""

from collections.abc import Callable, Sequence
from typing import Final

from shared.coalesce import Coalescer
from shared.contracts.base import EventData
from shared.contracts.registry import UndecodableError, decode_record
from shared.log.port import Log, TopicPartition
from shared.postgres.pool import Connection, Pool
from shared.replay.rebuild import read_log
from shared.runtime.consumer import applied_offsets

_LOCK: Final = 1_853_190_466
# setval may go back, where others have drawn meanwhile: who draws shares a lock that it has alone.
_DRAW: Final = """
SELECT nextval('kernel.number')
FROM (SELECT pg_advisory_xact_lock_shared($2)) l CROSS JOIN generate_series(1, $1)
"""
_IS_BEHIND: Final = "SELECT last_value - (NOT is_called)::int < $1 FROM kernel.number"
_GIVEN: Final = "SELECT last_value - (NOT is_called)::int FROM kernel.number"
_RAISE: Final = f"SELECT setval('kernel.number', $1) WHERE ({_IS_BEHIND})"


class Numbers:
    """Hands out the numbers of one service; callers at the same time share a round trip."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._coalescer = Coalescer[int, list[int]](
            self._draw, batch_size_max=512, pending_max=8_192
        )

    async def take(self, count: int = 1) -> list[int]:
        """Return that many numbers nobody else has."""
        return await self._coalescer.submit(count)

    async def _draw(self, counts: Sequence[int]) -> list[list[int] | Exception]:
        async with self._pool.acquire() as connection:
            numbers = iter(await draw(connection, sum(counts)))
        return [[next(numbers) for _ in range(count)] for count in counts]


async def draw(connection: Connection, count: int) -> list[int]:
    """Return that many numbers nobody else has, in order."""
    return sorted(row[0] for row in await connection.fetch(_DRAW, count, _LOCK))


async def is_behind(connection: Connection, number: int) -> bool:
    """Say whether `number` is still to be given."""
    return bool(await connection.fetchval(_IS_BEHIND, number))


async def raise_past(connection: Connection, number: int) -> range:
    """See to it that `number`, and what is below it, is given to nobody from now on.

    Within the caller's transaction, before it draws: until that ends nobody else does, if the
    sequence was behind. Returns the numbers that were still to be given, none if it was not.
    """
    if not await is_behind(connection, number):
        return range(0)
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    given: int = await connection.fetchval(_GIVEN)
    await connection.execute(_RAISE, number)
    return range(given + 1, number + 1)


async def highest_unread(
    log: Log, pool: Pool, topic: str, number_in: Callable[[EventData], int | None]
) -> int:
    """Return the highest number in those events of a topic that this service has not applied.

    Usually that is a handful; a database begun anew has the whole topic before it. 0 for none.
    """
    applied = await applied_offsets(pool)
    start: dict[TopicPartition, int] = {}
    for place, begin in (await log.begin_offsets([topic])).items():
        start[place] = max(begin, applied.get(place, 0))
    highest = 0
    async for records in read_log(log, start, await log.end_offsets([topic])):
        for record in records:
            try:
                number = number_in(decode_record(record).data)
            except UndecodableError:
                continue
            highest = max(highest, number or 0)
    return highest
