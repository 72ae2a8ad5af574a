"""The desk's key figures, from what was counted of its tickets."""

from datetime import datetime
from typing import Literal

import msgspec

from services.reporting.domain.flow import MonthFlow
from services.reporting.domain.tally import Kpis, Tallies, Tally, in_order
from services.reporting.domain.times import RELATIVE_ERROR_MAX

GroupBy = Literal["priority", "month", "group", "category"]


class GroupKpis(Kpis, frozen=True, kw_only=True):
    """The figures of the tickets that share a key; None where tickets have none."""

    key: str | None


class Period(msgspec.Struct, frozen=True):
    """Tickets created from `start` on and before `end`; None is open."""

    start: datetime | None = msgspec.field(name="from")
    end: datetime | None = msgspec.field(name="to")


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """How median, p90 and p95 were found; every other figure is exact.

    `exact`, or from a `histogram`: then each is less than `relative_error_max` of itself away.
    """

    method: Literal["exact", "histogram"]
    relative_error_max: float


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
    is_exact = tallies.is_exact
    overall = Tally(is_exact=is_exact)
    for tally in tallies.of.values():
        overall.take(tally)
    groups: list[GroupKpis] = []
    for key in in_order(tallies.of) if by is not None else ():
        figures = tallies.of[key].figures()
        named = {name: getattr(figures, name) for name in Kpis.__struct_fields__}
        groups.append(GroupKpis(key=key, **named))
    return KpiReport(
        period=period,
        percentiles=Percentiles(
            method="exact" if is_exact else "histogram",
            relative_error_max=0 if is_exact else RELATIVE_ERROR_MAX,
        ),
        overall=overall.figures(),
        groups=tuple(groups),
        flow=flow,
    )
