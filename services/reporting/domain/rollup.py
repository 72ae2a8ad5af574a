"""What a bucket of rollups holds: its tickets, tallied by each dimension that reports ask for."""

from collections.abc import Sequence

from services.reporting.domain.flow import Flow
from services.reporting.domain.tally import Tallies, TicketRow
from shared.calendar import WorkingCalendar


class Contents:
    """Tickets counted whole, by priority, by group and by category, and their flow."""

    __slots__ = ("_dimensions", "_flow")

    def __init__(self) -> None:
        self._dimensions = (Tallies(), Tallies(), Tallies(), Tallies())
        self._flow = Flow()

    def add(self, row: TicketRow) -> None:
        """Count a ticket."""
        keys = None, row.priority, row.group, row.category
        for tallies, key in zip(self._dimensions, keys, strict=True):
            tallies.at(key).add(row)
        self._flow.add(row)

    def take(self, packed: Sequence[bytes]) -> None:
        """Count what a smaller bucket holds."""
        for tallies, cells in zip(self._dimensions, packed, strict=False):
            tallies.take_cells(cells)
        self._flow.take_packed(packed[-1])

    def packed(self) -> tuple[bytes, ...]:
        """Return all of it, the same bytes for the same tickets."""
        return (*(tallies.cells() for tallies in self._dimensions), self._flow.packed())


class WorkingContents:
    """The working times of the same tickets in one calendar."""

    __slots__ = ("_calendar", "_dimensions")

    def __init__(self, calendar: WorkingCalendar) -> None:
        self._calendar = calendar
        self._dimensions = (Tallies(), Tallies(), Tallies(), Tallies())

    def add(self, row: TicketRow) -> None:
        """Count a ticket."""
        worked_us = row.worked_us(self._calendar)
        keys = None, row.priority, row.group, row.category
        for tallies, key in zip(self._dimensions, keys, strict=True):
            tallies.at(key).add_working(worked_us)

    def take(self, packed: Sequence[bytes]) -> None:
        """Count what a smaller bucket holds."""
        for tallies, cells in zip(self._dimensions, packed, strict=False):
            tallies.take_cells(cells)

    def packed(self) -> tuple[bytes | None, ...]:
        """Return all of it, the same bytes for the same tickets; a calendar changes no flow."""
        return (*(tallies.working_cells() for tallies in self._dimensions), None)
