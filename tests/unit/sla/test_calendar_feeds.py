"""`desk sla calendar --ics`: what a feed marks as work is worked, and how its series end."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from services.cli import app
from services.sla.domain.calendars.work_marks import mark_of

REPORTED = Path(__file__).parents[4] / "shared/data/reported-faults"
USUAL = [["09:00", "18:00"]]
SUNDAY = "20260308"


def run(content: bytes, *options: str, zone: str = "Asia/Shanghai") -> Any:
    asked = ("sla", "calendar", "--zone", zone, "--ics", "-", *options)
    result = CliRunner().invoke(app, asked, input=content)
    assert result.exit_code == 0, result.output
    found = yaml.safe_load(result.stdout)
    return found.get("holidays", []), found.get("special_days", {}), result.stderr


def feed(*events: str) -> bytes:
    """Return a feed of events, each given as its lines."""
    whole = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test"]
    for number, lines in enumerate(events):
        whole += ["BEGIN:VEVENT", f"UID:{number}", *lines.split("|"), "END:VEVENT"]
    return "\r\n".join([*whole, "END:VCALENDAR", ""]).encode()


@pytest.mark.parametrize(
    "title",
    [
        "上班(补春节假期)",
        "春节 补班 第1天/共1天",
        "春节（班）",
        "補行上班日",
        "调休上班",
        "Working day (moved from Monday)",
        "Make-up workday",
        "Special working Sunday",
        "Рабочий день (перенос)",
        "áthelyezett munkanap",
        "Ngày làm bù",
    ],
)
def test_an_event_that_marks_work_opens_its_date(title: str) -> None:
    content = feed(f"SUMMARY:{title}|DTSTART;VALUE=DATE:{SUNDAY}")
    assert run(content) == ([], {"2026-03-08": USUAL}, "")


@pytest.mark.parametrize(
    "lines",
    [
        f"SUMMARY:补班|DTSTART:{SUNDAY}T090000|DTEND:{SUNDAY}T180000|TRANSP:OPAQUE",
        f"SUMMARY:补班|DTSTART:{SUNDAY}T090000|DTEND:{SUNDAY}T180000|STATUS:TENTATIVE",
        f"SUMMARY:补班|DTSTART:{SUNDAY}T010000Z|DTEND:{SUNDAY}T160000Z",
        f"SUMMARY:补班|DTSTART:{SUNDAY}T090000",
        f"SUMMARY:春节|CATEGORIES:节日,补班|DTSTART;VALUE=DATE:{SUNDAY}",
        f"SUMMARY:春节|X-APPLE-SPECIAL-DAY:ALTERNATE-WORKDAY|DTSTART;VALUE=DATE:{SUNDAY}",
    ],
)
def test_work_is_known_in_every_form_that_feeds_have(lines: str) -> None:
    assert run(feed(lines)) == ([], {"2026-03-08": USUAL}, "")


@pytest.mark.parametrize(
    "title",
    [
        *("非工作日", "停止上班", "Non-working day", "нерабочий день", "kein Arbeitstag"),
        *("国庆节（休）", "International Workers' Day", "放假", "Day off"),
    ],
)
def test_time_off_is_not_taken_for_work(title: str) -> None:
    content = feed(f"SUMMARY:{title}|DTSTART;VALUE=DATE:20260309")
    assert run(content) == (["2026-03-09"], {}, "")


def test_what_a_holiday_tells_of_make_up_days_opens_nothing() -> None:
    lines = "SUMMARY:春节|DESCRIPTION:3月8日上班|DTSTART;VALUE=DATE:20260309"
    assert run(feed(lines)) == (["2026-03-09"], {}, "")


def test_what_may_mean_work_or_time_off_is_said() -> None:
    events = [f"SUMMARY:调休|DTSTART;VALUE=DATE:202603{day}" for day in ("08", "09")]
    holidays, special, said = run(feed(*events))
    assert (holidays, special) == (["2026-03-09"], {"2026-03-08": USUAL})
    assert "line 4 (调休): may mean work or time off; 2026-03-08 is taken for work" in said
    assert "line 9 (调休): may mean work or time off; 2026-03-09 is taken for time off" in said


def test_a_long_exchange_of_days_closes_its_weekend_too() -> None:
    lines = "SUMMARY:春节调休|DTSTART;VALUE=DATE:20260306|DTEND;VALUE=DATE:20260310"
    holidays, special, said = run(feed(lines))
    assert holidays == [f"2026-03-{day:02}" for day in (6, 7, 8, 9)]
    assert (special, "taken for time off" in said) == ({}, True)


def test_a_marked_day_within_a_holiday_is_worked_with_its_own_hours() -> None:
    content = feed(
        "SUMMARY:上班|DTSTART;VALUE=DATE:20260306",  # a Friday
        "SUMMARY:春节|DTSTART;VALUE=DATE:20260304|DTEND;VALUE=DATE:20260309",
    )
    hours = ("--hours", "mon-thu 08:00-17:00", "--hours", "fri 08:00-12:00")
    holidays, special, _ = run(content, *hours)
    assert holidays == [f"2026-03-{day:02}" for day in (4, 5, 7, 8)]
    assert special == {"2026-03-06": [["08:00", "12:00"]]}


def test_a_feed_agrees_with_the_country_about_a_make_up_day() -> None:
    content = feed("SUMMARY:元旦 补班|DTSTART;VALUE=DATE:20260104")
    hours = ("--hours", "mon-thu 08:00-17:00", "--hours", "fri 08:00-12:00")
    _, special, _ = run(content, *hours, "--country", "CN", "--years", "2026")
    assert special["2026-01-04"] == [["08:00", "12:00"]]  # for Friday, 2 January


def test_a_cancelled_make_up_day_opens_nothing() -> None:
    lines = f"SUMMARY:补班|STATUS:CANCELLED|DTSTART;VALUE=DATE:{SUNDAY}"
    assert run(feed(lines)) == ([], {}, "")


@pytest.mark.parametrize(
    ("zone", "until", "last"),
    [
        ("Europe/Berlin", "20260330T220000Z", "2026-03-31"),
        ("Europe/Berlin", "20260330T215959Z", "2026-02-24"),
        ("Asia/Shanghai", "20260330T160000Z", "2026-03-31"),
        ("America/New_York", "20260331T040000Z", "2026-03-31"),
        ("America/New_York", "20260331T035959Z", "2026-02-24"),
        ("America/New_York", "20260331T000000Z", "2026-03-31"),
        ("Europe/Berlin", "20260331", "2026-03-31"),
        ("Europe/Berlin", "20260331T000000", "2026-03-31"),
    ],
)
def test_the_end_of_an_all_day_series_is_a_date_of_the_zone(
    zone: str, until: str, last: str
) -> None:
    rule = f"RRULE:FREQ=MONTHLY;UNTIL={until};BYDAY=TU;BYSETPOS=-1"
    holidays, _, _ = run(feed(f"SUMMARY:Stock|DTSTART;VALUE=DATE:20260127|{rule}"), zone=zone)
    assert holidays[-1] == last


def test_the_marks_of_a_title_may_be_denied_and_given_again() -> None:
    assert mark_of("Non-working day") == "off"
    assert mark_of("Non-working day; make-up work day on Sunday") == "work"


@pytest.mark.realdata
@pytest.mark.skipif(not REPORTED.is_dir(), reason="no reported faults beside the project")
def test_reported_feeds_come_out_right() -> None:
    content = (REPORTED / "b01-makeup-days.ics").read_bytes()
    for country in ((), ("--country", "CN", "--years", "2025")):
        holidays, special, _ = run(content, *country)
        assert special["2025-09-28"] == special["2025-10-11"] == USUAL
        assert {"2025-10-01", "2025-10-08"} <= set(holidays)
    content = (REPORTED / "b02-until-utc.ics").read_bytes()
    holidays, _, _ = run(content, zone="Europe/Berlin")
    assert holidays == ["2025-01-28", "2025-02-25", "2025-03-25", "2025-04-29"]
