"""What holds of every history and every calendar, whatever the numbers are."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sla_oracle.differ import comparable
from sla_oracle.differential import made, product
from sla_oracle.generate import CLOCK_CHANGES, WINDOWS

from shared.calendar import WorkingCalendar

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OFFICE = {"id": "office", "zone": "Europe/Berlin", "weekly": dict.fromkeys(DAYS[:5])}
FIRST = datetime(2025, 3, 24, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CHECKED = settings(max_examples=60, deadline=None)

minutes = st.integers(0, 10 * 1440)
windows = st.sampled_from(WINDOWS)
by_day = [part for part in WINDOWS if all(start < end < "24:00" for start, end in part)]


def calendars(parts: st.SearchStrategy[list[list[str]]]) -> st.SearchStrategy[WorkingCalendar]:
    """Return calendars whose days have some of these windows."""
    return st.builds(
        lambda zone, weekly: WorkingCalendar(
            zone=zone, weekly={day: tuple(map(tuple, part)) for day, part in weekly.items()}
        ),
        zone=st.sampled_from(sorted(CLOCK_CHANGES)),
        weekly=st.dictionaries(st.sampled_from(DAYS), parts, min_size=2),
    )


instants = minutes.map(lambda count: FIRST + count * MINUTE)
distant = st.integers(0, 400 * 1440).map(lambda count: FIRST + count * MINUTE)
amounts = st.integers(0, 200_000) | st.integers(0, 10_000_000)
goals = st.one_of(
    st.integers(1, 200_000).map(lambda amount: {"working_seconds": amount}),
    st.builds(
        lambda days, at: {"working_days": days, "at": at},
        days=st.integers(1, 4),
        at=st.sampled_from(["same_time", "end_of_day"]),
    ),
)


def written(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def due(goal: dict[str, Any], weekly: list[list[str]], holds: list[tuple[int, int]]) -> str:
    """Return the deadline of a clock that is held for these spells of minutes."""
    target = {
        "name": "resolution",
        "kind": "sla",
        "calendar": "office",
        "goal": goal,
        "start": ["created"],
        "stop": ["resolved"],
        "pause": ["held"],
    }
    events = [{"time": written(FIRST), "type": "ticket.created"}]
    for begin, end in holds:
        events.append({"time": written(FIRST + begin * MINUTE), "type": "ticket.held"})
        events.append({"time": written(FIRST + end * MINUTE), "type": "ticket.resumed"})
    version = {"id": "p", "version": 1, "effective_from": "2000-01-01T00:00:00Z"}
    scenario = {
        "id": "held",
        "calendars": [{**OFFICE, "weekly": dict.fromkeys(DAYS[:5], weekly)}],
        "policies": [{**version, "targets": [target]}],
        "events": events,
        "until": written(FIRST + timedelta(days=30)),
    }
    return product(scenario)["clocks"][0]["due_at"]


@CHECKED
@given(goal=goals, weekly=windows, edges=st.lists(minutes, min_size=4, max_size=4, unique=True))
def test_more_pause_never_makes_a_deadline_earlier(
    goal: dict[str, Any], weekly: list[list[str]], edges: list[int]
) -> None:
    first, second, third, fourth = sorted(edges)
    unpaused = due(goal, weekly, [])
    once = due(goal, weekly, [(second, third)])
    longer = due(goal, weekly, [(second, fourth)])
    earlier = due(goal, weekly, [(first, third)])
    twice = due(goal, weekly, [(first, second), (third, fourth)])
    assert unpaused <= once <= min(longer, earlier)
    assert due(goal, weekly, [(first, second)]) <= twice


@CHECKED
@given(calendar=calendars(windows), three=st.tuples(distant, distant, distant))
def test_working_time_adds_up(
    calendar: WorkingCalendar, three: tuple[datetime, datetime, datetime]
) -> None:
    early, middle, late = sorted(three)
    parts = calendar.working_seconds(early, middle) + calendar.working_seconds(middle, late)
    assert calendar.working_seconds(early, late) == parts
    assert calendar.working_seconds(late, early) == 0


@CHECKED
@given(calendar=calendars(windows), start=instants, one=amounts, other=amounts)
def test_adding_twice_is_adding_the_sum(
    calendar: WorkingCalendar, start: datetime, one: int, other: int
) -> None:
    step = calendar.add_working_seconds(start, one)
    assert calendar.working_seconds(start, step) == one
    if other:
        end = calendar.add_working_seconds(start, one + other)
        assert calendar.add_working_seconds(step, other) == end


@CHECKED
@given(calendar=calendars(windows), start=instants, amount=amounts.map(lambda amount: amount + 1))
def test_no_earlier_instant_will_do(
    calendar: WorkingCalendar, start: datetime, amount: int
) -> None:
    end = calendar.add_working_seconds(start, amount)
    assert calendar.working_seconds(start, end - timedelta(seconds=1)) == amount - 1


@CHECKED
@given(calendar=calendars(st.sampled_from(by_day)), start=instants, days=st.integers(-6, 6))
def test_more_working_days_are_later_and_end_on_the_day_they_reach(
    calendar: WorkingCalendar, start: datetime, days: int
) -> None:
    same = calendar.add_working_days(start, days)
    assert calendar.add_working_days(same, 0, "end_of_day") == calendar.add_working_days(
        start, days, "end_of_day"
    )
    further = calendar.add_working_days(start, days + 1)
    assert same <= further


def of_equal_worth(scenario: dict[str, Any], order: list[int]) -> list[dict[str, Any]]:
    """Return the events in another order that keeps the writer's sequence of each instant."""
    events = [{"id": f"at {place}", **event} for place, event in enumerate(scenario["events"])]
    shuffled = sorted(range(len(events)), key=lambda place: order[place])
    queues: dict[datetime, list[dict[str, Any]]] = {}
    for event in events:
        queues.setdefault(instant_of(event), []).append(event)
    return [queues[instant_of(events[place])].pop(0) for place in shuffled]


