"""Putting a calendar together: weekly hours, closed dates, make-up days, interruptions."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Final, NamedTuple

import msgspec

from services.sla.domain.files.scenario import CalendarPart
from shared.contracts.sla import Weekday
from shared.errors import InvalidInputError
from shared.working_hours import WEEKDAYS, Windows, read_windows

Window = tuple[str, str]
Weekly = Mapping[Weekday, tuple[Window, ...]]
_DAY_MINUTES: Final = 24 * 60
_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
_YEARS: Final = re.compile(r"([0-9]{4})(?:-([0-9]{4}))?")
_YEAR_FIRST: Final = 1900
_YEAR_LAST: Final = 2199
_HOURS_FORM: Final = "write days and hours, such as 'mon-fri 09:00-12:00 13:00-18:00'"


class ClosedDay(NamedTuple):
    """A date on which nobody works."""

    day: date
    reason: str


class MakeUpDay(NamedTuple):
    """A date on which people work for another one, which was given off in exchange, if known."""

    day: date
    replaces: date | None
    reason: str = ""


class Interruption(NamedTuple):
    """A time without work, in wall time of the calendar's zone."""

    start: datetime
    end: datetime
    reason: str


class CalendarDraft(NamedTuple):
    """What a calendar is made of; of two that disagree about a date, the later one here counts."""

    id: str
    zone: str
    weekly: Weekly
    holidays: Sequence[ClosedDay] = ()
    make_up_days: Sequence[MakeUpDay] = ()
    days: Sequence[ClosedDay | MakeUpDay] = ()
    interruptions: Sequence[Interruption] = ()


class Drawn(NamedTuple):
    """A calendar, and why a date is in it."""

    calendar: CalendarPart
    reasons: Mapping[str, str]


# --- What is written on the command line -----------------------------------------------------


def read_hours(texts: Iterable[str]) -> Weekly:
    """Return weekly windows from lines such as `mon-fri 09:00-12:00 13:00-18:00`.

    What is said of a day in several lines adds up. Raises: InvalidInputError.
    """
    found: dict[str, list[Window]] = {}
    for text in texts:
        days, *hours = text.lower().split() or [""]
        if not hours:
            raise InvalidInputError(f"{text!r} names no hours; {_HOURS_FORM}")
        windows = [_window(one, text) for one in hours]
        for day in _days(days, text):
            found.setdefault(day, []).extend(windows)
    for day, windows in found.items():
        windows.sort()
        spans = sorted(read_windows(windows, ""))
        if any(after[0] < before[1] for before, after in pairwise(spans)):
            raise InvalidInputError(f"two windows of {day} overlap; join them or move one")
    return {day: tuple(found[day]) for day in WEEKDAYS if day in found}


def _days(text: str, line: str) -> Iterator[str]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        for day in (first, last) if dash else (first,):
            if day not in WEEKDAYS:
                known = ", ".join(WEEKDAYS)
                raise InvalidInputError(f"{line!r}: {day!r} is none of {known}; {_HOURS_FORM}")
        place = WEEKDAYS.index(first)
        count = (WEEKDAYS.index(last) - place) % len(WEEKDAYS) if dash else 0
        for number in range(count + 1):
            yield WEEKDAYS[(place + number) % len(WEEKDAYS)]


def _window(text: str, line: str) -> Window:
    start, dash, end = text.partition("-")
    if not dash:
        raise InvalidInputError(f"{line!r}: {text!r} is no window; {_HOURS_FORM}")
    try:
        read_windows([(start, end)], "")
    except InvalidInputError as error:
        raise InvalidInputError(f"{line!r}: {error.detail}") from error
    return start, end


def read_years(text: str) -> range:
    """Return the years of `2025` or `2025-2027`. Raises: InvalidInputError."""
    match = _YEARS.fullmatch(text)
    if match is None:
        raise InvalidInputError(f"{text!r} is no year and no range; write 2025 or 2025-2027")
    first, last = int(match[1]), int(match[2] or match[1])
    if not _YEAR_FIRST <= first <= last <= _YEAR_LAST:
        raise InvalidInputError(
            f"{text!r} is no range between {_YEAR_FIRST} and {_YEAR_LAST}; write the first year"
            " before the last"
        )
    return range(first, last + 1)


# --- The calendar ----------------------------------------------------------------------------


def draw(draft: CalendarDraft) -> Drawn:
    """Return the calendar that the draft describes.

    Raises: InvalidInputError if it cannot be called so.
    """
    if not draft.id:
        raise InvalidInputError("give it a name")
    board = _Board(draft.weekly)
    for day, reason in draft.holidays:
        board.close(day, reason)
    for make_up in draft.make_up_days:
        board.open(make_up)
    for change in draft.days:
        if isinstance(change, MakeUpDay):
            board.open(change)
        else:
            board.close(*change)
    for interruption in draft.interruptions:
        board.interrupt(interruption)
    board.hand_over()
    try:
        calendar = CalendarPart(
            id=draft.id,
            zone=draft.zone,
            weekly=dict(draft.weekly),
            holidays=tuple(sorted(day.isoformat() for day in board.holidays)),
            special_days={
                day.isoformat(): tuple(_clock(window) for window in sorted(windows))
                for day, windows in sorted(board.special.items())
            },
        )
    except ValueError as error:
        raise InvalidInputError(str(error).removeprefix("/id: ")) from error
    reasons = {day.isoformat(): "; ".join(told) for day, told in board.reasons.items()}
    return Drawn(calendar, reasons)


