"""`desk sla calendar`: weekly hours, holidays of a country, iCalendar files; used by promises."""

import json
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest
import yaml
from support.scenarios import case, event, policy, target
from typer.testing import CliRunner

from services.cli import app
from services.sla.domain.calendars.draft import read_hours, read_years
from shared.errors import InvalidInputError

USUAL = [["09:00", "18:00"]]
WORKDAYS = ("mon", "tue", "wed", "thu", "fri")


def run(*options: str, zone: str = "Europe/Berlin", typed: str | bytes = "") -> Any:
    return CliRunner().invoke(app, ["sla", "calendar", "--zone", zone, *options], input=typed)


def drawn(*options: str, zone: str = "Europe/Berlin", typed: str | bytes = "") -> dict[str, Any]:
    result = run(*options, zone=zone, typed=typed)
    assert result.exit_code == 0, result.output
    return {"holidays": [], "special_days": {}, **yaml.safe_load(result.stdout)}


# --- Weekly hours ------------------------------------------------------------------------------


def test_without_options_the_office_works_five_days() -> None:
    found = drawn()
    assert (found["id"], found["zone"]) == ("office", "Europe/Berlin")
    assert found["weekly"] == dict.fromkeys(WORKDAYS, USUAL)


@pytest.mark.parametrize(
    ("lines", "weekly"),
    [
        (["mon 09:00-17:00"], {"mon": (("09:00", "17:00"),)}),
        (["Mon-Tue 09:00-17:00"], dict.fromkeys(("mon", "tue"), (("09:00", "17:00"),))),
        (["sun,wed 08:00-09:00"], dict.fromkeys(("wed", "sun"), (("08:00", "09:00"),))),
        (["sat-mon 08:00-09:00"], dict.fromkeys(("mon", "sat", "sun"), (("08:00", "09:00"),))),
        (["fri 13:00-18:00 09:00-12:00"], {"fri": (("09:00", "12:00"), ("13:00", "18:00"))}),
        (["fri 13:00-18:00", "fri 09:00-12:00"], {"fri": (("09:00", "12:00"), ("13:00", "18:00"))}),
        (["fri 22:00-06:00"], {"fri": (("22:00", "06:00"),)}),
        (["fri 00:00-24:00"], {"fri": (("00:00", "24:00"),)}),
        (["fri 09:00-12:00 12:00-18:00"], {"fri": (("09:00", "12:00"), ("12:00", "18:00"))}),
    ],
)
def test_weekly_hours_are_read(lines: list[str], weekly: dict[str, Any]) -> None:
    assert read_hours(lines) == weekly


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["mon"], "names no hours"),
        ([""], "names no hours"),
        (["mo 09:00-17:00"], "'mo' is none of mon, tue"),
        (["mon- 09:00-17:00"], "'' is none of"),
        (["mon-tue-wed 09:00-17:00"], "'tue-wed' is none of"),
        (["monday 09:00-17:00"], "'monday' is none of"),
        (["mon 09:00"], "'09:00' is no window"),
        (["mon 9:00-17:00"], "'9:00' is no time of day"),
        (["mon 09:00-24:01"], "'24:01' is no time of day"),
        (["mon 09:00-12:01 12:00-18:00"], "two windows of mon overlap"),
        (["mon-fri 09:00-12:00", "wed 11:00-13:00"], "two windows of wed overlap"),
        (["mon 22:00-06:00 23:00-24:00"], "two windows of mon overlap"),
    ],
)
def test_hours_that_make_no_sense_are_refused(lines: list[str], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        read_hours(lines)


@pytest.mark.parametrize(("text", "years"), [("2025", [2025]), ("2025-2027", [2025, 2026, 2027])])
def test_years_are_one_or_a_range(text: str, years: list[int]) -> None:
    assert list(read_years(text)) == years


# --- Holidays of a country -----------------------------------------------------------------------


def test_china_works_on_make_up_days() -> None:
    found = drawn("--country", "CN", "--years", "2026", zone="Asia/Shanghai")
    make_up = ["2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10"]
    given_off = ["2026-01-02", "2026-02-20", "2026-02-23", "2026-05-05", "2026-10-06", "2026-10-07"]
    assert found["special_days"] == dict.fromkeys(make_up, USUAL)
    assert set(given_off) < set(found["holidays"])
    assert {"2026-01-01", "2026-02-17", "2026-10-01"} < set(found["holidays"])
    assert not set(found["holidays"]) & set(make_up)


def test_a_make_up_day_has_the_hours_of_the_weekday_it_replaces() -> None:
    hours = ("--hours", "mon-thu 09:00-12:00 13:00-18:00", "--hours", "fri 09:00-15:00")
    found = drawn("--country", "cn", "--years", "2026", *hours, zone="Asia/Shanghai")
    friday, usual = [["09:00", "15:00"]], [["09:00", "12:00"], ["13:00", "18:00"]]
    assert found["special_days"]["2026-01-04"] == friday  # for Friday, 2 January
    assert found["special_days"]["2026-02-14"] == friday  # for Friday, 20 February
    assert found["special_days"]["2026-02-28"] == usual  # for Monday, 23 February


@pytest.mark.parametrize(
    ("country", "year", "day", "for_day"),
    [
        ("CN", "2005", "2005-12-31", "2006-01-03"),
        ("CN", "2006", "2006-12-30", "2007-01-02"),
        ("MM", "2026", "2026-01-03", "2025-12-26"),
        ("HU", "2024", "2024-12-14", "2024-12-27"),
    ],
)
def test_a_make_up_day_may_replace_one_of_another_year(
    country: str, year: str, day: str, for_day: str
) -> None:
    hours = ("--hours", "mon-fri 09:00-17:00", "--country", country, "--years", year)
    (line,) = [line for line in run(*hours).stdout.splitlines() if f'"{day}"' in line]
    assert line.endswith(f"make-up working day for {for_day}")


def test_the_file_says_why_a_date_is_in_it() -> None:
    options = ("--country", "CN", "--years", "2026", "--name", "Shanghai\noffice")
    lines = run(*options, zone="Asia/Shanghai").stdout.splitlines()
    assert lines[0] == "# Shanghai office"
    assert '  - "2026-01-02"  # fri, day off, worked on 2026-01-04' in lines
    (opened,) = [line for line in lines if "2026-01-04" in line and "09:00" in line]
    assert opened.endswith("# sun, make-up working day for 2026-01-02")


def test_make_up_days_not_named_yet_are_said_to_be_missing() -> None:
    result = run("--country", "CN", "--years", "2199", zone="Asia/Shanghai")
    assert result.exit_code == 0
    assert "no make-up working days of CN are known for 2199 yet" in result.stderr


def test_a_german_state_has_holidays_of_its_own() -> None:
    country = drawn("--country", "DE", "--years", "2024")["holidays"]
    bavaria = drawn("--country", "DE", "--subdivision", "BY", "--years", "2024")["holidays"]
    assert country == [
        *("2024-01-01", "2024-03-29", "2024-04-01", "2024-05-01", "2024-05-09", "2024-05-20"),
        *("2024-10-03", "2024-12-25", "2024-12-26"),
    ]
    assert set(bavaria) - set(country) == {"2024-01-06", "2024-05-30", "2024-11-01"}
    assert set(country) < set(bavaria)


def test_american_holidays_on_a_weekend_are_moved() -> None:
    found = drawn("--country", "US", "--years", "2026-2027", zone="America/New_York")["holidays"]
    assert {"2026-07-03", "2026-11-26", "2027-07-05", "2027-11-25"} < set(found)
    assert {day[:4] for day in found} == {"2026", "2027"}
    assert found == sorted(found)


# --- iCalendar -----------------------------------------------------------------------------------


def ics(*lines: str, more: tuple[str, ...] = ()) -> bytes:
    """Return a file with one event of these lines, and others after it."""
    events = ["BEGIN:VEVENT", "UID:1", "SUMMARY:Closed", *lines, "END:VEVENT", *more]
    whole = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test", *events, "END:VCALENDAR"]
    return "\r\n".join([*whole, ""]).encode()


def another(*lines: str) -> tuple[str, ...]:
    """Return the lines of an event with the same name as the first."""
    return ("BEGIN:VEVENT", "UID:1", *lines, "END:VEVENT")


def disturbed(content: bytes, *options: str) -> tuple[list[str], dict[str, Any]]:
    """Return the holidays and special days that come of a file."""
    found = drawn("--ics", "-", *options, typed=content)
    return found["holidays"], found["special_days"]


BERLIN = "TZID=Europe/Berlin"
MONDAYS = ["2026-01-05", "2026-01-12", "2026-01-19", "2026-01-26"]
MORNING = (f"DTSTART;{BERLIN}:20260105T090000", f"DTEND;{BERLIN}:20260105T120000")
NOON = [["12:00", "18:00"]]


@pytest.mark.parametrize(
    ("lines", "holidays"),
    [
        (["DTSTART;VALUE=DATE:20260105"], MONDAYS[:1]),
        (["DTSTART;VALUE=DATE:20260105", "DTEND;VALUE=DATE:20260106"], MONDAYS[:1]),
        (
            ["DTSTART;VALUE=DATE:20280228", "DTEND;VALUE=DATE:20280302"],
            ["2028-02-28", "2028-02-29", "2028-03-01"],
        ),
        (["DTSTART;VALUE=DATE:20260105", "DTEND;VALUE=DATE:20260105"], MONDAYS[:1]),
        (["DTSTART;VALUE=DATE:20260105", "DURATION:P2D"], ["2026-01-05", "2026-01-06"]),
        (["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=4"], MONDAYS),
        (["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;UNTIL=20260119"], MONDAYS[:3]),
        (
            ["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;UNTIL=20260119T000000Z"],
            MONDAYS[:3],
        ),
        (
            [
                "DTSTART;VALUE=DATE:20260105",
                "RRULE:FREQ=WEEKLY;COUNT=4",
                "EXDATE;VALUE=DATE:20260112,20260119",
            ],
            [MONDAYS[0], MONDAYS[3]],
        ),
        (
            ["DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=2", "EXDATE:20260112T090000"],
            MONDAYS[:1],
        ),
        (
            ["DTSTART;VALUE=DATE:20260105", "RDATE;VALUE=DATE:20260112"],
            MONDAYS[:2],
        ),
        (
            ["DTSTART;VALUE=DATE:20240229", "RRULE:FREQ=YEARLY;COUNT=2"],
            ["2024-02-29", "2028-02-29"],
        ),
        (["DTSTART;VALUE=DATE:20260105", "STATUS:CANCELLED"], []),
        (["DTSTART;VALUE=DATE:20260105", "DESCRIPTION:two", "lines"], MONDAYS[:1]),
        ([f"DTSTART;{BERLIN}:20260105T080000", f"DTEND;{BERLIN}:20260105T190000"], MONDAYS[:1]),
    ],
)
def test_all_day_events_close_their_dates(lines: list[str], holidays: list[str]) -> None:
    assert disturbed(ics(*lines)) == (holidays, {})


@pytest.mark.parametrize(
    ("lines", "special"),
    [
        (MORNING, {"2026-01-05": NOON}),
        (["DTSTART:20260105T090000", "DURATION:PT3H"], {"2026-01-05": NOON}),
        (["DTSTART:20260105T080000Z", "DTEND:20260105T110000Z"], {"2026-01-05": NOON}),
        (
            ["DTSTART;TZID=Asia/Shanghai:20260105T160000", "DURATION:PT3H"],
            {"2026-01-05": NOON},
        ),
        (
            ["DTSTART:20260105T120000", "DTEND:20260105T130000"],
            {"2026-01-05": [["09:00", "12:00"], ["13:00", "18:00"]]},
        ),
        (
            ["DTSTART:20260105T173000", "DTEND:20260106T100000"],
            {"2026-01-05": [["09:00", "17:30"]], "2026-01-06": [["10:00", "18:00"]]},
        ),
        (["DTSTART:20260105T180000", "DTEND:20260105T220000"], {}),
        (["DTSTART:20260105T100000"], {}),
        ([*MORNING, "RRULE:FREQ=WEEKLY;COUNT=2"], dict.fromkeys(MONDAYS[:2], NOON)),
        (
            [*MORNING, "RRULE:FREQ=WEEKLY;UNTIL=20260112T080000Z"],
            dict.fromkeys(MONDAYS[:2], NOON),
        ),
        (
            [*MORNING, "RRULE:FREQ=WEEKLY;COUNT=4", f"EXDATE;{BERLIN}:20260112T090000"],
            dict.fromkeys([MONDAYS[0], *MONDAYS[2:]], NOON),
        ),
        (
            [*MORNING, "RRULE:FREQ=WEEKLY;COUNT=2", "EXDATE:20260112T080000Z"],
            {"2026-01-05": NOON},
        ),
        ([*MORNING, "STATUS:CANCELLED"], {}),
        ([MORNING[0], "DTEND:20260105T120000"], {"2026-01-05": NOON}),
    ],
)
def test_timed_events_close_part_of_a_day(lines: list[str], special: dict[str, Any]) -> None:
    assert disturbed(ics(*lines)) == ([], special)


def test_a_moved_recurrence_counts_where_it_went() -> None:
    moved = another(
        f"RECURRENCE-ID;{BERLIN}:20260112T090000",
        f"DTSTART;{BERLIN}:20260113T160000",
        f"DTEND;{BERLIN}:20260113T180000",
    )
    _, special = disturbed(ics(*MORNING, "RRULE:FREQ=WEEKLY;COUNT=3", more=moved))
    assert special == {
        "2026-01-05": NOON,
        "2026-01-13": [["09:00", "16:00"]],
        "2026-01-19": NOON,
    }


def test_a_cancelled_recurrence_counts_nowhere() -> None:
    gone = another(
        "RECURRENCE-ID;VALUE=DATE:20260112", "DTSTART;VALUE=DATE:20260112", "STATUS:CANCELLED"
    )
    series = ics("DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;COUNT=3", more=gone)
    assert disturbed(series) == ([MONDAYS[0], MONDAYS[2]], {})


def test_a_series_keeps_its_own_wall_time_when_clocks_change_elsewhere() -> None:
    series = ics(
        "DTSTART;TZID=America/New_York:20260302T090000",
        "DURATION:PT1H",
        "RRULE:FREQ=WEEKLY;COUNT=5",
    )
    _, special = disturbed(series)
    winter, between = (
        [["09:00", "15:00"], ["16:00", "18:00"]],
        [["09:00", "14:00"], ["15:00", "18:00"]],
    )
    assert special == {
        "2026-03-02": winter,
        "2026-03-09": between,  # America has summer time, Europe not yet
        "2026-03-16": between,
        "2026-03-23": between,
        "2026-03-30": winter,
    }


def test_an_event_that_clocks_change_in_lasts_as_long_as_it_says() -> None:
    night = ics("DTSTART;TZID=Europe/Berlin:20260329T000000", "DURATION:PT6H")
    _, special = disturbed(night, "--hours", "sun 00:00-24:00")
    assert special == {"2026-03-29": [["07:00", "24:00"]]}


def test_a_night_shift_cut_at_midnight_goes_on_the_next_date() -> None:
    pause = ics("DTSTART:20260106T000000", "DTEND:20260106T020000")
    _, special = disturbed(pause, "--hours", "mon-fri 22:00-06:00")
    assert special == {
        "2026-01-05": [["22:00", "24:00"]],
        "2026-01-06": [["02:00", "06:00"], ["22:00", "06:00"]],
    }


def test_a_zone_that_the_file_defines_itself_is_known() -> None:
    zone = (
        *("BEGIN:VTIMEZONE", "TZID:Ours", "BEGIN:STANDARD", "DTSTART:19700101T000000"),
        *("TZOFFSETFROM:+0800", "TZOFFSETTO:+0800", "TZNAME:OURS", "END:STANDARD"),
        "END:VTIMEZONE",
    )
    content = ics("DTSTART;TZID=Ours:20260105T160000", "DURATION:PT3H", more=zone)
    assert disturbed(content) == ([], {"2026-01-05": NOON})


def test_a_date_is_no_instant_in_any_zone() -> None:
    series = ics("DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY;UNTIL=20260112T000000Z")
    found = drawn("--ics", "-", typed=series, zone="America/New_York")
    assert found["holidays"] == MONDAYS[:2]


def test_years_bound_what_recurs_for_ever() -> None:
    series = ics("DTSTART;VALUE=DATE:20200101", "RRULE:FREQ=YEARLY")
    assert disturbed(series, "--years", "2026-2027") == (["2026-01-01", "2027-01-01"], {})


def test_a_file_closes_what_the_country_opens(tmp_path: Path) -> None:
    file, other = tmp_path / "a.ics", tmp_path / "b.ics"
    file.write_bytes(ics("DTSTART;VALUE=DATE:20260104"))
    other.write_bytes(ics("DTSTART;VALUE=DATE:20260214"))
    found = drawn(
        *("--country", "CN", "--years", "2026", "--ics", str(file), "--ics", str(other)),
        zone="Asia/Shanghai",
    )
    assert {"2026-01-04", "2026-02-14"} < set(found["holidays"])
    assert sorted(found["special_days"])[0] == "2026-02-28"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no iCalendar"),
        (b"just words", "line 1: no iCalendar"),
        (ics("DTSTART;VALUE=DATE:20260105", "DTEND 20260107"), "line 4 (Closed): no iCalendar"),
        (ics("DTSTART;VALUE=DATE:20260105", "RRULE;FREQ=DAILY"), "RRULE: FREQ is missing"),
        (ics("DTSTART;VALUE=DATE:20260105")[:-20], "no iCalendar"),
        (ics("DTSTART;VALUE=DATE:2026"), "line 4 (Closed): DTSTART"),
        (ics("DESCRIPTION:nothing else"), "line 4 (Closed): "),
        (
            ics("DTSTART:20260105T100000", "DTEND:20260105T090000"),
            "line 4 (Closed): it ends before it starts",
        ),
        (
            ics("DTSTART;VALUE=DATE:20260105", "DTEND;VALUE=DATE:20260104"),
            "line 4 (Closed): it ends before it starts",
        ),
        (
            ics("DTSTART;TZID=Atlantis:20260105T100000", "DURATION:PT1H"),
            "'Atlantis' is no time zone",
        ),
        (
            ics("DTSTART;VALUE=DATE:20260105", more=another("DTSTART:x")),
            "line 9 (an event): DTSTART",
        ),
        (
            ics("DTSTART;VALUE=DATE:20260105", "RRULE:FREQ=WEEKLY"),
            "line 4 (Closed): it recurs for ever; say with --years",
        ),
        (ics(*MORNING, "RRULE:FREQ=HOURLY;COUNT=2"), "FREQ=HOURLY is not read"),
        (ics(*MORNING, "RRULE:FREQ=WEEKLY;COUNT=many"), "line 4 (Closed): RRULE"),
        (
            ics(*MORNING, "RDATE;VALUE=PERIOD:20260112T080000Z/PT1H"),
            "RDATE with periods is not read",
        ),
        (
            ics(
                *MORNING,
                "RRULE:FREQ=WEEKLY;COUNT=2",
                more=another("RECURRENCE-ID;RANGE=THISANDFUTURE:20260112T080000Z", *MORNING),
            ),
            "RECURRENCE-ID with RANGE is not read",
        ),
        (ics("DTSTART;VALUE=DATE:19000101", "RRULE:FREQ=DAILY;COUNT=20000"), "name --years"),
        (ics("DTSTART;VALUE=DATE:19000101", "DTEND;VALUE=DATE:21000101"), "name --years"),
        (ics("DTSTART:99991231T235959Z", "DURATION:PT5H"), "beyond the years 1900 to 2199"),
        (ics(*MORNING, "RDATE:99991231T090000"), "beyond the years 1900 to 2199"),
        (ics("DTSTART:20260105T090000", "DURATION:P99999999D"), "beyond the years 1900 to 2199"),
    ],
)
def test_a_broken_file_names_the_line(content: bytes, said: str) -> None:
    result = run("--ics", "-", typed=content)
    assert result.exit_code == 2, result.output
    assert "--ics -: " in result.stderr
    assert said in result.stderr
    assert result.stdout == ""


