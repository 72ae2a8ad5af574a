"""Closed dates, make-up days and interruptions from an iCalendar file. Source: RFC 5545.

The package `icalendar` reads the file, `dateutil` works out what recurs.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import islice
from typing import Any, Final, NamedTuple, NoReturn, cast
from zoneinfo import ZoneInfo

from services.sla.domain.calendars.draft import ClosedDay, Interruption, MakeUpDay
from services.sla.domain.calendars.work_marks import Mark, mark_of
from shared.errors import InvalidInputError

_DATES_MAX: Final = 10_000
_FREQUENCIES: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_READ: Final = ("DTSTART", "DTEND", "DURATION", "RRULE", "RDATE", "EXDATE", "RECURRENCE-ID")
_BROKEN: Final = re.compile(rf"(?i).*: '(?:{'|'.join(_READ)})\b.*")
_BEGIN: Final = re.compile(rb"(?i)BEGIN:VEVENT\s*")
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_MIDNIGHT: Final = time(tzinfo=UTC)
_YEARS: Final = range(1900, 2200)
_BEYOND: Final = "it reaches beyond the years 1900 to 2199; name --years within"

_Component = Any
"""An event as `icalendar` has it."""


class Disruptions(NamedTuple):
    """What an iCalendar file changes in working hours.

    `days` are closed or worked; of two about one date the later counts: what marks work comes
    last. `doubts` are sentences about events of which it is not clear whether they mean work.
    """

    days: tuple[ClosedDay | MakeUpDay, ...]
    interruptions: tuple[Interruption, ...]
    doubts: tuple[str, ...] = ()


class _Event(NamedTuple):
    """One event; `start` is wall time in `zone`, midnight if it lasts all day."""

    component: _Component
    line: int
    uid: str
    summary: str
    start: datetime
    zone: tzinfo
    lasts: timedelta
    is_all_day: bool

    def refuse(self, reason: str) -> NoReturn:
        raise InvalidInputError(f"line {self.line} ({self.summary or 'an event'}): {reason}")


class _Asked(NamedTuple):
    """What a calendar wants to know of the events."""

    zone: ZoneInfo
    years: range | None
    is_worked: Callable[[date], bool]


def disruptions(
    content: bytes, zone: ZoneInfo, years: range | None, is_worked: Callable[[date], bool]
) -> Disruptions:
    """Return the dates that all-day events close, and the times that other events take.

    An event that marks work opens its dates instead. One that may mean either is taken for work
    where it stands alone on a date that the week, by `is_worked`, has off, and a doubt says so.
    Recurrences count as far as `years` reach; without years, they must come to an end. A cancelled
    event counts for nothing. Times are in wall time of `zone`, which is also the zone of an event
    that names none. Raises: InvalidInputError naming the line.
    """
    events = [_event(component, line, zone) for component, line in _components(content)]
    asked = _Asked(zone, years, is_worked)
    days: list[ClosedDay | MakeUpDay] = []
    interruptions: list[Interruption] = []
    doubts: dict[str, None] = {}
    for event in events:
        if str(event.component.get("STATUS", "")).upper() == "CANCELLED":
            continue
        try:
            for start in _starts(event, events, years):
                _require_reachable(event, start)
                mark = _mark(event, start, asked, doubts)
                if mark == "work":
                    days.extend(_make_up_days(event, start, asked))
                elif event.is_all_day:
                    days.extend(_closures(event, start, years))
                elif event.lasts:
                    interruptions.extend(_interruptions(event, start, zone, years))
        except OverflowError:
            event.refuse(_BEYOND)
        if len(days) + len(interruptions) > _DATES_MAX:
            event.refuse(f"these are more than {_DATES_MAX} dates; name --years")
    days.sort(key=lambda one: isinstance(one, MakeUpDay))
    in_order = sorted(interruptions, key=lambda one: (one.start, one.end))
    return Disruptions(tuple(days), tuple(in_order), tuple(doubts))


# --- Reading -----------------------------------------------------------------------------------


def _components(content: bytes) -> Iterator[tuple[_Component, int]]:
    """Yield the file's events, each with its first line."""
    import icalendar

    try:
        calendars = cast("list[Any]", icalendar.Calendar.from_ical(content, multiple=True))
    except ValueError as error:
        raise InvalidInputError(f"{_line_of(content, str(error))}no iCalendar: {error}") from error
    if not calendars or any(calendar.name != "VCALENDAR" for calendar in calendars):
        raise InvalidInputError("no iCalendar: BEGIN:VCALENDAR or END:VCALENDAR is missing")
    found = [event for calendar in calendars for event in calendar.walk("VEVENT")]
    lines = [
        number
        for number, line in enumerate(content.splitlines(), start=1)
        if _BEGIN.fullmatch(line)
    ]
    yield from zip(found, lines, strict=False)