def instant_of(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])


@CHECKED
@given(seed=st.integers(0, 10_000), data=st.data())
def test_neither_order_nor_repetition_of_events_matters(seed: int, data: st.DataObject) -> None:
    scenario = made(seed, frozenset({"duplicates"}))
    scenario["until"] = scenario["until"] or max(map(instant_of, scenario["events"])).isoformat()
    count = len(scenario["events"])
    places = st.lists(st.integers(0, 99), min_size=count, max_size=count)
    events = of_equal_worth(scenario, data.draw(places))
    for place in data.draw(st.lists(st.integers(0, count - 1), max_size=3)):
        event = events[place]
        learnt = event.get("recorded_at") or event["time"]
        later = datetime.fromisoformat(learnt) + timedelta(hours=place)
        events.append({**event, "recorded_at": written(later)})
    assert comparable(product({**scenario, "events": events})) == comparable(product(scenario))


def offset(zone: ZoneInfo, at: datetime, hours: int = 0) -> timedelta | None:
    return (at + timedelta(hours=hours)).astimezone(zone).utcoffset()


def changes(zone: ZoneInfo) -> list[date]:
    """Return the dates of 2025 on which the zone changes its clocks."""
    found = []
    for number in range(365):
        noon = datetime(2025, 1, 1, 12, tzinfo=UTC) + timedelta(days=number)
        before = offset(zone, noon)
        if before != offset(zone, noon, 24):
            first = next(hours for hours in range(25) if offset(zone, noon, hours) != before)
            found.append((noon + timedelta(hours=first)).astimezone(zone).date())
    return found


def walked(walls: list[datetime], opens: datetime, closes: datetime) -> set[int]:
    """Return the minutes between two wall times, found by looking at the clock minute by minute."""
    first = [place for place, wall in enumerate(walls) if wall == opens]
    last = [place for place, wall in enumerate(walls) if wall == closes]
    begin = first[0] if first else next(i for i, wall in enumerate(walls) if wall > opens)
    end = last[-1] if last else next(i for i, wall in enumerate(walls) if wall > closes)
    return set(range(begin, end))


