"""What the linter looks for in a calendar: dates that are none, clashes, doors never open."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

from services.sla.domain.files.scenario import CalendarPart
from services.sla.domain.lint.findings import Finding, error, warning
from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, round_the_clock
from shared.errors import InvalidInputError
from shared.working_hours import read_date, read_holiday, read_windows, read_zone

_YEAR: Final = {f"-{date(2001, 1, 1) + timedelta(days=day):-%m-%d}" for day in range(365)}
"""Every day of a usual year, as holidays have it."""
_Window = tuple[str, str]


def check_calendars(parts: Sequence[CalendarPart]) -> Iterator[Finding]:
    """Yield what is wrong with calendars as such, whoever uses them."""
    first: dict[str, str] = {}
    for place, part in enumerate(parts):
        pointer = f"/calendars/{place}"
        known = first.setdefault(part.id, pointer)
        if known != pointer:
            yield error(
                "calendar_twice",
                f"{pointer}/id",
                f"{part.id!r} is the name of the calendar at {known} too; rename one of them.",
            )
        yield from _zone(part, pointer)
        yield from _all_windows(part, pointer)
        yield from _holidays(part, pointer)
        yield from _special_days(part, pointer)
        yield from _openings(part, pointer)


def readable(parts: Iterable[CalendarPart]) -> Mapping[str, WorkingCalendar]:
    """Return, by name, the calendars that can be worked with, the built-in one among them."""
    found = {ROUND_THE_CLOCK: round_the_clock()}
    for part in parts:
        try:
            found.setdefault(
                part.id,
                WorkingCalendar(
                    zone=part.zone,
                    weekly={str(day): windows for day, windows in part.weekly.items()},
                    holidays=part.holidays,
                    special_days=part.special_days,
                ),
            )
        except InvalidInputError:
            continue  # found by `check_calendars`
    return found


def opened_dates(part: CalendarPart) -> list[date]:
    """Return the special days that have a window, in order."""
    found = (_date(text) for text, windows in part.special_days.items() if windows)
    return sorted(day for day in found if day is not None)


def _zone(part: CalendarPart, pointer: str) -> Iterator[Finding]:
    try:
        read_zone(part.zone)
    except InvalidInputError:
        yield error(
            "zone_unknown",
            f"{pointer}/zone",
            f"{part.zone!r} is no IANA time zone; write one such as 'Europe/Berlin'.",
        )


def _all_windows(part: CalendarPart, pointer: str) -> Iterator[Finding]:
    for day, windows in part.weekly.items():
        yield from _overlaps(windows, f"{pointer}/weekly/{day}")
    for text, windows in part.special_days.items():
        yield from _overlaps(windows, f"{pointer}/special_days/{text}")


def _overlaps(windows: Sequence[_Window], pointer: str) -> Iterator[Finding]:
    minutes = read_windows(windows, pointer)
    order = sorted(range(len(windows)), key=lambda place: minutes[place])
    for before, after in pairwise(order):
        if minutes[after][0] < minutes[before][1]:
            yield error(
                "windows_overlap",
                f"{pointer}/{after}",
                f"{'–'.join(windows[after])} overlaps {'–'.join(windows[before])};"
                " join the two or move one of them.",
            )


def _holidays(part: CalendarPart, pointer: str) -> Iterator[Finding]:
    yearly = {text for text in part.holidays if text.startswith("--")}
    seen: set[str] = set()
    for place, text in enumerate(part.holidays):
        field = f"{pointer}/holidays/{place}"
        try:
            read_holiday(text, field)
        except InvalidInputError:
            yield error(
                "holiday_no_date", field, f"{text!r} is no date; write YYYY-MM-DD or --MM-DD."
            )
        if text in seen:
            yield warning("holiday_twice", field, f"{text} is listed twice; remove one.")
        elif not text.startswith("--") and f"-{text[4:]}" in yearly:
            yield warning(
                "holiday_twice", field, f"-{text[4:]} closes this date every year; remove {text}."
            )
        seen.add(text)


def _special_days(part: CalendarPart, pointer: str) -> Iterator[Finding]:
    holidays = set(part.holidays)
    for text, windows in part.special_days.items():
        field = f"{pointer}/special_days/{text}"
        if _date(text) is None:
            yield error("special_day_no_date", field, f"{text!r} is no date; write YYYY-MM-DD.")
        elif text in holidays or f"-{text[4:]}" in holidays:
            effect = "is open" if windows else "is closed either way"
            yield warning(
                "special_day_is_holiday",
                field,
                f"{text} is a holiday too; the special day wins, so the date {effect}:"
                " remove one of the two.",
            )


def _openings(part: CalendarPart, pointer: str) -> Iterator[Finding]:
    specials = opened_dates(part)
    if not any(part.weekly.values()):
        if not any(part.special_days.values()):
            yield error(
                "calendar_never_opens",
                f"{pointer}/weekly",
                "The calendar never opens; give it a window.",
            )
        elif specials:
            yield warning(
                "calendar_ends",
                f"{pointer}/weekly",
                f"No weekday has a window, so that nothing is open after {specials[-1]}; give one"
                " a window, or add special days in time.",
            )
    elif _is_shut(part.holidays):
        yield error(
            "calendar_never_opens",
            f"{pointer}/holidays",
            "Every day of the year is a holiday, so that the weekly windows never apply; remove"
            " the holidays that are none.",
        )


def _is_shut(holidays: Iterable[str]) -> bool:
    """Tell whether every day of every usual year is a holiday."""
    closed = {text for text in holidays if text.startswith("--")}
    return closed >= _YEAR


def _date(text: str) -> date | None:
    try:
        return read_date(text, text, "")
    except InvalidInputError:
        return None
