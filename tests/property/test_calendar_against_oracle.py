"""The calendar against a slow oracle that walks the local clock minute by minute."""

from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.calendar import WorkingCalendar

MINUTE = timedelta(minutes=1)
MINUTES = 8 * 1440
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# A zone and the UTC date around which to look: clock changes of all kinds, and a zone without.
PLACES = (
    ("Europe/Berlin", date(2025, 3, 30)),
    ("Europe/Berlin", date(2025, 10, 26)),
    ("America/New_York", date(2024, 3, 10)),
    ("America/New_York", date(2024, 11, 3)),
    ("Australia/Lord_Howe", date(2025, 4, 5)),
    ("Australia/Lord_Howe", date(2025, 10, 4)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Havana", date(2025, 11, 2)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Asia/Kathmandu", date(2025, 1, 1)),
)


class Span(NamedTuple):
    start: datetime
    walls: list[datetime]
    first: dict[datetime, int]
    last: dict[datetime, int]


@lru_cache
def span_of(zone: str, around: date) -> Span:
    start = datetime(around.year, around.month, around.day, tzinfo=UTC) - timedelta(days=4)
    clock = ZoneInfo(zone)
    walls = [
        (start + minute * MINUTE).astimezone(clock).replace(tzinfo=None, fold=0)
        for minute in range(MINUTES)
    ]
    first: dict[datetime, int] = {}
    for minute, wall in enumerate(walls):
        first.setdefault(wall, minute)
    return Span(start, walls, first, {wall: minute for minute, wall in enumerate(walls)})


def after_gap(span: Span, wall: datetime) -> int:
    return next((n for n, seen in enumerate(span.walls) if seen > wall), MINUTES)


def open_minutes(span: Span, windows_of: dict[date, tuple[tuple[str, str], ...]]) -> list[bool]:
    """Return, per minute of the span, whether working time runs in it."""
    is_open = [False] * MINUTES
    for day, windows in windows_of.items():
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a wall time
        for start, end in windows:
            opening, closing = minute_of(start), minute_of(end)
            closing += 1440 if closing <= opening else 0
            from_wall, to_wall = midnight + opening * MINUTE, midnight + closing * MINUTE
            low = span.first.get(from_wall)
            high = span.last.get(to_wall)
            low = after_gap(span, from_wall) if low is None else low
            high = after_gap(span, to_wall) if high is None else high
            is_open[low:high] = [True] * max(0, high - low)
    return is_open


def minute_of(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


def wall_time(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


# Every other edge lies in the small hours, where clocks change.
fives = st.one_of(st.integers(0, 42), st.integers(0, 287))
openings = fives.map(lambda n: wall_time(5 * n))
closings = st.one_of(fives, st.just(288)).map(lambda n: wall_time(5 * n))
some_windows = st.lists(st.tuples(openings, closings), max_size=3).map(tuple)


@st.composite
def calendars(draw: st.DrawFn):
    zone, around = draw(st.sampled_from(PLACES))
    weekly = {day: draw(some_windows) for day in DAYS}
    weekly["wed"] = (*weekly["wed"], ("10:00", "10:05"))
    near = [around + timedelta(days=n) for n in range(-2, 3)]
    holidays = draw(st.lists(st.sampled_from(near), max_size=2))
    yearly = draw(st.booleans())
    special = draw(st.dictionaries(st.sampled_from(near), some_windows, max_size=2))
    windows_of = {}
    for offset in range(-7, 8):
        day = around + timedelta(days=offset)
        usual = () if day in holidays else weekly[DAYS[day.weekday()]]
        windows_of[day] = special.get(day, usual)
    calendar = WorkingCalendar(
        zone=zone,
        weekly=weekly,
        holidays=[f"--{day:%m-%d}" if yearly else day.isoformat() for day in holidays],
        special_days={day.isoformat(): windows for day, windows in special.items()},
    )
    span = span_of(zone, around)
    return calendar, span, open_minutes(span, windows_of)


# The first and last two days are left out: dates beyond the span could reach into them.
instants = st.one_of(
    st.integers(2 * 1440, MINUTES - 2 * 1440), st.integers(3 * 1440 + 600, 5 * 1440 + 600)
)


@settings(max_examples=250, deadline=None)
@given(case=calendars(), one=instants, two=instants, wanted=st.integers(0, 3 * 1440))
def test_the_calendar_agrees_with_a_walk_along_the_local_clock(case, one, two, wanted) -> None:
    calendar, span, is_open = case
    start, end = span.start + one * MINUTE, span.start + two * MINUTE
    passed = list(accumulate(is_open, initial=0))

    assert calendar.working_seconds(start, end) == 60 * max(0, passed[two] - passed[one])

    reached = bisect_left(passed, passed[one] + wanted)
    if wanted > 0 and reached <= MINUTES - 2 * 1440:
        due = calendar.add_working_seconds(start, 60 * wanted)
        assert due == span.start + reached * MINUTE

    opening = next((n for n in range(one, MINUTES) if is_open[n]), MINUTES)
    if opening <= MINUTES - 2 * 1440:
        assert calendar.next_opening(start) == span.start + opening * MINUTE


@settings(max_examples=60, deadline=None)
@given(
    case=calendars(),
    start=st.datetimes(datetime(1995, 1, 1), datetime(2045, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - Hypothesis wants naive bounds
    seconds=st.integers(1, 90 * 86_400),
)
def test_adding_working_time_is_the_inverse_of_measuring_it(case, start, seconds) -> None:
    calendar = case[0]
    due = calendar.add_working_seconds(start, seconds)
    assert calendar.working_seconds(start, due) == seconds
    assert calendar.working_seconds(start, due - timedelta(microseconds=1)) < seconds