def _line_of(content: bytes, complaint: str) -> str:
    """Return the place of the line that a complaint quotes, in words."""
    for number, line in enumerate(content.decode(errors="replace").splitlines(), start=1):
        if line and f"'{line}'" in complaint:
            return f"line {number}: "
    return ""


def _event(component: _Component, line: int, zone: ZoneInfo) -> _Event:
    summary = str(component.get("SUMMARY", ""))
    event = _Event(component, line, str(component.get("UID", "")), summary, *_NOWHEN)
    for name, reason in component.errors:
        if name in _READ or _BROKEN.fullmatch(reason):
            event.refuse(f"{name or 'no iCalendar'}: {reason}")
    try:
        start, end = component.start, component.end
        is_all_day = not isinstance(start, datetime)
        own = zone if is_all_day else start.tzinfo or zone
        lasts = end - start if is_all_day else _lasts(component, start, own, end, zone)
    except ValueError as error:
        event.refuse(str(error))
    except OverflowError:
        event.refuse(_BEYOND)
    if lasts < timedelta():
        event.refuse("it ends before it starts")
    named = component["DTSTART"].params.get("TZID")
    if not is_all_day and start.tzinfo is None and named is not None:
        event.refuse(f"{named!r} is no time zone that is known here")
    if is_all_day:
        midnight = datetime.combine(start, time())
        return event._replace(
            start=midnight, zone=own, lasts=max(lasts, _DAY), is_all_day=is_all_day
        )
    return event._replace(start=start.replace(tzinfo=None), zone=own, lasts=lasts)


def _lasts(
    component: _Component, start: datetime, own: tzinfo, end: datetime, zone: ZoneInfo
) -> timedelta:
    """Return real time; a day of a duration is one of the calendar, an hour is an hour."""
    duration = component.get("DURATION")
    if duration is not None and duration.dt % _DAY:
        return duration.dt
    until = end.replace(tzinfo=end.tzinfo or zone).astimezone(UTC)
    return until - start.replace(tzinfo=own).astimezone(UTC)


def _require_reachable(event: _Event, start: datetime) -> None:
    end = start + event.lasts
    if start.year not in _YEARS or end.year not in _YEARS:
        event.refuse(_BEYOND)


_NOWHEN: Final = (datetime(1970, 1, 1), UTC, timedelta(), False)  # noqa: DTZ001 - wall time


def _listed(event: _Event, name: str) -> list[Any]:
    """Return the values of a property that may be there several times."""
    found = event.component.get(name)
    if found is None:
        return []
    return cast("list[Any]", found) if isinstance(found, list) else [found]


def _wall(event: _Event, value: object, name: str) -> datetime:
    """Return a date or time of the event as wall time in its zone.

    Of an event that lasts all day, an instant stands for the date it falls on in the zone; but
    midnight in UTC, which is no midnight of the zone, for the date that somebody wrote so.
    """
    if isinstance(value, datetime):
        is_date = event.is_all_day and value.tzinfo is not None and value.timetz() == _MIDNIGHT
        own = value if is_date or value.tzinfo is None else value.astimezone(event.zone)
        at = own.replace(tzinfo=None)
        return datetime.combine(at, time()) if event.is_all_day else at
    if not isinstance(value, date):
        event.refuse(f"{name} with periods is not read; write dates")
    return datetime.combine(value, event.start.time())


# --- What recurs -------------------------------------------------------------------------------


