import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, round_the_clock
from shared.contracts.sla import SlaCalendarPublished
from shared.errors import InvalidInputError

SCENARIOS = Path(__file__).parents[4] / "shared" / "data" / "sla-scenarios.json"
WORKDAYS = ("mon", "tue", "wed", "thu", "fri")
NINE_TO_SIX = dict.fromkeys(WORKDAYS, (("09:00", "18:00"),))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def office(zone: str = "Europe/Berlin", **more: Any) -> WorkingCalendar:
    return WorkingCalendar(**{"zone": zone, "weekly": NINE_TO_SIX, **more})


def every_day(zone: str, *windows: tuple[str, str]) -> WorkingCalendar:
    return WorkingCalendar(
        zone=zone, weekly=dict.fromkeys((*WORKDAYS, "sat", "sun"), tuple(windows))
    )


def questions() -> list[Any]:
    if not SCENARIOS.exists():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason=f"no {SCENARIOS}"))]
    return [
        pytest.param(scenario, question, id=f"{scenario['id']}-{place}")
        for scenario in json.loads(SCENARIOS.read_text())
        for place, question in enumerate(scenario.get("arithmetic", ()))
        if "add_working_days" not in question
    ]


@pytest.mark.realdata
@pytest.mark.parametrize(("scenario", "question"), questions())
def test_the_worked_examples_come_out(scenario: Any, question: Any) -> None:
    calendars = {ROUND_THE_CLOCK: round_the_clock()}
    for fields in scenario["calendars"]:
        calendars[fields["id"]] = WorkingCalendar(
            **{name: value for name, value in fields.items() if name != "id"}
        )
    calendar, start = calendars[question["calendar"]], at(question["from"])
    if "working_seconds" in question:
        assert calendar.working_seconds(start, at(question["to"])) == question["working_seconds"]
    elif "add_working_seconds" in question:
        end = calendar.add_working_seconds(start, question["add_working_seconds"])
        assert end == at(question["gives"])
    else:
        assert calendar.next_opening(start) == at(question["gives"])


def test_a_deadline_at_closing_time_stays_there() -> None:
    end = office().add_working_seconds(at("2025-06-02T09:00:00+02:00"), 9 * 3600)
    assert end == at("2025-06-02T18:00:00+02:00")
    assert end.tzinfo is UTC


def test_nothing_added_gives_the_start_itself_though_closed() -> None:
    sunday = at("2025-06-01T12:00:00+02:00")
    assert office().add_working_seconds(sunday, 0) == sunday


def test_overlapping_windows_count_once_also_across_midnight() -> None:
    calendar = every_day("UTC", ("20:00", "10:00"), ("08:00", "12:00"), ("09:00", "11:00"))
    day = at("2025-06-04T00:00:00Z")
    assert calendar.working_seconds(day, day + timedelta(days=1)) == (12 + 4) * 3600


@pytest.mark.parametrize(
    ("special_days", "hours"),
    [({}, 0), ({"2025-06-06": (("10:00", "12:00"),)}, 2), ({"2025-06-06": ()}, 0)],
)
def test_a_special_day_comes_before_a_holiday_before_the_week(
    special_days: Any, hours: int
) -> None:
    calendar = office(holidays=("2025-06-06",), special_days=special_days)
    day = at("2025-06-06T00:00:00+02:00")
    assert calendar.working_seconds(day, day + timedelta(days=1)) == hours * 3600


def test_an_empty_special_day_closes_a_working_day() -> None:
    calendar = office(special_days={"2025-06-05": ()})
    day = at("2025-06-05T00:00:00+02:00")
    assert calendar.working_seconds(day, day + timedelta(days=1)) == 0


def test_a_yearly_holiday_closes_every_year_and_a_dated_one_only_its_own() -> None:
    calendar = every_day("UTC", ("00:00", "24:00"))
    closed = WorkingCalendar(
        zone="UTC",
        weekly=dict.fromkeys((*WORKDAYS, "sat", "sun"), (("00:00", "24:00"),)),
        holidays=("--12-25", "2024-05-01"),
    )
    span = at("2023-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")
    assert calendar.working_seconds(*span) - closed.working_seconds(*span) == 4 * 86_400


