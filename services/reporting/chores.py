"""What reporting's workers do for ever: keep the KPIs' rollups up to date."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Final

from services.reporting.domain.rollup import Contents
from services.reporting.projections import READ_MODEL
from services.reporting.queries import read_hours, read_tickets
from shared.buckets import HOUR_US, SIZES, ranges_us
from shared.calendar import WorkingCalendar
from shared.postgres.pool import Connection, Pool
from shared.runtime.rollups import Rollups
from shared.runtime.service import Service

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


_AT_ONCE: Final = 24
_LARGEST: Final = 1_536
_LEAVE: Final = """
INSERT INTO read.unmade SELECT $1, number, now() FROM unnest($2::bigint[]) number
ON CONFLICT (size, number) DO UPDATE SET touched_at = EXCLUDED.touched_at
"""
_QUIET: Final = """
SELECT size, number FROM read.unmade u
WHERE size <= $1 AND touched_at <= now() - $2::interval AND NOT EXISTS (
    SELECT FROM read.stale WHERE hour >= u.number * u.size AND hour < (u.number + 1) * u.size
) AND NOT EXISTS (
    SELECT FROM read.unmade v WHERE v.size < u.size
        AND v.number * v.size >= u.number * u.size AND v.number * v.size < (u.number + 1) * u.size
)
ORDER BY size, number LIMIT 1
"""
_MADE: Final = "DELETE FROM read.unmade WHERE size = $1 AND number = $2"


class KpiRollups(Rollups):
    """The rollups that KPI reports are made of.

    Days are added up at once. A larger bucket, which has every duration of months, is forgotten
    when something in it changes, and made again when nothing did for a while; until then its parts
    are read. None is larger than 64 days: that bounds what is held in memory.
    """

    def __init__(self, quiet: timedelta = timedelta(minutes=5)) -> None:
        super().__init__(READ_MODEL.fingerprint, self._count_tickets, self._add_up_days)
        self._calendars: Mapping[str, WorkingCalendar] = {}
        self._quiet = quiet

    async def keep(self, service: Service) -> None:
        """Count some hours anew, and make a larger bucket unless others are behind."""
        await super().keep(service)
        if not service.watch.behind:
            await self.make(service.work_pool)

    async def make(self, pool: Pool) -> bool:
        """Make one larger bucket in which nothing changed for a while; say if there was one."""
        async with pool.acquire() as connection, connection.transaction():
            if not await self._may(connection):
                return False
            found = await connection.fetchrow(_QUIET, _LARGEST, self._quiet)
            if found is None:
                return False
            size, number = found
            await self._learn_calendars(connection)
            await self._add_up_tickets(connection, (SIZES[SIZES.index(size) - 1], size), [number])
            await connection.execute(_MADE, size, number)
            return True

    async def _add_up_days(
        self, connection: Connection, sizes: tuple[int, int], numbers: Collection[int]
    ) -> None:
        if sizes[1] <= _AT_ONCE:
            await self._add_up_tickets(connection, sizes, numbers)
            return
        await connection.execute(_FORGET, sizes[1], list(numbers))
        await connection.execute(_LEAVE, sizes[1], list(numbers))

    async def _learn_calendars(self, connection: Connection) -> None:
        rows = await connection.fetch("SELECT digest FROM read.hours")
        if {row["digest"] for row in rows} != set(self._calendars):
            self._calendars = await read_hours(connection)

    async def _count_tickets(self, connection: Connection, hours: Sequence[int]) -> None:
        await self._learn_calendars(connection)
        contents = {hour: Contents(self._calendars) for hour in hours}
        async for ticket in read_tickets(connection, ranges_us(hours)):
            contents[ticket.created_us // HOUR_US].add(ticket)
        await _keep(connection, 1, contents)

    async def _add_up_tickets(
        self, connection: Connection, sizes: tuple[int, int], numbers: Collection[int]
    ) -> None:
        below, size = sizes
        ratio = size // below
        for number in numbers:
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
