"""Months, quarters and years of a time zone, as spans of instants."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

from shared.calendar import SECOND_US, instant, microseconds
from shared.errors import InvalidInputError

By = Literal["month", "quarter", "year"]
PERIODS: Final[tuple[By, ...]] = ("month", "quarter", "year")
_MONTHS: Final[dict[By, int]] = {"month": 1, "quarter": 3, "year": 12}
_YEARS_MAX: Final = 20
_YEAR_FIRST: Final = 1970
_YEAR_LAST: Final = 2190
YEAR_US: Final = 365 * 86_400 * SECOND_US


class Span(NamedTuple):
    """The time from `start_us` up to `end_us`, in microseconds since 1970."""

    start_us: int
    end_us: int

    @classmethod
    def of(cls, start: datetime, end: datetime) -> "Span":
        """Return the span between two instants."""
        return cls(microseconds(start), microseconds(end))


def period_at(by: By, zone: ZoneInfo, at_us: int) -> Span:
    """Return the period that holds an instant; its edges are local midnights."""
    months = _MONTHS[by]
    day = instant(at_us).astimezone(zone)
    first = (day.year * 12 + day.month - 1) // months * months
    span = Span(_month_us(first, zone), _month_us(first + months, zone))
    while span.end_us <= at_us:  # the clock was put back over midnight; the month began already
        first += months
        span = Span(span.end_us, _month_us(first + months, zone))
    return span


def periods_in(by: By, zone: ZoneInfo, whole: Span) -> Iterator[Span]:
    """Yield the periods of a span in order, the first and the last cut at its edges."""
    at_us = whole.start_us
    while at_us < whole.end_us:
        end_us = min(period_at(by, zone, at_us).end_us, whole.end_us)
        yield Span(at_us, end_us)
        at_us = end_us


def span_asked(start: datetime | None, end: datetime | None, now_us: int) -> Span:
    """Return the time that `from` and `to` name; by default the 365 days up to now.

    Raises: InvalidInputError naming the parameter.
    """
    end_us = now_us if end is None else known_us(end, "to")
    start_us = end_us - YEAR_US if start is None else known_us(start, "from")
    return require_period(start_us, end_us)


def known_us(at: datetime, field: str) -> int:
    """Return an aware instant as microseconds since 1970.

    Raises: InvalidInputError naming `field` if it lies where calendars do not reach.
    """
    if not _YEAR_FIRST <= at.year <= _YEAR_LAST:
        raise InvalidInputError(
            f"{field}: {at.isoformat()} is not between {_YEAR_FIRST} and {_YEAR_LAST}", field=field
        )
    return microseconds(at.astimezone(UTC))


def require_period(start_us: int, end_us: int) -> Span:
    """Return the span asked for with `from` and `to`.

    Raises: InvalidInputError if it ends before it starts, or is longer than 20 years.
    """
    if end_us <= start_us:
        raise InvalidInputError("to: the period must end after it starts", field="to")
    start, end = instant(start_us), instant(end_us)
    if (end.year - start.year, end.timetuple()[1:6]) > (_YEARS_MAX, start.timetuple()[1:6]):
        raise InvalidInputError(f"from: the period is longer than {_YEARS_MAX} years", field="from")
    return Span(start_us, end_us)


def _month_us(month: int, zone: ZoneInfo) -> int:
    """Return the first instant of a month, counted from year 0."""
    return microseconds(datetime(month // 12, month % 12 + 1, 1, tzinfo=zone).astimezone(UTC))
