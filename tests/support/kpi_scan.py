"""The KPI report the slow way: lists of every ticket's figures, and the standard library's words.

It shares no arithmetic with the report that it judges.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import fsum
from statistics import median, quantiles
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.reporting.domain.tally import TicketRow
from shared.calendar import WorkingCalendar, instant

HOUR = timedelta(hours=1)


def scanned(
    tickets: Sequence[TicketRow],
    *,
    start: datetime | None,
    end: datetime | None,
    by: str | None,
    zone: ZoneInfo,
    calendar: WorkingCalendar,
) -> dict[str, Any]:
    """Return the report as its JSON reads, `period` and `percentiles` left out."""

    def is_within(at_us: int | None) -> bool:
        if at_us is None:
            return False
        at = instant(at_us)
        return (start is None or at >= start) and (end is None or at < end)

    inside = [ticket for ticket in tickets if is_within(ticket.created_us)]
    keyed = {_key(ticket, by, zone) for ticket in inside} if by is not None else set()
    return {
        "overall": _figures(inside, calendar),
        "groups": [
            {
                "key": key,
                **_figures([t for t in inside if _key(t, by, zone) == key], calendar),
            }
            for key in sorted(keyed, key=lambda key: (key is None, key))
        ],
        "flow": _flow(tickets, is_within, zone),
    }


def _key(ticket: TicketRow, by: str | None, zone: ZoneInfo) -> str | None:
    if by == "month":
        return _month(ticket.created_us, zone)
    return None if by is None else getattr(ticket, by)


def _month(at_us: int, zone: ZoneInfo) -> str:
    return instant(at_us).astimezone(zone).strftime("%Y-%m")


def _figures(tickets: Sequence[TicketRow], calendar: WorkingCalendar) -> dict[str, Any]:
    everyone, tickets = tickets, [t for t in tickets if t.merged_us is None]
    closed = [t for t in tickets if t.closed_us is not None]
    direct = [t for t in closed if not t.reassignment_count]
    judged = [t for t in everyone if t.sla_verdict]
    made = [t for t in judged if t.sla_verdict == "met"]
    scores = [t.csat_score for t in tickets if t.csat_score is not None]
    worked = [
        calendar.working_seconds(instant(t.created_us), instant(t.resolved_us)) / 3600
        for t in tickets
        if t.resolved_us is not None
    ]
    return {
        "tickets": len(everyone),
        "cancelled": sum(t.cancelled_us is not None for t in tickets),
        "merged": len(everyone) - len(tickets),
        "ttr_hours": _spread([_hours(t, t.resolved_us) for t in tickets]),
        "ttr_working_hours": _spread(worked),
        "ttc_hours": _spread([_hours(t, t.closed_us) for t in tickets]),
        "art_hours": _spread([_hours(t, t.first_reply_us) for t in tickets]),
        "fcr": {
            "n": len(closed),
            "share": _share(sum(not t.reopen_count for t in direct), len(closed)),
            "share_reopen_ignored": _share(len(direct), len(closed)),
        },
        "sla": {
            "judged": len(judged),
            "made": len(made),
            "share": _share(len(made), len(judged)),
        },
        "reopened": sum(t.reopen_count > 0 for t in tickets),
        "reassignments": {
            "mean": _share(sum(t.reassignment_count for t in tickets), len(tickets)),
            "none": sum(not t.reassignment_count for t in tickets),
        },
        "csat": {
            "n": len(scores),
            "mean": _share(sum(scores), len(scores)),
            "share_satisfied": _share(sum(score > 3 for score in scores), len(scores)),
        },
    }


def _hours(ticket: TicketRow, until_us: int | None) -> float | None:
    if until_us is None:
        return None
    return (instant(until_us) - instant(ticket.created_us)) / HOUR


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _spread(found: Sequence[float | None]) -> dict[str, Any]:
    values = [value for value in found if value is not None]
    if not values:
        return {"n": 0, "mean": None, "median": None, "p90": None, "p95": None}
    cuts = quantiles(values * 2 if len(values) == 1 else values, n=20, method="inclusive")
    return {
        "n": len(values),
        "mean": fsum(values) / len(values),
        "median": median(values),
        "p90": cuts[17],
        "p95": cuts[18],
    }


def _flow(tickets: Sequence[TicketRow], is_within: Any, zone: ZoneInfo) -> list[dict[str, Any]]:
    came = [t.created_us for t in tickets]
    happened = {
        "created": came,
        "resolved": [t.resolved_us for t in tickets if t.merged_us is None],
        "closed": [t.closed_us for t in tickets],
        "cancelled": [t.cancelled_us for t in tickets],
        "merged": [t.merged_us for t in tickets],
    }
    seen = {
        name: [_month(at_us, zone) for at_us in all_us if at_us is not None and is_within(at_us)]
        for name, all_us in happened.items()
    }
    ends = [(t.closed_us, t.cancelled_us, t.merged_us) for t in tickets]
    left = [
        max(_month(created_us, zone), min(_month(at_us, zone) for at_us in both if at_us))
        for created_us, both in zip(came, ends, strict=True)
        if any(both)
    ]
    months = sorted({month for found in seen.values() for month in found})
    return [
        {
            "month": month,
            **{name: found.count(month) for name, found in seen.items()},
            "backlog": sum(_month(at_us, zone) <= month for at_us in came)
            - sum(gone <= month for gone in left),
        }
        for month in _between(months)
    ]


def _between(months: list[str]) -> list[str]:
    if not months:
        return []
    year, month = map(int, months[0].split("-"))
    found = [months[0]]
    while found[-1] != months[-1]:
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        found.append(f"{year}-{month:02}")
    return found


def close_to(expected: Any) -> Any:
    """Return what compares equal: floats but for rounding."""
    if isinstance(expected, dict):
        return {name: close_to(value) for name, value in expected.items()}
    if isinstance(expected, list):
        return [close_to(value) for value in expected]
    if isinstance(expected, float):
        return pytest.approx(expected, rel=1e-9, abs=1e-9)
    return expected
