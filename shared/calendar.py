"""Working time: how much of it lies between two instants, and where so much of it ends."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from shared.contracts.sla import SlaCalendarPublished
from shared.errors import InvalidInputError

ROUND_THE_CLOCK: Final = "24x7"
SEARCH_YEARS_MAX: Final = 20
_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)
_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND_US: Final = 1_000_000
_BLOCK_DAYS: Final = 365
_BLOCK_US: Final = _BLOCK_DAYS * 86_400 * _SECOND_US
_SEARCH_BLOCKS: Final = SEARCH_YEARS_MAX + 1
_DAY_MINUTES: Final = 24 * 60
_WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WALL_TIME: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

_Windows = tuple[tuple[int, int], ...]
"""Minutes since local midnight; an end beyond 24 h lies on the next day."""


class _Block(NamedTuple):
    """The open intervals of 365 days of UTC; `opened_us` is what has run before each of them."""

    starts: list[int]
    ends: list[int]
    opened_us: list[int]
    total_us: int


class WorkingCalendar:
    """The working hours of one published calendar; immutable.

    Instants are aware; results are aware UTC. Working time is real time inside the windows, to the
    microsecond. Open intervals are worked out once per 365 days and kept, so that a question costs
    a binary search.
    """

    __slots__ = ("_bases", "_blocks", "_holidays", "_special_days", "_weekly", "_zone")

    def __init__(
        self,
        *,
        zone: str,
        weekly: Mapping[str, Sequence[tuple[str, str]]],
        holidays: Iterable[str] = (),
        special_days: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        """Read the fields as `sla.calendar_published` has them.

        Raises: InvalidInputError with the JSON pointer of the field that makes no sense.
        """
        self._zone = _read_zone(zone)
        for name in weekly:
            if name not in _WEEKDAYS:
                raise InvalidInputError(f"{name} is no weekday", field=f"/weekly/{name}")
        self._weekly = tuple(
            _read_windows(weekly.get(name, ()), f"/weekly/{name}") for name in _WEEKDAYS
        )
        self._holidays = frozenset(
            _read_holiday(text, f"/holidays/{place}") for place, text in enumerate(holidays)
        )
        self._special_days = {
            _read_date(text, text, f"/special_days/{text}"): _read_windows(
                windows, f"/special_days/{text}"
            )
            for text, windows in (special_days or {}).items()
        }
        if not any(self._weekly) and not any(self._special_days.values()):
            raise InvalidInputError("the calendar never opens", field="/weekly")
        self._blocks: dict[int, _Block] = {}
        self._bases: dict[int, int] = {0: 0}

    @classmethod
    def published(cls, event: SlaCalendarPublished) -> "WorkingCalendar":
        """Return the calendar that the event publishes.

        Raises: InvalidInputError with the JSON pointer of the field that makes no sense.
        """
        return cls(
            zone=event.zone,
            weekly={str(day): windows for day, windows in event.weekly.items()},
            holidays=event.holidays,
            special_days=event.special_days,
        )

    def working_index(self, at: datetime) -> float:
        """Return the working seconds since 2020 began, negative before.

        The difference of two indices is the working time between their instants; an index kept
        beside a row spares asking again.
        """
        return self._index_us(_asked_us(at)) / _SECOND_US

    def working_seconds(self, start: datetime, end: datetime) -> float:
        """Return the working seconds from `start` to `end`; a reversed interval holds 0."""
        start_us, end_us = _asked_us(start), _asked_us(end)
        if end_us <= start_us:
            return 0.0
        return (self._index_us(end_us) - self._index_us(start_us)) / _SECOND_US

    def add_working_seconds(self, start: datetime, seconds: float) -> datetime:
        """Return the earliest instant at which so many working seconds have passed since `start`.

        0 gives `start` itself; an end at closing time stays there.

        Raises: InvalidInputError if `seconds` is negative, or if the calendar does not hold so
        much within 20 years.
        """
        if seconds < 0:
            raise InvalidInputError("working time cannot be taken back", field="/seconds")
        start_us = _asked_us(start)
        wanted_us = round(seconds * _SECOND_US)
        if wanted_us == 0:
            return start.astimezone(UTC)
        goal_us = self._index_us(start_us) + wanted_us
        first = start_us // _BLOCK_US
        for number in range(first, first + _SEARCH_BLOCKS):
            block = self._block(number)
            missing_us = goal_us - self._base_us(number)
            if missing_us <= block.total_us:
                place = bisect_left(block.opened_us, missing_us) - 1
                return _instant(block.starts[place] + missing_us - block.opened_us[place])
        raise InvalidInputError(
            f"{seconds:g} working seconds do not fit into the next {SEARCH_YEARS_MAX} years"
        )

    def next_opening(self, at: datetime) -> datetime:
        """Return the first instant at or after `at` at which working time runs.

        Raises: InvalidInputError if the calendar stays closed for 20 years.
        """
        at_us = _asked_us(at)
        first = at_us // _BLOCK_US
        for number in range(first, first + _SEARCH_BLOCKS):
            block = self._block(number)
            place = bisect_right(block.ends, at_us)
            if place < len(block.ends):
                return _instant(max(at_us, block.starts[place]))
        raise InvalidInputError(f"the calendar stays closed for {SEARCH_YEARS_MAX} years")

    def _index_us(self, at_us: int) -> int:
        number = at_us // _BLOCK_US
        block = self._block(number)
        place = bisect_right(block.starts, at_us) - 1
        if place < 0:
            return self._base_us(number)
        inside_us = min(at_us, block.ends[place]) - block.starts[place]
        return self._base_us(number) + block.opened_us[place] + inside_us

    def _base_us(self, number: int) -> int:
        """Return the working time between the epoch and the block's first instant."""
        base = self._bases.get(number)
        if base is None:
            if number > 0:
                for past in range(number):
                    self._bases[past + 1] = self._bases[past] + self._block(past).total_us
            else:
                for past in range(-1, number - 1, -1):
                    self._bases[past] = self._bases[past + 1] - self._block(past).total_us
            base = self._bases[number]
        return base

    def _block(self, number: int) -> _Block:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._open_block(number)
        return block

    def _open_block(self, number: int) -> _Block:
        """Work out one block: the windows of its dates as instants, joined, cut at its edges."""
        from_us, to_us = number * _BLOCK_US, (number + 1) * _BLOCK_US
        block = _Block([], [], [], 0)
        total_us = 0
        for start, end in _joined(sorted(self._intervals(number))):
            start_us, end_us = max(start, from_us), min(end, to_us)
            if start_us < end_us:
                block.starts.append(start_us)
                block.ends.append(end_us)
                block.opened_us.append(total_us)
                total_us += end_us - start_us
        return block._replace(total_us=total_us)

    def _intervals(self, number: int) -> Iterator[tuple[int, int]]:
        """Yield the windows of every date that can reach into the block, as microseconds."""
        first = _EPOCH.date() + timedelta(days=number * _BLOCK_DAYS)
        for offset in range(-3, _BLOCK_DAYS + 2):
            day = first + timedelta(days=offset)
            for start, end in self._windows(day):
                yield (
                    self._edge_us(day, start, fold=0),
                    self._edge_us(day, end, fold=1),
                )

    def _windows(self, day: date) -> _Windows:
        special = self._special_days.get(day)
        if special is not None:
            return special
        if (day.year, day.month, day.day) in self._holidays:
            return ()
        if (0, day.month, day.day) in self._holidays:
            return ()
        return self._weekly[day.weekday()]

    def _edge_us(self, day: date, minute: int, *, fold: int) -> int:
        """Return a wall time of `day` as an instant.

        Of a wall time that comes twice, `fold` 0 is the first and 1 the last; one that daylight
        saving skips is the first instant after the gap.
        """
        days, minute = divmod(minute, _DAY_MINUTES)
        wall = datetime.combine(
            day + timedelta(days=days), time(*divmod(minute, 60), fold=fold), self._zone
        )
        before = _utc(wall.replace(fold=0))
        after = _utc(wall.replace(fold=1))
        if after >= before:
            return _microseconds(after if fold else before)
        return self._gap_end_us(after, before)

    def _gap_end_us(self, before: datetime, after: datetime) -> int:
        """Return the instant, later than `before` and not later than `after`, of the change."""
        offset = after.astimezone(self._zone).utcoffset()
        low, high = 0, (after - before) // timedelta(seconds=1)
        while high - low > 1:
            middle = (low + high) // 2
            if (before + timedelta(seconds=middle)).astimezone(self._zone).utcoffset() == offset:
                high = middle
            else:
                low = middle
        return _microseconds(before + timedelta(seconds=high))


