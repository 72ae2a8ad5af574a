"""The desk's key figures, from one row per ticket, in one pass."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from math import fsum
from typing import Final, Literal
from zoneinfo import ZoneInfo

import msgspec

GroupBy = Literal["priority", "month", "group", "category"]
_HOUR_SECONDS: Final = 3600.0
_SATISFIED_SCORE_MIN: Final = 4


class TicketRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the figures need of one ticket, as last known.

    `resolved_at` is the resolution that stands, None while reopened. `ttr_working_seconds` is the
    working time from creation to it. Instants are aware.
    """

    ticket_id: str
    created_at: datetime
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    cancelled_at: datetime | None = None
    priority: str | None = None
    category: str | None = None
    group: str | None = None
    first_reply_at: datetime | None = None
    reopen_count: int = 0
    reassignment_count: int = 0
    sla_verdict: Literal["met", "missed"] | None = None
    csat_score: int | None = None
    ttr_working_seconds: float | None = None


class Period(msgspec.Struct, frozen=True):
    """Tickets created from `start` on and before `end`; None is open."""

    start: datetime | None = msgspec.field(name="from")
    end: datetime | None = msgspec.field(name="to")


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """`n` values and where they lie; percentiles by linear interpolation."""

    n: int
    mean: float | None
    median: float | None
    p90: float | None
    p95: float | None


class FirstContact(msgspec.Struct, frozen=True, kw_only=True):
    """Of `n` closed tickets: never reassigned nor reopened; and never reassigned."""

    n: int
    share: float | None
    share_reopen_ignored: float | None


class SlaFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Tickets with a verdict, and how many of the verdicts were met."""

    judged: int
    made: int
    share: float | None


class Reassignments(msgspec.Struct, frozen=True, kw_only=True):
    """Mean per ticket, and the number of tickets never reassigned."""

    mean: float | None
    none: int


class Csat(msgspec.Struct, frozen=True, kw_only=True):
    """Scores from 1 to 5; satisfied from 4 on."""

    n: int
    mean: float | None
    share_satisfied: float | None


class Kpis(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a set of tickets; `reopened` counts tickets, not reopenings."""

    tickets: int
    ttr_hours: Distribution
    ttr_working_hours: Distribution
    ttc_hours: Distribution
    art_hours: Distribution
    fcr: FirstContact
    sla: SlaFigures
    reopened: int
    reassignments: Reassignments
    csat: Csat


class GroupKpis(Kpis, frozen=True, kw_only=True):
    """The figures of the tickets that share a key; None where tickets have none."""

    key: str | None


class MonthFlow(msgspec.Struct, frozen=True, kw_only=True):
    """What came and went in a month `YYYY-MM`; `backlog` is what was open at its end."""

    month: str
    created: int
    resolved: int
    closed: int
    backlog: int


class KpiReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report, in the shape that `desk report kpi --json` prints."""

    period: Period
    overall: Kpis
    groups: tuple[GroupKpis, ...]
    flow: tuple[MonthFlow, ...]


def report(
    rows: Iterable[TicketRow],
    *,
    period: tuple[datetime | None, datetime | None],
    by: GroupBy | None,
    zone: ZoneInfo,
) -> KpiReport:
    """Return the figures of the tickets created in `period`, whole and by `by`.

    `rows` are all tickets of the desk: the flow counts what happened in the period, whenever its
    tickets were created, and its backlog needs those from before too. `zone` decides which month an
    instant belongs to. Groups are sorted by key, those without one last.
    """
    wanted = Period(*period)
    flow = _Flow(zone, wanted)
    tallies: dict[str | None, _Tally] = {}
    key_of = _key(by, zone)
    for row in rows:
        flow.add(row)
        if _within(row.created_at, wanted):
            key = key_of(row)
            tally = tallies.get(key)
            if tally is None:
                tally = tallies[key] = _Tally()
            tally.add(row)
    overall = _Tally()
    groups: list[GroupKpis] = []
    for key in sorted(tallies, key=lambda key: (key is None, key or "")):
        overall.take(tallies[key])
        if by is not None:
            groups.append(tallies[key].figures_of(key))
    return KpiReport(
        period=wanted, overall=overall.figures(), groups=tuple(groups), flow=flow.months()
    )


def percentile(ordered: list[float], share: float) -> float:
    """Return the value below which `share` of the sorted, non-empty list lies.

    Source: linear interpolation at rank (n − 1) × share (Hyndman and Fan, type 7).
    """
    rank = (len(ordered) - 1) * share
    below = int(rank)
    if below + 1 >= len(ordered):
        return ordered[-1]
    return ordered[below] + (ordered[below + 1] - ordered[below]) * (rank - below)


def _key(by: GroupBy | None, zone: ZoneInfo) -> Callable[[TicketRow], str | None]:
    match by:
        case None:
            return lambda _: None
        case "month":
            return lambda row: _month_name(_month(row.created_at, zone))
        case "priority":
            return lambda row: row.priority
        case "group":
            return lambda row: row.group
        case "category":
            return lambda row: row.category


def _within(at: datetime, period: Period) -> bool:
    if period.start is not None and at < period.start:
        return False
    return period.end is None or at < period.end


def _month(at: datetime, zone: ZoneInfo) -> int:
    """Return the months from year 0 to the local month of `at`."""
    local = at.astimezone(zone)
    return local.year * 12 + local.month - 1


def _month_name(month: int) -> str:
    return f"{month // 12:04}-{month % 12 + 1:02}"


def _hours(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() / _HOUR_SECONDS


def _share(part: float, whole: int) -> float | None:
    return part / whole if whole else None


def _distribution(values: "array[float]") -> Distribution:
    if not values:
        return Distribution(n=0, mean=None, median=None, p90=None, p95=None)
    ordered = sorted(values)
    return Distribution(
        n=len(ordered),
        mean=fsum(ordered) / len(ordered),
        median=percentile(ordered, 0.5),
        p90=percentile(ordered, 0.9),
        p95=percentile(ordered, 0.95),
    )


class _Tally:
    """Adds tickets up; times as packed doubles, so that a million tickets fit."""

    __slots__ = ("art", "counts", "ttc", "ttr", "ttr_working")

    def __init__(self) -> None:
        self.ttr = array("d")
        self.ttr_working = array("d")
        self.ttc = array("d")
        self.art = array("d")
        self.counts: Counter[str] = Counter()

    def add(self, row: TicketRow) -> None:
        counts = self.counts
        counts["tickets"] += 1
        if row.resolved_at is not None:
            self.ttr.append(_hours(row.created_at, row.resolved_at))
            if row.ttr_working_seconds is not None:
                self.ttr_working.append(row.ttr_working_seconds / _HOUR_SECONDS)
        if row.first_reply_at is not None:
            self.art.append(_hours(row.created_at, row.first_reply_at))
        counts["reassignments"] += row.reassignment_count
        counts["never_reassigned"] += row.reassignment_count == 0
        counts["reopened"] += row.reopen_count > 0
        if row.closed_at is not None:
            self.ttc.append(_hours(row.created_at, row.closed_at))
            counts["closed_direct"] += row.reassignment_count == 0
            counts["closed_at_once"] += row.reassignment_count == 0 and row.reopen_count == 0
        if row.sla_verdict is not None:
            counts[row.sla_verdict] += 1
        if row.csat_score is not None:
            counts["rated"] += 1
            counts["score"] += row.csat_score
            counts["satisfied"] += row.csat_score >= _SATISFIED_SCORE_MIN

    def take(self, other: "_Tally") -> None:
        self.ttr.extend(other.ttr)
        self.ttr_working.extend(other.ttr_working)
        self.ttc.extend(other.ttc)
        self.art.extend(other.art)
        self.counts.update(other.counts)

    def figures(self) -> Kpis:
        counts = self.counts
        closed, judged = len(self.ttc), counts["met"] + counts["missed"]
        return Kpis(
            tickets=counts["tickets"],
            ttr_hours=_distribution(self.ttr),
            ttr_working_hours=_distribution(self.ttr_working),
            ttc_hours=_distribution(self.ttc),
            art_hours=_distribution(self.art),
            fcr=FirstContact(
                n=closed,
                share=_share(counts["closed_at_once"], closed),
                share_reopen_ignored=_share(counts["closed_direct"], closed),
            ),
            sla=SlaFigures(judged=judged, made=counts["met"], share=_share(counts["met"], judged)),
            reopened=counts["reopened"],
            reassignments=Reassignments(
                mean=_share(counts["reassignments"], counts["tickets"]),
                none=counts["never_reassigned"],
            ),
            csat=Csat(
                n=counts["rated"],
                mean=_share(counts["score"], counts["rated"]),
                share_satisfied=_share(counts["satisfied"], counts["rated"]),
            ),
        )

    def figures_of(self, key: str | None) -> GroupKpis:
        figures = self.figures()
        return GroupKpis(
            key=key, **{name: getattr(figures, name) for name in Kpis.__struct_fields__}
        )


class _Flow:
    """Counts events by local month, and all tickets' comings and goings for the backlog."""

    __slots__ = ("_came", "_closed", "_created", "_period", "_resolved", "_went", "_zone")

    def __init__(self, zone: ZoneInfo, period: Period) -> None:
        self._zone = zone
        self._period = period
        self._created: Counter[int] = Counter()
        self._resolved: Counter[int] = Counter()
        self._closed: Counter[int] = Counter()
        self._came: Counter[int] = Counter()
        self._went: Counter[int] = Counter()

    def add(self, row: TicketRow) -> None:
        created = _month(row.created_at, self._zone)
        self._came[created] += 1
        if _within(row.created_at, self._period):
            self._created[created] += 1
        if row.resolved_at is not None and _within(row.resolved_at, self._period):
            self._resolved[_month(row.resolved_at, self._zone)] += 1
        gone_at = row.cancelled_at
        if row.closed_at is not None:
            gone_at = row.closed_at if gone_at is None else min(gone_at, row.closed_at)
            if _within(row.closed_at, self._period):
                self._closed[_month(row.closed_at, self._zone)] += 1
        if gone_at is not None:
            self._went[max(created, _month(gone_at, self._zone))] += 1

    def months(self) -> tuple[MonthFlow, ...]:
        seen = self._created.keys() | self._resolved.keys() | self._closed.keys()
        if not seen:
            return ()
        first, last = min(seen), max(seen)
        backlog = sum(count for month, count in self._came.items() if month < first)
        backlog -= sum(count for month, count in self._went.items() if month < first)
        found: list[MonthFlow] = []
        for month in range(first, last + 1):
            backlog += self._came[month] - self._went[month]
            found.append(
                MonthFlow(
                    month=_month_name(month),
                    created=self._created[month],
                    resolved=self._resolved[month],
                    closed=self._closed[month],
                    backlog=backlog,
                )
            )
        return tuple(found)
