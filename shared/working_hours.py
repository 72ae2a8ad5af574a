"""What a calendar's fields say: zone, windows of wall time, dates."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from typing import Final
from zoneinfo import ZoneInfo

from shared.errors import InvalidInputError

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
_WALL_TIME: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Windows = tuple[tuple[int, int], ...]
"""Minutes since local midnight; an end beyond 24 h lies on the next day."""
_OF_THE_MACHINE: Final = ("localtime", "posixrules", "Factory")
_VARIANTS: Final = ("posix/", "right/")


def read_zone(name: str) -> ZoneInfo:
    """Return an IANA time zone, the same on every machine. Raises: InvalidInputError."""
    zone = None
    if name not in _OF_THE_MACHINE and not name.startswith(_VARIANTS):
        with suppress(KeyError, ValueError, OSError):
            zone = ZoneInfo(name)
    if zone is None:
        raise InvalidInputError(f"{name!r} is no IANA time zone", field="/zone")
    return zone


def read_windows(windows: Sequence[tuple[str, str]], field: str) -> Windows:
    """Return the windows of one date. Raises: InvalidInputError naming what is below `field`."""
    return tuple(
        _read_window(start, end, f"{field}/{place}") for place, (start, end) in enumerate(windows)
    )


def _read_window(start: str, end: str, field: str) -> tuple[int, int]:
    opening = _read_minute(start, f"{field}/0")
    closing = _DAY_MINUTES if end == "24:00" else _read_minute(end, f"{field}/1")
    return opening, closing if closing > opening else closing + _DAY_MINUTES


def _read_minute(text: str, field: str) -> int:
    if _WALL_TIME.fullmatch(text) is None:
        raise InvalidInputError(f"{text!r} is no time of day (HH:MM)", field=field)
    return int(text[:2]) * 60 + int(text[3:])


def read_holiday(text: str, field: str) -> tuple[int, int, int]:
    """Return year, month and day; year 0 stands for every year."""
    if text.startswith("--"):
        day = read_date(f"2000-{text[2:]}", text, field)
        return 0, day.month, day.day
    day = read_date(text, text, field)
    return day.year, day.month, day.day


def read_date(text: str, told: str, field: str) -> date:
    """Return a date `YYYY-MM-DD`, which the caller wrote as `told`. Raises: InvalidInputError."""
    if _DATE.fullmatch(text) is None:
        raise InvalidInputError(f"{told!r} is no date", field=field)
    try:
        return date.fromisoformat(text)
    except ValueError as impossible:
        raise InvalidInputError(f"{told!r} is no date", field=field) from impossible
