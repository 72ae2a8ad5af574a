"""Periods in queries: `from` and `to` with offsets, and the zone that months and days are of."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Query

from shared.errors import InvalidInputError

From = Annotated[datetime | None, Query(alias="from")]
To = Annotated[datetime | None, Query(alias="to")]


def require_period(start: datetime | None, end: datetime | None) -> None:
    """Raise InvalidInputError, naming the parameter, unless `end` is after `start`, or open."""
    for name, instant in (("from", start), ("to", end)):
        if instant is not None and instant.tzinfo is None:
            raise InvalidInputError(f"{name} needs an offset, such as Z", field=name)
    if start is not None and end is not None and end <= start:
        raise InvalidInputError("to must be after from", field="to")


def zone_of(name: str) -> ZoneInfo:
    """Return the IANA zone that the parameter `zone` names. Raises: InvalidInputError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInputError(f"no time zone is called {name!r}", field="zone") from error
