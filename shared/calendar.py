"""Working time: how much of it lies between two instants, and where so much of it ends."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, Protocol

from shared.errors import InvalidInputError
from shared.working_hours import WEEKDAYS, Windows, read_date, read_holiday, read_windows, read_zone

ROUND_THE_CLOCK: Final = "24x7"
SEARCH_YEARS_MAX: Final = 20
SECOND_US: Final = 1_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL: Final = _EPOCH.toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)
_MINUTE_US: Final = 60 * SECOND_US
_DAY_US: Final = 86_400 * SECOND_US
EARLIEST_US: Final = (datetime(1900, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
LATEST_US: Final = (datetime(2200, 1, 1, tzinfo=UTC) - _EPOCH) // _MICROSECOND
_DATE_LENGTH: Final = len("2025-06-02")
_BLOCK_DAYS: Final = 64
_BLOCK_US: Final = _BLOCK_DAYS * _DAY_US
_CLOSED_DAYS_MAX: Final = SEARCH_YEARS_MAX * 366
_SEARCH_BLOCKS: Final = _CLOSED_DAYS_MAX // _BLOCK_DAYS + 2

_Intervals = tuple[tuple[int, int], ...]
"""Open intervals in order, none touching another, in microseconds since 1970."""
DayEnd = Literal["same_time", "end_of_day"]
"""Where on the working day reached: at the same wall time, or at its last close."""


class NoWorkingTimeError(InvalidInputError):
    """A calendar does not hold as much working time as was asked for."""


class _Block(NamedTuple):
    """The open intervals of some days of UTC; `opened_us` is what has run before each of them."""

    starts: list[int]
    ends: list[int]
    opened_us: list[int]
    total_us: int

    def worked_us(self, at_us: int) -> int:
        """Return the working time between the block's first instant and `at_us`, which is in it."""
        place = bisect_right(self.starts, at_us) - 1
        if place < 0:
            return 0
        return self.opened_us[place] + min(at_us, self.ends[place]) - self.starts[place]


class _WorkingHours(Protocol):
    @property
    def zone(self) -> str: ...
    @property
    def weekly(self) -> Mapping[Any, Sequence[tuple[str, str]]]: ...
    @property
    def holidays(self) -> Iterable[str]: ...
    @property
    def special_days(self) -> Mapping[str, Sequence[tuple[str, str]]]: ...


