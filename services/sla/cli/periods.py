"""Periods as people name them, in the zone they are of."""

from datetime import datetime, time
from zoneinfo import ZoneInfo

from services.sla.domain.services.periods import PERIODS, By, Span, period_at

_MONTHS_A_QUARTER = 3


def period_name(start: str, end: str, zone: ZoneInfo) -> str:
    """Return `2026-10`, `2026-Q4` or `2026` for a whole period between two instants.

    Of any other time, its first day and the day it ends before; with the time of day where it
    starts or ends within a day.
    """
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    span = Span.of(first, last)
    for by in PERIODS:
        if period_at(by, zone, span.start_us) == span:
            return _named(by, first.astimezone(zone))
    return f"{_day(first.astimezone(zone))} to {_day(last.astimezone(zone))}"


def _named(by: By, first: datetime) -> str:
    match by:
        case "month":
            return f"{first:%Y-%m}"
        case "quarter":
            return f"{first:%Y}-Q{(first.month - 1) // _MONTHS_A_QUARTER + 1}"
        case "year":
            return f"{first:%Y}"


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}" if at.time() == time() else f"{at:%Y-%m-%d %H:%M}"
