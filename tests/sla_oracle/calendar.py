"""Working hours the plain way: each edge is looked up on the wall, days are walked one by one.

Instants are whole seconds since 1970 (UTC); `wall` times are naive and local to the zone.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAYS_WALKED_MAX = 4000
ROUND_THE_CLOCK = {
    "id": "24x7",
    "zone": "UTC",
    "weekly": {weekday: [["00:00", "24:00"]] for weekday in WEEKDAYS},
}


def seconds(text: str) -> int:
    """Return the instant that RFC 3339 text names."""
    return int(datetime.fromisoformat(text).timestamp())


def text(instant: int) -> str:
    """Return the instant as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def local(instant: int, zone: str) -> datetime:
    """Return what the wall clock shows."""
    return datetime.fromtimestamp(instant, ZoneInfo(zone)).replace(tzinfo=None, fold=0)


@cache
def occurrences(wall: datetime, zone: str) -> tuple[int, ...]:
    """Return every instant at which the wall clock shows `wall`: usually one, two, or none."""
    as_if_utc = int(wall.replace(tzinfo=UTC).timestamp())
    offsets = set()
    for hours in range(-27, 28):
        near = as_if_utc + hours * 3600
        shown = int(local(near, zone).replace(tzinfo=UTC).timestamp())
        offsets.add(shown - near)
    found = {as_if_utc - offset for offset in offsets}
    return tuple(sorted(instant for instant in found if local(instant, zone) == wall))


@cache
def after_gap(wall: datetime, zone: str) -> int:
    """Return the first instant at which the wall clock has passed the skipped time `wall`."""
    instant = int(wall.replace(tzinfo=UTC, second=0).timestamp()) - 27 * 3600
    while local(instant, zone) < wall:
        instant += 60
    while local(instant - 1, zone) >= wall:
        instant -= 1
    return instant


def opening_edge(wall: datetime, zone: str) -> int:
    """Return the first occurrence, or the first instant after the gap."""
    found = occurrences(wall, zone)
    return found[0] if found else after_gap(wall, zone)


def closing_edge(wall: datetime, zone: str) -> int:
    """Return the last occurrence, or the first instant after the gap."""
    found = occurrences(wall, zone)
    return found[-1] if found else after_gap(wall, zone)


class Calendar:
    """One calendar of the scenario file."""

    def __init__(self, part: dict[str, Any]) -> None:
        self.zone: str = part["zone"]
        self.weekly = part["weekly"]
        self.holidays = set(part.get("holidays", ()))
        self.special_days = part.get("special_days", {})
        self.known: dict[date, list[tuple[int, int]]] = {}

    def listed(self, day: date) -> list[list[str]]:
        """Return the windows of a date as the file writes them."""
        if day.isoformat() in self.special_days:
            return self.special_days[day.isoformat()]
        if day.isoformat() in self.holidays or f"--{day:%m-%d}" in self.holidays:
            return []
        return self.weekly.get(WEEKDAYS[day.weekday()], [])

    def windows(self, day: date) -> list[tuple[int, int]]:
        """Return the windows of a date by opening, each with its closing."""
        if day not in self.known:
            found = []
            for start, end in self.listed(day):
                opens = datetime.combine(day, time.fromisoformat(start))
                if end == "24:00":
                    closes = datetime.combine(day + DAY, time())
                else:
                    closes = datetime.combine(day, time.fromisoformat(end))
                    if closes <= opens:
                        closes += DAY
                edges = opening_edge(opens, self.zone), closing_edge(closes, self.zone)
                if edges[0] < edges[1]:
                    found.append(edges)
            self.known[day] = sorted(found)
        return self.known[day]

    def running(self, since: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of working time from `since` on, none twice."""
        reached = since
        first = local(since, self.zone).date() - 2 * DAY
        for number in range(DAYS_WALKED_MAX):
            for opens, closes in self.windows(first + number * DAY):
                if closes > reached:
                    yield max(opens, reached), closes
                    reached = closes
        raise AssertionError("the calendar never opens again")

    def working_seconds(self, since: int, until: int) -> int:
        """Return the working time between two instants; a reversed interval holds none."""
        total = 0
        if since < until:
            for opens, closes in self.running(since):
                if opens >= until:
                    break
                total += min(closes, until) - opens
        return total

    def add_working_seconds(self, since: int, amount: int) -> int:
        """Return the earliest instant at which `amount` has passed."""
        if amount == 0:
            return since
        for opens, closes in self.running(since):
            if amount <= closes - opens:
                return opens + amount
            amount -= closes - opens
        raise AssertionError

    def next_opening(self, since: int) -> int:
        """Return the first instant from `since` on at which working time runs."""
        return next(self.running(since))[0]

    def working_day(self, instant: int) -> date | None:
        """Return the date whose window holds the instant: its own, else the one before."""
        own = local(instant, self.zone).date()
        for day in (own, own - DAY):
            if any(opens <= instant <= closes for opens, closes in self.windows(day)):
                return day
        return None

    def held_or_next_opening(self, instant: int) -> int:
        """Return the instant itself when a window, or its closing edge, holds it."""
        return self.next_opening(instant) if self.working_day(instant) is None else instant

    def add_working_days(self, since: int, days: int, at: str) -> int:
        """Return the instant so many dates with a window later, or earlier."""
        since = self.held_or_next_opening(since)
        day = self.working_day(since)
        assert day is not None
        wall = local(since, self.zone)
        morning_after = wall.date() - day
        for _ in range(abs(days)):
            day += DAY if days > 0 else -DAY
            while not self.windows(day):
                day += DAY if days > 0 else -DAY
        windows = self.windows(day)
        last_close = max(closes for _, closes in windows)
        if at == "end_of_day":
            return last_close
        wanted = opening_edge(datetime.combine(day + morning_after, wall.time()), self.zone)
        if any(opens <= wanted <= closes for opens, closes in windows):
            return wanted
        return min((opens for opens, _ in windows if opens > wanted), default=last_close)


def answer(question: dict[str, Any], calendar: Calendar) -> dict[str, Any]:
    """Return the question together with its answer."""
    since = seconds(question["from"])
    asked = {k: v for k, v in question.items() if k not in ("gives", "working_seconds")}
    asked["from"] = text(since)
    if "to" in question:
        until = seconds(question["to"])
        found = calendar.working_seconds(since, until)
        return {**asked, "to": text(until), "working_seconds": found}
    if "next_opening" in question:
        gives = calendar.next_opening(since)
    elif "add_working_seconds" in question:
        gives = calendar.add_working_seconds(since, question["add_working_seconds"])
    else:
        at = question.get("at", "same_time")
        gives = calendar.add_working_days(since, question["add_working_days"], at)
    return {**asked, "gives": text(gives)}