class WorkingCalendar:
    """The working hours of one published calendar; immutable.

    Instants are aware, results aware UTC; the methods that end in `_us` do the same in microseconds
    since 1970, for those who ask often. Working time is real time inside the windows. Open
    intervals are worked out once per block of days and kept, so that a question costs a binary
    search.
    """

    __slots__ = ("_blocks", "_days", "_holidays", "_special_days", "_weekly", "_zone")

    def __init__(
        self,
        *,
        zone: str,
        weekly: Mapping[str, Sequence[tuple[str, str]]],
        holidays: Iterable[str] = (),
        special_days: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    ) -> None:
        """Read the fields as published calendars have them.

        Raises: InvalidInputError with the JSON pointer of the field that makes no sense.
        """
        self._zone = read_zone(zone)
        for name in weekly:
            if name not in WEEKDAYS:
                raise InvalidInputError(f"{name} is no weekday", field=f"/weekly/{name}")
        self._weekly = tuple(
            read_windows(weekly.get(name, ()), f"/weekly/{name}") for name in WEEKDAYS
        )
        self._holidays = frozenset(
            read_holiday(text, f"/holidays/{place}") for place, text in enumerate(holidays)
        )
        self._special_days = {
            read_date(text, text, f"/special_days/{text}"): read_windows(
                windows, f"/special_days/{text}"
            )
            for text, windows in (special_days or {}).items()
        }
        if not any(self._weekly) and not any(self._special_days.values()):
            raise InvalidInputError("the calendar never opens", field="/weekly")
        self._blocks: dict[int, _Block] = {}
        self._days: dict[date, _Intervals] = {}

    @classmethod
    def published(cls, event: _WorkingHours) -> "WorkingCalendar":
        """Return the calendar of hours that were published.

        Raises: InvalidInputError with the JSON pointer of the field that makes no sense.
        """
        return cls(
            zone=event.zone,
            weekly={str(day): windows for day, windows in event.weekly.items()},
            holidays=event.holidays,
            special_days=event.special_days,
        )

    def working_seconds(self, start: datetime, end: datetime) -> float:
        """Return the working seconds from `start` to `end`; a reversed interval holds 0."""
        return self.worked_us(_asked_us(start), _asked_us(end)) / SECOND_US

    def worked_us(self, start_us: int, end_us: int) -> int:
        """Return the working time from `start_us` to `end_us`; a reversed interval holds 0."""
        if end_us <= start_us:
            return 0
        first, last = start_us // _BLOCK_US, end_us // _BLOCK_US
        block = self._block(first)
        before_us = block.worked_us(start_us)
        if first == last:
            return block.worked_us(end_us) - before_us
        between_us = sum(self._block(number).total_us for number in range(first + 1, last))
        return block.total_us - before_us + between_us + self._block(last).worked_us(end_us)

    def add_working_seconds(self, start: datetime, seconds: float) -> datetime:
        """Return the earliest instant at which so many working seconds have passed since `start`.

        0 gives `start` itself; an end at closing time stays there.

        Raises: InvalidInputError if `seconds` is negative; NoWorkingTimeError if the calendar does
        not hold so much within 20 years.
        """
        if seconds < 0:
            raise InvalidInputError("working time cannot be taken back", field="/seconds")
        return instant(self.add_us(_asked_us(start), round(seconds * SECOND_US)))

    def add_us(self, start_us: int, wanted_us: int) -> int:
        """Return the earliest instant at which `wanted_us` of working time have passed.

        Raises: NoWorkingTimeError as `add_working_seconds`.
        """
        if wanted_us == 0:
            return start_us
        first = start_us // _BLOCK_US
        goal_us = self._block(first).worked_us(start_us) + wanted_us
        for number in range(first, first + _SEARCH_BLOCKS):
            block = self._block(number)
            if goal_us <= block.total_us:
                place = bisect_left(block.opened_us, goal_us) - 1
                return block.starts[place] + goal_us - block.opened_us[place]
            goal_us -= block.total_us
        raise NoWorkingTimeError(
            f"the calendar does not hold so much working time within {SEARCH_YEARS_MAX} years"
        )

    def next_opening(self, at: datetime) -> datetime:
        """Return the first instant at or after `at` at which working time runs.

        Raises: NoWorkingTimeError if the calendar stays closed for 20 years.
        """
        return instant(self.next_opening_us(_asked_us(at)))

    def next_opening_us(self, at_us: int) -> int:
        """Return the first instant at or after `at_us` at which working time runs.

        Raises: NoWorkingTimeError as `next_opening`.
        """
        first = at_us // _BLOCK_US
        for number in range(first, first + _SEARCH_BLOCKS):
            block = self._block(number)
            place = bisect_right(block.ends, at_us)
            if place < len(block.ends):
                return max(at_us, block.starts[place])
        raise NoWorkingTimeError(f"the calendar stays closed for {SEARCH_YEARS_MAX} years")

    def openings_us(self, start_us: int, end_us: int) -> Iterator[tuple[int, int]]:
        """Yield the open intervals between two instants, cut at both, in order."""
        at_us = start_us
        for number in range(start_us // _BLOCK_US, end_us // _BLOCK_US + 1):
            block = self._block(number)
            for place in range(bisect_right(block.ends, at_us), len(block.ends)):
                opening = max(at_us, block.starts[place])
                closing = min(end_us, block.ends[place])
                if opening >= closing:
                    break
                yield opening, closing

    def add_working_days(self, start: datetime, days: int, at: DayEnd = "same_time") -> datetime:
        """Return the instant so many working days after `start`, before it if `days` is negative.

        A working day is a date with a window. `same_time` keeps the wall time as far as the
        windows of the date reached allow, `end_of_day` takes its last close.

        Raises: NoWorkingTimeError if the calendar does not hold so many dates within 20 years.
        """
        return instant(self.add_days_us(_asked_us(start), days, at))

    def add_days_us(self, start_us: int, days: int, at: DayEnd = "same_time") -> int:
        """Return the instant so many working days after `start_us`.

        Raises: NoWorkingTimeError as `add_working_days`.
        """
        day = self._working_day(start_us)
        if day is None:
            start_us = self.next_opening_us(start_us)
            day = self._working_day(start_us)
        if day is None:
            raise AssertionError("an opening lies in a window of some date")
        reached = self._count_days(day, days)
        intervals = self._day(reached)
        if at == "end_of_day":
            return intervals[-1][1]
        wall = self._wall(start_us)
        time_us = (wall - datetime(day.year, day.month, day.day)) // _MICROSECOND  # noqa: DTZ001 - wall times
        wanted_us = self._edge_us(reached, time_us, fold=0)
        for opening, closing in intervals:
            if wanted_us <= closing:
                return max(wanted_us, opening)
        return intervals[-1][1]

    def holds_us(self, at_us: int) -> bool:
        """Tell whether a window holds the instant; a closing edge counts."""
        return self._working_day(at_us) is not None

    def _count_days(self, day: date, days: int) -> date:
        step = timedelta(days=1 if days > 0 else -1)
        left = abs(days)
        skipped = 0
        while left:
            day += step
            skipped += 1
            if self._day(day):
                left, skipped = left - 1, 0
            elif skipped > _CLOSED_DAYS_MAX:
                raise NoWorkingTimeError(f"the calendar stays closed for {SEARCH_YEARS_MAX} years")
        return day

    def _working_day(self, at_us: int) -> date | None:
        """Return the date whose window holds the instant: its own date before the one before."""
        own = self._wall(at_us).date()
        for day in (own, own - _DAY):
            if any(opening <= at_us <= closing for opening, closing in self._day(day)):
                return day
        return None

    def _wall(self, at_us: int) -> datetime:
        return instant(at_us).astimezone(self._zone).replace(tzinfo=None)

    def _block(self, number: int) -> _Block:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = self._open_block(number)
        return block

    def _open_block(self, number: int) -> _Block:
        """Work out one block: the windows of its dates as instants, joined, cut at its edges."""
        from_us, to_us = number * _BLOCK_US, (number + 1) * _BLOCK_US
        _refuse_beyond(from_us, to_us)
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
        """Yield the windows of every date that can reach into the block."""
        first = _EPOCH.date() + timedelta(days=number * _BLOCK_DAYS)
        for offset in range(-3, _BLOCK_DAYS + 2):
            yield from self._opened(first + timedelta(days=offset))

    def _day(self, day: date) -> _Intervals:
        """Return the open intervals of one date, joined; none if it is no working day."""
        intervals = self._days.get(day)
        if intervals is None:
            intervals = self._days[day] = tuple(_joined(sorted(self._opened(day))))
        return intervals

    def _opened(self, day: date) -> Iterator[tuple[int, int]]:
        for start, end in self._windows(day):
            yield (
                self._edge_us(day, start * _MINUTE_US, fold=0),
                self._edge_us(day, end * _MINUTE_US, fold=1),
            )

    def _windows(self, day: date) -> Windows:
        special = self._special_days.get(day)
        if special is not None:
            return special
        if (day.year, day.month, day.day) in self._holidays:
            return ()
        if (0, day.month, day.day) in self._holidays:
            return ()
        return self._weekly[day.weekday()]

    def _edge_us(self, day: date, time_us: int, *, fold: int) -> int:
        """Return a wall time of `day`, given since its midnight, as an instant.

        Of a wall time that comes twice, `fold` 0 is the first and 1 the last; one that daylight
        saving skips is the first instant after the gap.
        """
        midnight = datetime(day.year, day.month, day.day, tzinfo=self._zone)
        wall = midnight + timedelta(microseconds=time_us)  # zone-aware sums are sums of wall time
        naive_us = (day.toordinal() - _EPOCH_ORDINAL) * _DAY_US + time_us
        first_us = naive_us - _offset_us(wall)
        last_us = naive_us - _offset_us(wall.replace(fold=1))
        if last_us >= first_us:
            return last_us if fold else first_us
        return self._gap_end_us(last_us, first_us)

    def _gap_end_us(self, low_us: int, high_us: int) -> int:
        """Return the instant, later than `low_us` and not later than `high_us`, of the change."""
        offset_us = _offset_us(instant(high_us).astimezone(self._zone))
        low, high = low_us // SECOND_US, high_us // SECOND_US
        while high - low > 1:
            middle = (low + high) // 2
            if _offset_us(instant(middle * SECOND_US).astimezone(self._zone)) == offset_us:
                high = middle
            else:
                low = middle
        return high * SECOND_US


def microseconds(at: datetime) -> int:
    """Return an aware instant as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def instant_us(text: str) -> int:
    """Return an RFC 3339 instant as microseconds since 1970. Raises: ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or len(text) <= _DATE_LENGTH:
        raise ValueError(f"{text!r} has no offset")
    return microseconds(at)


def instant(at_us: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC instant."""
    return _EPOCH + timedelta(0, 0, at_us)


def _asked_us(at: datetime) -> int:
    at_us = microseconds(at)
    _refuse_beyond(at_us, at_us + 1)
    return at_us


def _refuse_beyond(from_us: int, to_us: int) -> None:
    if to_us <= EARLIEST_US or from_us >= LATEST_US:
        raise NoWorkingTimeError("calendars reach from 1900 to 2199")


def _offset_us(wall: datetime) -> int:
    offset = wall.utcoffset()
    return 0 if offset is None else offset // _MICROSECOND


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


def round_the_clock() -> WorkingCalendar:
    """Return the built-in calendar `24x7`: UTC, every day from 00:00 to 24:00."""
    return WorkingCalendar(zone="UTC", weekly=dict.fromkeys(WEEKDAYS, (("00:00", "24:00"),)))
