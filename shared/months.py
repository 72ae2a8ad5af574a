"""Where the months of a time zone begin."""

from bisect import bisect_left
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from shared.calendar import instant, microseconds

_YEAR_MONTHS: Final = 12


class Months:
    """The months of a zone, from the one that holds `first_us` to the one that holds `last_us`.

    Where a clock is set back over midnight, its month begins at the first of the two.
    """

    __slots__ = ("_first", "starts_us")

    def __init__(self, zone: ZoneInfo, first_us: int, last_us: int) -> None:
        begin, end = (_month_in(zone, at_us) for at_us in (first_us, last_us))
        self._first = begin - 1
        self.starts_us = [_month_start_us(zone, month) for month in range(begin - 1, end + 3)]

    def name(self, at_us: int) -> str:
        """Return the month of an instant as `YYYY-MM`."""
        return self.name_of(bisect_left(self.starts_us, at_us + 1) - 1)

    def name_of(self, place: int) -> str:
        """Return the name of the month that begins at `starts_us[place]`."""
        month = self._first + place
        return f"{month // _YEAR_MONTHS:04}-{month % _YEAR_MONTHS + 1:02}"


def _month_in(zone: ZoneInfo, at_us: int) -> int:
    local = instant(at_us).astimezone(zone)
    return local.year * _YEAR_MONTHS + local.month - 1


def _month_start_us(zone: ZoneInfo, month: int) -> int:
    year, place = divmod(month, _YEAR_MONTHS)
    return microseconds(datetime(year, place + 1, 1, tzinfo=zone).astimezone(UTC))
