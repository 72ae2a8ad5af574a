"""The desk's key figures, from what was counted of its tickets."""

from datetime import datetime
from typing import Literal

import msgspec

from services.reporting.domain.flow import MonthFlow
from services.reporting.domain.tally import Kpis, Tallies, Tally, in_order
from services.reporting.domain.times import PERCENTILE_TYPE

GroupBy = Literal["priority", "month", "group", "category"]


class GroupKpis(Kpis, frozen=True, kw_only=True):
    """The figures of the tickets that share a key; None where tickets have none."""

    key: str | None


class Period(msgspec.Struct, frozen=True):
    """Tickets created from `start` on and before `end`; None is open."""

    start: datetime | None = msgspec.field(name="from")
    end: datetime | None = msgspec.field(name="to")


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """How median, p90 and p95 were found: `exact`, as every other figure, by type 7.

    Of the nine types of Hyndman and Fan that is linear interpolation at rank (n - 1) × share.
    """

    method: Literal["exact"] = "exact"
    type: int = PERCENTILE_TYPE
    relative_error_max: float = 0


class KpiReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report, in the shape that `desk report kpi --json` prints."""

    period: Period
    percentiles: Percentiles
    overall: Kpis
    groups: tuple[GroupKpis, ...]
    flow: tuple[MonthFlow, ...]


def report(
    tallies: Tallies,
    flow: tuple[MonthFlow, ...],
    *,
    period: Period,
    by: GroupBy | None,
) -> KpiReport:
    """Return the figures of what was tallied, whole and by key.

    Groups are sorted by key, those without one last.
    """
    overall = Tally()
    for tally in tallies.of.values():
        overall.take(tally)
    groups: list[GroupKpis] = []
    for key in in_order(tallies.of) if by is not None else ():
        figures = tallies.of[key].figures()
        named = {name: getattr(figures, name) for name in Kpis.__struct_fields__}
        groups.append(GroupKpis(key=key, **named))
    return KpiReport(
        period=period,
        percentiles=Percentiles(),
        overall=overall.figures(),
        groups=tuple(groups),
        flow=flow,
    )