@pytest.mark.parametrize(
    ("window", "spring_hours", "autumn_hours"),
    [
        (("01:00", "02:30"), 1, 2.5),
        (("02:30", "04:00"), 1, 2.5),
        (("02:15", "02:45"), 0, 1.5),
        (("01:00", "02:00"), 1, 2),
        (("03:00", "04:00"), 1, 1),
    ],
)
def test_an_edge_in_the_skipped_or_the_repeated_hour(
    window: tuple[str, str], spring_hours: float, autumn_hours: float
) -> None:
    """Skipped, it is 03:00; repeated, a start is the first of the two and an end the last."""
    calendar = every_day("Europe/Berlin", window)
    spring, autumn = at("2025-03-30T00:00:00+01:00"), at("2025-10-26T00:00:00+02:00")
    half_day = timedelta(hours=12)
    assert calendar.working_seconds(spring, spring + half_day) == spring_hours * 3600
    assert calendar.working_seconds(autumn, autumn + half_day) == autumn_hours * 3600


def test_a_whole_skipped_date_holds_nothing() -> None:
    calendar = every_day("Pacific/Apia", ("09:00", "17:00"))
    span = at("2011-12-29T10:00:00Z"), at("2011-12-31T10:00:00Z")
    assert calendar.working_seconds(*span) == (8 + 8 + 8) * 3600 - 8 * 3600


def test_a_reversed_interval_holds_nothing() -> None:
    calendar = round_the_clock()
    assert calendar.working_seconds(at("2025-06-02T10:00:00Z"), at("2025-06-02T09:00:00Z")) == 0


def test_microseconds_are_kept() -> None:
    start = at("2025-06-02T09:00:00.000001+02:00")
    end = office().add_working_seconds(start, 0.5)
    assert end - start == timedelta(milliseconds=500)
    assert office().working_seconds(start, end) == 0.5


def test_a_calendar_of_special_days_alone_runs_out() -> None:
    calendar = WorkingCalendar(
        zone="UTC", weekly={}, special_days={"2025-10-11": (("09:00", "10:00"),)}
    )
    start = at("2025-01-01T00:00:00Z")
    assert calendar.add_working_seconds(start, 3600) == at("2025-10-11T10:00:00Z")
    with pytest.raises(InvalidInputError, match="20 years"):
        calendar.add_working_seconds(start, 3601)
    with pytest.raises(InvalidInputError, match="stays closed"):
        calendar.next_opening(at("2025-10-11T10:00:00Z"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"zone": "Europe/Atlantis"}, "/zone"),
        ({"zone": "../etc/passwd"}, "/zone"),
        ({"zone": "Europe"}, "/zone"),
        ({"zone": ""}, "/zone"),
        ({"weekly": {}}, "/weekly"),
        ({"weekly": {"mon": ()}, "special_days": {"2025-06-06": ()}}, "/weekly"),
        ({"weekly": {"monday": (("09:00", "10:00"),)}}, "/weekly/monday"),
        ({"weekly": {"mon": (("09:00", "25:00"),)}}, "/weekly/mon/0/1"),
        ({"weekly": {"mon": (("09:00", "10:00"), ("24:00", "10:00"))}}, "/weekly/mon/1/0"),
        ({"holidays": ("--12-25", "2025-02-29")}, "/holidays/1"),
        ({"holidays": ("--02-30",)}, "/holidays/0"),
        ({"special_days": {"2025-13-01": ()}}, "/special_days/2025-13-01"),
        ({"special_days": {"20250101": ()}}, "/special_days/20250101"),
        ({"special_days": {"2025-01-01": (("9:00", "10:00"),)}}, "/special_days/2025-01-01/0/0"),
    ],
)
def test_senseless_fields_are_named(fields: Any, field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        office(**fields)
    assert refused.value.field == field


def test_instants_beyond_reason_and_negative_time_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="1900 to 2199"):
        office().next_opening(at("9999-01-01T00:00:00Z"))
    with pytest.raises(InvalidInputError, match="taken back"):
        office().add_working_seconds(at("2025-01-01T00:00:00Z"), -1)
    last = at("2199-12-31T23:00:00Z")
    assert round_the_clock().working_seconds(last, last + timedelta(minutes=59)) == 59 * 60


def test_a_published_calendar_is_read_whole() -> None:
    event = SlaCalendarPublished(
        calendar_id="office",
        version=1,
        name="Office",
        zone="Asia/Shanghai",
        weekly={"mon": (("09:00", "12:00"),)},
        holidays=("--06-02",),
        special_days={"2025-06-03": (("09:00", "10:00"),)},
    )
    calendar = WorkingCalendar.published(event)
    span = at("2025-06-01T00:00:00Z"), at("2025-06-10T00:00:00Z")
    assert calendar.working_seconds(*span) == (1 + 3) * 3600