def _starts(event: _Event, events: Sequence[_Event], years: range | None) -> Iterable[datetime]:
    """Return when the event starts, in wall time of its zone, each time it comes."""
    from dateutil.rrule import rrule, rruleset, rrulestr

    rules = _listed(event, "RRULE")
    series = rruleset()
    series.rdate(event.start)
    for rule in rules:
        try:
            series.rrule(cast("rrule", rrulestr(_rule(event, rule), dtstart=event.start)))
        except ValueError as error:
            event.refuse(f"RRULE: {error}")
    for name, add in (("RDATE", series.rdate), ("EXDATE", series.exdate)):
        for several in _listed(event, name):
            for one in several.dts:
                add(_wall(event, one.dt, name))
    for replaced in _replaced(event, events):
        series.exdate(replaced)
    if years is not None:
        first, last = datetime(years[0], 1, 1), datetime(years[-1] + 1, 1, 1)  # noqa: DTZ001
        return series.between(first - event.lasts - _DAY, last + _DAY, inc=True)
    if any("COUNT" not in rule and "UNTIL" not in rule for rule in rules):
        event.refuse("it recurs for ever; say with --years how far to write it out")
    return islice(series, _DATES_MAX + 1)


def _rule(event: _Event, rule: Any) -> str:  # noqa: ANN401 icalendar's vRecur
    """Return a rule in words that know no zones, as the event's start does."""
    if "FREQ" not in rule:
        event.refuse("RRULE: FREQ is missing")
    frequency = str(rule["FREQ"][0])
    if frequency not in _FREQUENCIES:
        event.refuse(f"FREQ={frequency} is not read; it recurs daily at most")
    plain = type(rule)(rule)
    if "UNTIL" in rule:
        until = rule["UNTIL"][0]
        if not isinstance(until, datetime):
            until = datetime.combine(until, time.max.replace(microsecond=0))
        else:
            until = _wall(event, until, "UNTIL")
        plain["UNTIL"] = [until]
    return plain.to_ical().decode()


def _replaced(event: _Event, events: Iterable[_Event]) -> Iterator[datetime]:
    """Yield the recurrences that other events of the file stand for."""
    if "RECURRENCE-ID" in event.component or not event.uid:
        return
    for other in events:
        named = other.component.get("RECURRENCE-ID")
        if other.uid == event.uid and named is not None:
            if named.params.get("RANGE"):
                other.refuse("RECURRENCE-ID with RANGE is not read; write a series of its own")
            yield _wall(event, named.dt, "RECURRENCE-ID")


# --- What it changes ------------------------------------------------------------------------------


def _mark(event: _Event, start: datetime, asked: _Asked, doubts: dict[str, None]) -> Mark:
    """Say whether the event is work; where its words leave that open, the week decides."""
    component = event.component
    categories = component.get("CATEGORIES")
    listed = cast("list[Any]", categories if isinstance(categories, list) else [categories])
    told = " ".join(one.to_ical().decode() for one in listed if one is not None)
    mark = mark_of(event.summary, told, str(component.get("X-APPLE-SPECIAL-DAY", "")))
    if mark != "unclear":
        return mark
    mark = "work" if event.lasts <= _DAY and not asked.is_worked(start.date()) else "off"
    doubts[
        f"line {event.line} ({event.summary}): may mean work or time off; {start:%Y-%m-%d} is"
        f" taken for {'work' if mark == 'work' else 'time off'}. Write 上班 or 放假 in the title"
    ] = None
    return mark


def _make_up_days(event: _Event, start: datetime, asked: _Asked) -> Iterator[MakeUpDay]:
    """Yield the dates on which a marked event begins or goes on."""
    if event.is_all_day:
        first, last = start.date(), (start + event.lasts - _SECOND).date()
    else:
        starts = start.replace(tzinfo=event.zone).astimezone(UTC)
        ends = starts + max(event.lasts - _SECOND, timedelta())
        first, last = (at.astimezone(asked.zone).date() for at in (starts, ends))
    for number in range(min((last - first) // _DAY, _DATES_MAX) + 1):
        day = first + number * _DAY
        if asked.years is None or day.year in asked.years:
            yield MakeUpDay(day, None, event.summary)


def _closures(event: _Event, start: datetime, years: range | None) -> Iterator[ClosedDay]:
    for number in range(min(event.lasts // _DAY, _DATES_MAX + 1)):
        day = start.date() + number * _DAY
        if years is None or day.year in years:
            yield ClosedDay(day, event.summary)


def _interruptions(
    event: _Event, start: datetime, zone: ZoneInfo, years: range | None
) -> Iterator[Interruption]:
    starts = start.replace(tzinfo=event.zone).astimezone(UTC)
    first = starts.astimezone(zone).replace(tzinfo=None)
    last = (starts + event.lasts).astimezone(zone).replace(tzinfo=None)
    if years is None or (first.year <= years[-1] and last.year >= years[0]):
        yield Interruption(first, last, event.summary)
