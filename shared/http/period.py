"""Periods in queries: `from` and `to` as dates or instants, and the zone that days are of."""

from datetime import UTC, date, datetime, time
from typing import Annotated, Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query

from shared.errors import InvalidInputError

_DATE_LENGTH: Final = len("2025-06-02")

From = Annotated[
    str | None,
    Query(alias="from", description="date, which is its midnight in the zone, or instant"),
]
To = Annotated[
    str | None,
    Query(
        alias="to",
        description="date, which is its midnight in the zone, or instant; not included",
    ),
]
Period: TypeAlias = tuple[datetime | None, datetime | None]
"""Start and end in UTC; None is open."""


def period_of(start: str | None, end: str | None, zone: ZoneInfo) -> Period:
    """Return the period that `from` and `to` name; an end that is not given stays open.

    Raises: InvalidInputError naming the parameter; also unless `to` is after `from`.
    """
    first = None if start is None else _instant_of(start, zone, "from")
    last = None if end is None else _instant_of(end, zone, "to")
    if first is not None and last is not None and last <= first:
        raise InvalidInputError("to must be after from", field="to")
    return first, last


def _instant_of(text: str, zone: ZoneInfo, field: str) -> datetime:
    try:
        if len(text) == _DATE_LENGTH:
            at = datetime.combine(date.fromisoformat(text), time(), zone)
        else:
            at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise InvalidInputError(f"{field}: {text!r} needs an offset, such as Z", field=field)
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInputError(
            f"{field}: {text!r} is neither a date such as 2026-01-31"
            " nor an instant such as 2026-01-31T09:00:00Z",
            field=field,
        ) from error


def zone_of(name: str) -> ZoneInfo:
    """Return the IANA zone that the parameter `zone` names. Raises: InvalidInputError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInputError(f"no time zone is called {name!r}", field="zone") from error
