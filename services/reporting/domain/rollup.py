"""What a bucket of rollups holds: its tickets, tallied by each dimension that reports ask for."""

from collections.abc import Iterator, Mapping, Sequence

from services.reporting.domain.flow import Flow
from services.reporting.domain.tally import Tallies, TicketRow
from shared.calendar import WorkingCalendar

NO_CALENDAR = ""
Packed = tuple[bytes, bytes, bytes, bytes, bytes | None]
"""Whole, by priority, by group and by category; and the flow, where no calendar is named."""


class Contents:
    """Tickets counted by all dimensions; their working times in each calendar; their flow."""

    __slots__ = ("_calendars", "_flow", "_tallied")

    def __init__(self, calendars: Mapping[str, WorkingCalendar]) -> None:
        self._calendars = calendars
        self._tallied = {
            name: (Tallies(), Tallies(), Tallies(), Tallies()) for name in (NO_CALENDAR, *calendars)
        }
        self._flow = Flow()

    def add(self, row: TicketRow) -> None:
        """Count a ticket."""
        keys = None, row.priority, row.group, row.category
        for tallies, key in zip(self._tallied[NO_CALENDAR], keys, strict=True):
            tallies.at(key).add(row)
        for name, calendar in self._calendars.items():
            worked_us = row.worked_us(calendar)
            for tallies, key in zip(self._tallied[name], keys, strict=True):
                tallies.at(key).add_working(worked_us)
        self._flow.add(row)

    def take(self, calendar: str, packed: Sequence[bytes | None]) -> None:
        """Count what a smaller bucket holds; nothing for a calendar that is gone."""
        *dimensions, flow = packed
        for tallies, cells in zip(self._tallied.get(calendar, ()), dimensions, strict=False):
            tallies.take_cells(cells or b"")
        if flow is not None:
            self._flow.take_packed(flow)

    def packed(self) -> Iterator[tuple[str, Packed]]:
        """Yield all of it by calendar, the same bytes for the same tickets."""
        whole, priority, group, category = self._tallied[NO_CALENDAR]
        yield (
            NO_CALENDAR,
            (
                whole.cells(),
                priority.cells(),
                group.cells(),
                category.cells(),
                self._flow.packed(),
            ),
        )
        for name in self._calendars:
            whole, priority, group, category = self._tallied[name]
            yield (
                name,
                (
                    whole.working_cells(),
                    priority.working_cells(),
                    group.working_cells(),
                    category.working_cells(),
                    None,
                ),
            )