# --- Options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--country", "XX", "--years", "2026"), "--country: no holidays are known for 'XX'"),
        (("--country", "DE"), "--years: say which years"),
        (("--country", "DE", "--years", "26"), "--years: '26' is no year"),
        (("--country", "DE", "--years", "2027-2026"), "--years: '2027-2026' is no range"),
        (("--country", "DE", "--years", "2200"), "--years: '2200' is no range"),
        (
            ("--country", "DE", "--subdivision", "XX", "--years", "2026"),
            "--subdivision: DE has no 'XX'",
        ),
        (("--subdivision", "BY"), "--subdivision: name its --country too"),
        (("--years", "2026"), "--years: belongs to --country or --ics"),
        (("--hours", "mon 9-5"), "--hours: 'mon 9-5'"),
        (("--id", "24x7"), "--id: 24x7 is built in"),
        (("--id", ""), "--id: give it a name"),
        (("--zone", "Europe/Atlantis"), "--zone: 'Europe/Atlantis' is no IANA time zone"),
        (("--zone", ""), "--zone: '' is no IANA time zone"),
        (("--zone", "../../etc/passwd"), "--zone: "),
        (("--ics", "none.ics"), "--ics none.ics: No such file"),
    ],
)
def test_a_bad_option_is_named(options: tuple[str, ...], said: str) -> None:
    result = run(*options)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""


