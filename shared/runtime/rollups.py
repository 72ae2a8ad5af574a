"""Rollups: what the rows of an hour come to, and hours added up, kept by a chore (ADR 0012).

A read model that has them has three tables of its own beside them: `touched`, what changed since
anyone looked, with a view `touched_hour` on the hours it belongs to; and `stale`, the hours to
count anew. Buckets that hold an hour of either must not be used.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Final, Protocol

from shared.buckets import SIZES
from shared.postgres.pool import Connection, Pool
from shared.runtime.fence import hold_fold
from shared.runtime.service import Service
from shared.runtime.unit import IN_NO_HURRY

OUTDATED: Final = "SELECT hour FROM read.stale UNION SELECT hour FROM read.touched_hour"
_LOCK: Final = "SELECT pg_try_advisory_xact_lock(1919905900)"
"""Only one replica is at the rollups of a database at a time."""
_FIND: Final = """
WITH seen AS (DELETE FROM read.touched)
INSERT INTO read.stale SELECT hour FROM read.touched_hour ON CONFLICT DO NOTHING
"""
_TAKE: Final = """
DELETE FROM read.stale WHERE hour IN (SELECT hour FROM read.stale ORDER BY hour LIMIT $1)
RETURNING hour
"""
_SETTLED: Final = """
SELECT number FROM unnest($1::bigint[]) number WHERE NOT EXISTS (
    SELECT FROM read.stale WHERE hour >= number * $2::int AND hour < (number + 1) * $2::int
)
"""
HOURS_MAX: Final = 32
_ROUND_SECONDS: Final = 1.0
_PAUSE_SECONDS_MAX: Final = 10.0
_GIVE_WAY: Final = 9


class Count(Protocol):
    """Forgets what was counted of hours, and counts it anew from the rows."""

    async def __call__(self, connection: Connection, hours: Sequence[int], /) -> None:
        """Replace the buckets of an hour."""
        ...


class AddUp(Protocol):
    """Makes buckets of a size anew from those of the size below."""

    async def __call__(
        self, connection: Connection, sizes: tuple[int, int], numbers: Collection[int], /
    ) -> None:
        """Replace buckets of the second of two sizes, both in hours."""
        ...


class Rollups:
    """Keeps the rollups behind the projector's back and never in its way.

    What is out of date is forgotten in the transaction that counts it anew, so that at each instant
    a bucket without an outdated hour is what its rows make of it.
    """

    def __init__(self, fold: str, count: Count, add_up: AddUp) -> None:
        self._fold = fold
        self._count = count
        self._add_up = add_up
        self._hours_max = HOURS_MAX

    async def keep(self, service: Service) -> None:
        """Count some hours anew, then pause as long as that took; longer while others are behind.

        A live hour changes all the time, so a round is no shorter than a second once all is done.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        counted = await self.refresh(service.work_pool)
        pause = (loop.time() - began) * (_GIVE_WAY if service.watch.behind else 1)
        least = _ROUND_SECONDS if counted < self._hours_max else 0
        await asyncio.sleep(min(max(pause, least), _PAUSE_SECONDS_MAX))

    async def refresh(self, pool: Pool) -> int:
        """Count some hours anew; return how many: 0 if none is out of date, or another is at it.

        What is found out of date is kept even if counting fails; then fewer are counted next time,
        for an hour may hold any number of rows, and a statement may take only so long.
        """
        async with pool.acquire() as connection:
            async with connection.transaction():
                if not await self._may(connection):
                    return 0
                await connection.execute(_FIND)
            try:
                async with connection.transaction():
                    if not await self._may(connection):
                        return 0
                    rows = await connection.fetch(_TAKE, self._hours_max)
                    if hours := [row["hour"] for row in rows]:
                        await self._count(connection, hours)
                        await self._add_up_all(connection, hours)
            except Exception:
                self._hours_max = max(1, self._hours_max // 2)
                raise
        self._hours_max = min(2 * self._hours_max, HOURS_MAX)
        return len(hours)

    async def _may(self, connection: Connection) -> bool:
        """Say whether this replica may write until the transaction ends; nobody waits for it."""
        if not await connection.fetchval(_LOCK):
            return False
        await hold_fold(connection, self._fold)
        await connection.execute(IN_NO_HURRY)
        return True

    async def _add_up_all(self, connection: Connection, hours: Iterable[int]) -> None:
        """Add up larger buckets of what the smaller ones hold, unless more is to come there.

        A bucket with an outdated hour is not used, so it can wait until its last one is counted.
        """
        numbers = set(hours)
        for below, size in pairwise(SIZES):
            above = sorted({number // (size // below) for number in numbers})
            rows = await connection.fetch(_SETTLED, above, size)
            numbers = {row["number"] for row in rows}
            if numbers:
                await self._add_up(connection, (below, size), sorted(numbers))
