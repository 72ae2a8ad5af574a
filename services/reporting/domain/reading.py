"""One report in the making: what to take from rollups, what to read ticket by ticket."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from services.reporting.domain.flow import Flow, FlowReport, Passages
from services.reporting.domain.kpi import GroupBy, KpiReport, Period, report
from services.reporting.domain.tally import Tallies, TicketRow
from shared.buckets import HOUR_US, Broken, BucketSpan, ranges_us
from shared.calendar import WorkingCalendar, microseconds
from shared.months import Months

_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReportQuestion:
    """What is asked: a period, grouped, in whose months and in whose working hours."""

    period: Period
    by: GroupBy | None
    zone: ZoneInfo
    calendar: WorkingCalendar

    @property
    def bounds_us(self) -> tuple[int | None, int | None]:
        """The period in microseconds since 1970, no further than anything can have happened.

        Beyond that there is no month after the last one, in some zones none before the first.
        """
        return _within(self.period.start), _within(self.period.end)


def _within(bound: datetime | None) -> int | None:
    return None if bound is None else microseconds(min(max(bound, _EARLIEST), _LATEST))


class Reading:
    """Plans what must be read, then counts it. Instants are microseconds since 1970.

    `flow_spans` are the buckets whose flow to take, `spans` those whose cells, and `ranges` the
    times of creation whose tickets to add one by one. Together they hold each ticket once.
    """

    __slots__ = (
        "_flow",
        "_months",
        "_period",
        "_question",
        "_singles",
        "_stale",
        "_tallies",
        "flow_spans",
        "ranges",
        "spans",
    )

    def __init__(
        self,
        question: ReportQuestion,
        ends_us: tuple[int, int],
        stale_hours: Collection[int],
        unmade: Collection[tuple[int, int]] = (),
    ) -> None:
        """Plan for tickets created between `ends_us`, with rollups but of the stale hours.

        `unmade` are buckets that are not there while their parts are, by size and number.
        """
        self._question = question
        self._flow = Flow()
        self._tallies = Tallies()
        start, end = question.bounds_us
        first = ends_us[0] if start is None else max(ends_us[0], start)
        last = ends_us[1] if end is None else min(ends_us[1], end - 1)
        self._period = first, last
        self._stale = frozenset(stale_hours)
        broken = Broken(self._stale)
        for size, number in unmade:
            broken.spoil(size, number)
        self.flow_spans = broken.whole(*ends_us)
        self._singles = broken.hours
        self._months = Months(question.zone, first, max(first, last))
        self.spans, self.ranges = self._plan(broken)

    def _plan(self, broken: Broken) -> tuple[list[BucketSpan], list[tuple[int, int]]]:
        edges = [bound for bound in self._question.bounds_us if bound is not None]
        if self._question.by == "month":
            edges += self._months.starts_us
        for edge_us in edges:
            broken.cut(edge_us)
        spans = broken.whole(*self._period)
        first_hour, last_hour = (at_us // HOUR_US for at_us in self._period)
        singles = {hour for hour in broken.hours if first_hour <= hour <= last_hour}
        return spans, ranges_us(self._stale | singles)

    def take_flow(self, packed: bytes) -> None:
        """Count the flow of a bucket of `flow_spans`."""
        self._flow.take_packed(packed)

    def take(self, size: int, number: int, cells: bytes) -> None:
        """Count the cells of a bucket of `spans`, with or without working times."""
        if self._question.by == "month":
            month = self._months.name(number * size * HOUR_US)
            self._tallies.take_cells_as(month, cells)
        else:
            self._tallies.take_cells(cells)

    def add(self, ticket: TicketRow) -> None:
        """Count a ticket of `ranges`."""
        hour = ticket.created_us // HOUR_US
        if hour in self._stale:
            self._flow.add(ticket)
        first, last = self._period
        if first <= ticket.created_us <= last and hour in self._singles:
            tally = self._tallies.at(self._key(ticket))
            tally.add(ticket)
            tally.add_working(ticket.worked_us(self._question.calendar))

    def _key(self, ticket: TicketRow) -> str | None:
        match self._question.by:
            case "month":
                return self._months.name(ticket.created_us)
            case "priority":
                return ticket.priority
            case "group":
                return ticket.group
            case "category":
                return ticket.category
            case None:
                return None

    def flow(self) -> FlowReport:
        """Return the flow that was counted, for its `cuts`."""
        return FlowReport(self._flow, self._question.zone, *self._question.bounds_us)

    def report(self, flow: FlowReport, known: Mapping[int, Passages]) -> KpiReport:
        """Return the figures; `known` is what happened up to each of the flow's cuts."""
        question = self._question
        return report(self._tallies, flow.months(known), period=question.period, by=question.by)