def _utc(wall: datetime) -> datetime:
    return wall.astimezone(UTC)


def _asked_us(at: datetime) -> int:
    if not _EARLIEST <= at < _LATEST:
        raise InvalidInputError("calendars reach from 1900 to 2199")
    return _microseconds(at)


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _joined(intervals: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join sorted intervals where they touch or overlap, so that nothing counts twice."""
    open_start, open_end = 0, 0
    for start, end in intervals:
        if start > open_end or open_start == open_end:
            if open_start < open_end:
                yield open_start, open_end
            open_start, open_end = start, end
        else:
            open_end = max(open_end, end)
    if open_start < open_end:
        yield open_start, open_end


def _read_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as unknown:
        raise InvalidInputError(f"{name!r} is no IANA time zone", field="/zone") from unknown


def _read_windows(windows: Sequence[tuple[str, str]], field: str) -> _Windows:
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


def _read_holiday(text: str, field: str) -> tuple[int, int, int]:
    """Return year, month and day; year 0 stands for every year."""
    if text.startswith("--"):
        day = _read_date(f"2000-{text[2:]}", text, field)
        return 0, day.month, day.day
    day = _read_date(text, text, field)
    return day.year, day.month, day.day


def _read_date(text: str, told: str, field: str) -> date:
    if _DATE.fullmatch(text) is None:
        raise InvalidInputError(f"{told!r} is no date", field=field)
    try:
        return date.fromisoformat(text)
    except ValueError as impossible:
        raise InvalidInputError(f"{told!r} is no date", field=field) from impossible


def round_the_clock() -> WorkingCalendar:
    """Return the built-in calendar `24x7`: UTC, every day from 00:00 to 24:00."""
    return WorkingCalendar(zone="UTC", weekly=dict.fromkeys(_WEEKDAYS, (("00:00", "24:00"),)))
