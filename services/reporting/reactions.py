"""What reporting does unasked: it keeps the KPIs' rollups up to date."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from services.reporting.domain.buckets import SIZES, ranges_us
from services.reporting.domain.rollup import Contents
from services.reporting.domain.times import HOUR_US
from services.reporting.projections import READ_MODEL
from services.reporting.queries import read_hours, read_tickets
from shared.calendar import WorkingCalendar
from shared.postgres.pool import Connection, Pool
from shared.runtime.fence import hold_fold
from shared.runtime.service import Service
from shared.runtime.unit import IN_NO_HURRY

_LOCK: Final = "SELECT pg_try_advisory_xact_lock(1919905900)"
"""Only one replica is at the rollups at a time."""
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
_PARTS: Final = """
SELECT number, calendar, whole, priority, assigned_group, category, flow FROM read.rollup
WHERE size = $1 AND number >= $2 AND number < $3
"""
_FORGET: Final = "DELETE FROM read.rollup WHERE size = $1 AND number = ANY($2::bigint[])"
_KEEP: Final = """
INSERT INTO read.rollup
    (size, number, calendar, whole, priority, assigned_group, category, flow)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""
_HOURS_MAX: Final = 32
_ROUND_SECONDS: Final = 1.0
_PAUSE_SECONDS_MAX: Final = 10.0
_GIVE_WAY: Final = 9


class Rollups:
    """Keeps the rollups behind the projector's back and never in its way.

    What is out of date is forgotten in the transaction that counts it anew, so that at each instant
    a bucket without an outdated hour is what its tickets make of it.
    """

    def __init__(self) -> None:
        self._calendars: Mapping[str, WorkingCalendar] = {}

    async def keep(self, service: Service) -> None:
        """Count some hours anew, then pause as long as that took; longer while others are behind.

        A live hour changes all the time, so a round is no shorter than a second once all is done.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        counted = await self.refresh(service.work_pool)
        pause = (loop.time() - began) * (_GIVE_WAY if service.watch.behind else 1)
        least = 0 if counted == _HOURS_MAX else _ROUND_SECONDS
        await asyncio.sleep(min(max(pause, least), _PAUSE_SECONDS_MAX))

    async def refresh(self, pool: Pool) -> int:
        """Count some hours anew; return how many: 0 if none is out of date, or another is at it."""
        async with pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(_LOCK):
                return 0
            await hold_fold(connection, READ_MODEL.fingerprint)
            await connection.execute(IN_NO_HURRY)
            await connection.execute(_FIND)
            hours = [row["hour"] for row in await connection.fetch(_TAKE, _HOURS_MAX)]
            if hours:
                await self._learn_calendars(connection)
                await self._count(connection, hours)
                await self._add_up(connection, hours)
            return len(hours)

    async def _learn_calendars(self, connection: Connection) -> None:
        rows = await connection.fetch("SELECT digest FROM read.hours")
        if {row["digest"] for row in rows} != set(self._calendars):
            self._calendars = await read_hours(connection)

    async def _count(self, connection: Connection, hours: Sequence[int]) -> None:
        """Count the tickets of hours."""
        contents = {hour: Contents(self._calendars) for hour in hours}
        async for ticket in read_tickets(connection, ranges_us(hours)):
            contents[ticket.created_us // HOUR_US].add(ticket)
        await _keep(connection, 1, contents)

    async def _add_up(self, connection: Connection, hours: Iterable[int]) -> None:
        """Add up larger buckets of what the smaller ones hold, unless more is to come there.

        A bucket with an outdated hour is not used, so it can wait until its last one is counted.
        """
        numbers = set(hours)
        for below, size in pairwise(SIZES):
            ratio = size // below
            above = sorted({number // ratio for number in numbers})
            rows = await connection.fetch(_SETTLED, above, size)
            numbers = {row["number"] for row in rows}
            for number in sorted(numbers):
                contents = Contents(self._calendars)
                for _, calendar, *packed in await connection.fetch(
                    _PARTS, below, number * ratio, (number + 1) * ratio
                ):
                    contents.take(calendar, packed)
                await _keep(connection, size, {number: contents})


async def _keep(connection: Connection, size: int, contents: Mapping[int, Contents]) -> None:
    await connection.execute(_FORGET, size, list(contents))
    await connection.executemany(
        _KEEP,
        [
            (size, number, calendar, *packed)
            for number, counted in contents.items()
            for calendar, packed in counted.packed()
        ],
    )