class _Board:
    """The dates that differ from the week, while they are being worked out."""

    def __init__(self, weekly: Weekly) -> None:
        self._weekly: list[Windows] = [read_windows(weekly.get(day, ()), "") for day in WEEKDAYS]
        self.holidays: set[date] = set()
        self.special: dict[date, Windows] = {}
        self.reasons: dict[date, list[str]] = {}

    def close(self, day: date, reason: str) -> None:
        self.special.pop(day, None)
        self.holidays.add(day)
        self._say(day, reason)

    def open(self, make_up: MakeUpDay) -> None:
        """Give a make-up day the windows of the weekday it replaces.

        Where that is not known, those of its own weekday, of what opened it before, or of Monday.
        """
        day, replaces, reason = make_up
        if replaces is not None or day not in self.special:
            usual = [self._weekly[one.weekday()] for one in (replaces or day,)]
            windows = next((found for found in (*usual, *self._weekly) if found), ())
            self._set(day, windows)
        for_day = f" for {replaces}" if replaces else ""
        self._say(day, f"make-up working day{for_day}" + (f", {reason}" if reason else ""))

    def interrupt(self, interruption: Interruption) -> None:
        start, end, reason = interruption
        day = start.date() - _DAY
        while day <= end.date():
            midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - wall time
            from_minute = (start - midnight) // _MINUTE
            to_minute = -((midnight - end) // _MINUTE)
            before = self._windows(day)
            after = tuple(_without(before, from_minute, to_minute))
            if after != before:
                if after:
                    self._set(day, after)
                else:
                    self.special.pop(day, None)
                    self.holidays.add(day)
                self._say(day, reason)
            day += _DAY

    def hand_over(self) -> None:
        """Give the morning after to the next date, where a night shift was cut at midnight."""
        for day in sorted(self.special):
            windows = self.special[day]
            late = tuple(window for window in windows if window[0] >= _DAY_MINUTES)
            if not late:
                continue
            self.special[day] = tuple(window for window in windows if window not in late)
            moved = tuple((start - _DAY_MINUTES, end - _DAY_MINUTES) for start, end in late)
            self._set(day + _DAY, (*moved, *self._windows(day + _DAY)))
            self._say(day + _DAY, f"with the rest of the night of {day}")

    def _windows(self, day: date) -> Windows:
        special = self.special.get(day)
        if special is not None:
            return special
        return () if day in self.holidays else self._weekly[day.weekday()]

    def _set(self, day: date, windows: Windows) -> None:
        self.holidays.discard(day)
        self.special[day] = windows

    def _say(self, day: date, reason: str) -> None:
        told = self.reasons.setdefault(day, [])
        if reason and reason not in told:
            told.append(reason)


def _without(windows: Windows, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield what is left of windows outside the minutes from `start` to `end`."""
    for opening, closing in windows:
        if end <= opening or closing <= start or end <= start:
            yield opening, closing
            continue
        if opening < start:
            yield opening, start
        if end < closing:
            yield end, closing


def _clock(window: tuple[int, int]) -> Window:
    opening, closing = window
    if closing == _DAY_MINUTES:
        return _time(opening), "24:00"
    return _time(opening), _time(closing % _DAY_MINUTES)


def _time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


# --- The file --------------------------------------------------------------------------------


def as_yaml(drawn: Drawn, name: str = "") -> str:
    """Return the calendar as a YAML file; why a date is in it stands beside it as a comment."""
    calendar, reasons = drawn
    lines = [f"# {_plain(name)}"] if _plain(name) else []
    lines += [f"id: {_text(calendar.id)}", f"zone: {_text(calendar.zone)}", "weekly:"]
    lines += [f"  {day}: {_text(windows)}" for day, windows in calendar.weekly.items()]
    if calendar.holidays:
        lines.append("holidays:")
        lines += [f"  - {_text(day)}{_comment(reasons, day)}" for day in calendar.holidays]
    if calendar.special_days:
        lines.append("special_days:")
        lines += [
            f"  {_text(day)}: {_text(windows)}{_comment(reasons, day)}"
            for day, windows in calendar.special_days.items()
        ]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def _comment(reasons: Mapping[str, str], day: str) -> str:
    reason = _plain(reasons.get(day, ""))
    weekday = WEEKDAYS[date.fromisoformat(day).weekday()]
    return f"  # {weekday}{', ' + reason if reason else ''}"


def _plain(text: str) -> str:
    """Return text on one line, fit for a comment."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())