@cache
def kinds_of_change() -> tuple[tuple[str, date], ...]:
    """Return a zone and a date for each way in which clocks changed in 2025."""
    found: dict[tuple[Any, ...], tuple[str, date]] = {}
    for name in sorted(available_timezones() - {"localtime", "Factory"}):
        zone = ZoneInfo(name)
        for day in changes(zone):
            noon = datetime.combine(day, time(12), UTC)
            offsets = tuple(offset(zone, noon, hours) for hours in range(-30, 31))
            found.setdefault((day, offsets), (name, day))
    return tuple(found.values())


@pytest.mark.parametrize("half", range(2))
def test_every_zone_agrees_with_a_walk_along_its_clock(half: int) -> None:
    assert len(kinds_of_change()) > 40
    for name, day in kinds_of_change()[half::2]:
        compare_with_walk(name, day)


def compare_with_walk(name: str, day: date) -> None:
    zone = ZoneInfo(name)
    begin = datetime.combine(day, time(), UTC) - timedelta(days=2)
    at = [begin + place * MINUTE for place in range(5 * 1440)]
    walls = [instant.astimezone(zone).replace(tzinfo=None, fold=0) for instant in at]
    for part in WINDOWS:
        weekly = {DAYS[day.weekday()]: tuple(map(tuple, part))}
        calendar = WorkingCalendar(zone=name, weekly=weekly)
        open_minutes: set[int] = set()
        for start, end in part:
            opens = datetime.combine(day, time.fromisoformat(start))
            midnight = datetime.combine(day, time()) + timedelta(days=1)
            closes = midnight if end == "24:00" else datetime.combine(day, time.fromisoformat(end))
            closes += timedelta(days=closes <= opens)
            open_minutes |= walked(walls, opens, closes)
        found = calendar.working_seconds(at[0], at[-1])
        assert found == 60 * len(open_minutes), (name, day, part)
        if open_minutes:
            assert calendar.next_opening(at[0]) == at[min(open_minutes)], (name, day, part)


@pytest.mark.parametrize(
    ("start", "days", "gives"),
    [
        ("2024-02-28T10:00:00Z", 1, "2024-02-29T10:00:00Z"),
        ("2024-02-29T10:00:00Z", 1, "2024-03-02T10:00:00Z"),
        ("2024-03-01T10:00:00Z", 1, "2024-03-04T09:00:00Z"),
        ("2024-03-04T10:00:00Z", -2, "2024-02-29T10:00:00Z"),
        ("2023-02-28T10:00:00Z", 1, "2023-03-02T10:00:00Z"),
    ],
)
def test_working_days_cross_leap_days_and_make_up_saturdays(
    start: str, days: int, gives: str
) -> None:
    calendar = WorkingCalendar(
        zone="UTC",
        weekly=dict.fromkeys(DAYS[:5], (("09:00", "17:00"),)),
        holidays=("--03-01",),
        special_days={"2024-03-02": (("09:00", "12:00"),)},
    )
    found = calendar.add_working_days(datetime.fromisoformat(start), days)
    assert found == datetime.fromisoformat(gives)


@pytest.mark.parametrize(("year", "hours"), [(2023, 48), (2024, 48), (2100, 48)])
def test_a_yearly_holiday_on_the_leap_day_closes_leap_years_only(year: int, hours: int) -> None:
    weekly = dict.fromkeys(DAYS, (("00:00", "24:00"),))
    start, end = datetime(year, 2, 28, tzinfo=UTC), datetime(year, 3, 2, tzinfo=UTC)
    holding = WorkingCalendar(zone="UTC", weekly=weekly, holidays=("--02-29",))
    always = WorkingCalendar(zone="UTC", weekly=weekly)
    assert holding.working_seconds(start, end) == hours * 3600
    is_leap = (end - start).days == 3
    assert always.working_seconds(start, end) == (hours + 24 * is_leap) * 3600