def test_programs_get_json() -> None:
    result = run("--json", "--id", "de", "--name", "Berlin", "--country", "DE", "--years", "2024")
    found = json.loads(result.stdout)
    assert (found["id"], found["holidays"][0], found["special_days"]) == ("de", "2024-01-01", {})
    assert "--name is left out" in result.stderr


# --- What it is good for -------------------------------------------------------------------------


def question(start: str, seconds: int, gives: str) -> dict[str, Any]:
    return {"calendar": "shanghai", "from": start, "add_working_seconds": seconds, "gives": gives}


def test_a_calendar_goes_into_a_file_of_rules_as_it_is(tmp_path: Path) -> None:
    options = ("--id", "shanghai", "--country", "CN", "--years", "2026", "--name", "上海")
    text = run(*options, zone="Asia/Shanghai").stdout
    rules = case(
        event("2026-02-13T09:00:00Z", "created"),
        policies=[policy(target(8 * 3600, calendar="shanghai"))],
        arithmetic=[
            question("2026-02-13T09:00:00Z", 8 * 3600, "2026-02-14T08:00:00Z"),
            question("2026-02-14T09:00:00Z", 2 * 3600, "2026-02-24T02:00:00Z"),
        ],
        expect={"clocks": [{"target": "resolution", "due_at": "2026-02-14T08:00:00Z"}]},
    )
    del rules["calendars"]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules) + "calendars:\n  -\n" + indent(text, "    "))
    checked = CliRunner().invoke(app, ["sla", "lint", str(file), "--strict"])
    assert (checked.exit_code, checked.stdout) == (0, "0 errors, 0 warnings\n")
    computed = CliRunner().invoke(app, ["sla", "simulate", str(file)])
    assert computed.exit_code == 0, computed.stderr


def test_an_odd_name_survives_the_file() -> None:
    name = 'a: [b] # "c" 上海'
    assert drawn("--id", name, "--name", "x # y")["id"] == name
