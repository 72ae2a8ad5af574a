"""What reporting does unasked: it keeps the KPIs' rollups up to date."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from services.reporting.domain.rollup import Contents
from services.reporting.projections import READ_MODEL
from services.reporting.queries import read_hours, read_tickets
from shared.buckets import HOUR_US, ranges_us
from shared.calendar import WorkingCalendar
from shared.postgres.pool import Connection
from shared.runtime.rollups import Rollups

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


class KpiRollups(Rollups):
    """The rollups that KPI reports are made of."""

    def __init__(self) -> None:
        super().__init__(READ_MODEL.fingerprint, self._count_tickets, self._add_up_tickets)
        self._calendars: Mapping[str, WorkingCalendar] = {}

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
