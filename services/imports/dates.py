"""Dates as spreadsheets and other systems write them; one order of day and month for a whole file.

3/4/2025 is two dates. Which one is meant is never guessed of a value: another value of the file
proves it, by a day over 12, or whoever imports says it; and one that contradicts the others stops
the file. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import combinations
from typing import Final, Literal, NamedTuple

from shared.errors import InvalidInputError

Order = Literal["day-first", "month-first", "year-first"]
ORDERS: Final[tuple[Order, ...]] = ("day-first", "month-first", "year-first")
_ALIASES: Final[Mapping[str, Order]] = {
    "dmy": "day-first",
    "mdy": "month-first",
    "ymd": "year-first",
}
_NUMBERS: Final = re.compile(r"([0-9]{1,4})([./-])([0-9]{1,2})\2([0-9]{4}|[0-9]{1,2})\.?")
_NAMED: Final = re.compile(r"([0-9]{1,2})[ -]([a-z]{3,9})\.?[ ,-]+([0-9]{4}|[0-9]{2})")
_NAMED_FIRST: Final = re.compile(r"([a-z]{3,9})\.?[ -]([0-9]{1,2}),?[ -]([0-9]{4})")
_SERIAL: Final = re.compile(r"([2-7][0-9]{4})(?:[.,]([0-9]+))?")
_TIME: Final = re.compile(
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(?:[.,][0-9]+)?)?\s*([ap])?(?:\.?m\.?)?"
    r"\s*(z|utc|[+-][0-9]{2}:?[0-9]{2})?"
)
_PARTS: Final = re.compile(r"(.+?)(?:(?:,?\s+|t)([0-9]{1,2}:[0-9].*))?", re.DOTALL)
_CHINESE: Final = str.maketrans({"年": "-", "月": "-", "日": " "})
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_SERIAL_ZERO: Final = datetime(1899, 12, 30, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400
_YEAR_FIRST: Final = 1900
_PIVOT: Final = 30
"""Years of two digits below it are of this century, as spreadsheets have it."""


def read_order(text: str) -> Order:
    """Return the order that `day-first`, `dmy`, `d/m/y`, `dd/MM/yyyy` or their like name.

    Raises: InvalidInputError.
    """
    for order in ORDERS:
        if text.lower() == order:
            return order
    letters = re.sub(r"[^a-z]", "", text.lower().split(" ")[0])
    found = _ALIASES.get(re.sub(r"(.)\1+", r"\1", letters))
    if found is None:
        raise InvalidInputError(f"{text!r} is no order of dates; write {', '.join(ORDERS)}")
    return found


def read_instant(text: str, order: Order) -> datetime:
    """Return the instant that a text names; without an offset it is in UTC.

    Raises: InvalidInputError if there is no such time in that order.
    """
    at = _readings(text).get(order)
    if at is None:
        raise InvalidInputError(f"is no date and time: {text!r}")
    return at


class _Place(NamedTuple):
    line: int
    column: str
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.column} {self.text!r}"


@dataclass(slots=True)
class Evidence:
    """What a file's dates say about the order they are in; `told` is the one it must be, if any.

    They tell of a past: a year of two digits that comes first does not lie behind `now`.
    """

    now: datetime
    told: Order | None = None
    _ruled_out: dict[Order, _Place] = field(default_factory=dict[Order, _Place])
    _differ: dict[tuple[Order, Order], _Place] = field(
        default_factory=dict[tuple[Order, Order], _Place]
    )
    _seen: set[str] = field(default_factory=set[str])

    def note(self, line: int, column: str, text: str) -> None:
        """Take one value into account; what is a date in no order proves nothing.

        Raises: InvalidInputError if it contradicts those before it, or what was told.
        """
        day = text.partition(" ")[0]
        if day in self._seen:
            return
        self._seen.add(day)
        readings = _readings(text)
        year_first = readings.get("year-first", self.now)
        if self.told is None and len(set(readings.values())) > 1 and year_first > self.now:
            del readings["year-first"]
        if not readings:
            return
        place = _Place(line, column, text)
        for order in ORDERS:
            if order not in readings:
                self._ruled_out.setdefault(order, place)
        for pair in combinations(readings, 2):
            if readings[pair[0]] != readings[pair[1]]:
                self._differ.setdefault(pair, place)
        if self.told in self._ruled_out:
            raise InvalidInputError(f"{self._ruled_out[self.told]} is not {self.told}")
        if len(self._ruled_out) == len(ORDERS):
            others = {str(found) for found in self._ruled_out.values()} - {str(place)}
            raise InvalidInputError(
                f"{place} contradicts {' and '.join(sorted(others))}: one file has one order of"
                " day and month"
            )

    def order(self) -> Order:
        """Return the order that all dates are in.

        Raises: InvalidInputError where they may be in several, with an example.
        """
        if self.told is not None:
            return self.told
        possible: list[Order] = [order for order in ORDERS if order not in self._ruled_out]
        for pair in combinations(possible, 2):
            if place := self._differ.get(pair):
                raise InvalidInputError(
                    f"{place} may be {' or '.join(pair)}, and no date of the file proves which;"
                    f" say --dates {pair[0]} or --dates {pair[1]}"
                )
        return possible[0]


def _readings(text: str) -> dict[Order, datetime]:
    """Return what a text means in each order in which it means something."""
    parts = _PARTS.fullmatch(text.strip().lower().translate(_CHINESE).strip())
    if parts is None:
        return {}
    if serial := _SERIAL.fullmatch(parts[0]):
        seconds = round(float(f"0.{serial[2] or 0}") * _DAY_SECONDS)
        at = _SERIAL_ZERO + timedelta(days=int(serial[1]), seconds=seconds)
        return dict.fromkeys(ORDERS, at)
    clock = _clock(parts[2] or "0:00")
    if clock is None:
        return {}
    return dict(_dated(parts[1].strip(), *clock))


def _clock(text: str) -> tuple[timedelta, timezone] | None:
    time = _TIME.fullmatch(text.strip())
    if time is None:
        return None
    hour, minute, second = int(time[1]), int(time[2]), int(time[3] or 0)
    if time[4] is not None:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if time[4] == "p" else 0)
    if hour > 23 or minute > 59 or second > 59:
        return None
    return timedelta(hours=hour, minutes=minute, seconds=second), _offset(time[5])


def _offset(text: str | None) -> timezone:
    if text is None or text in {"z", "utc"}:
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _dated(
    text: str, since_midnight: timedelta, zone: timezone
) -> Iterator[tuple[Order, datetime]]:
    for order, year, month, day in _days(text):
        try:
            midnight = datetime(_whole_year(year), month, day, tzinfo=zone)
        except ValueError:
            continue
        if midnight.year >= _YEAR_FIRST:
            yield order, (midnight + since_midnight).astimezone(UTC)


def _days(text: str) -> Iterator[tuple[Order, str, int, int]]:
    """Yield the year, month and day of a text by each order; they need not exist."""
    if named := _NAMED.fullmatch(text):
        yield from _in_every_order(named[3], named[2], named[1])
    elif named := _NAMED_FIRST.fullmatch(text):
        yield from _in_every_order(named[3], named[1], named[2])
    elif numbers := _NUMBERS.fullmatch(text):
        first, second, last = numbers[1], numbers[3], numbers[4]
        if len(first) == 4:
            for order in ORDERS:
                yield order, first, int(second), int(last)
        elif len(first) < 3:
            yield "day-first", last, int(second), int(first)
            yield "month-first", last, int(first), int(second)
            if len(last) < 4:
                yield "year-first", first, int(second), int(last)


def _in_every_order(year: str, name: str, day: str) -> Iterator[tuple[Order, str, int, int]]:
    months = [number for number, one in enumerate(_MONTHS, start=1) if one.startswith(name)]
    for order in ORDERS if len(months) == 1 else ():
        yield order, year, months[0], int(day)


def _whole_year(text: str) -> int:
    year = int(text)
    return year if len(text) == 4 else year + (2000 if year < _PIVOT else 1900)
