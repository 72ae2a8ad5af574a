"""`desk sla lint`: each thing it can find, in the smallest file that has it, and its exit codes."""

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from support.scenarios import OFFICE, case, event, policy, target
from typer.testing import CliRunner

from services.cli import app
from services.sla.domain.files.scenario import CalendarPart, PolicyPart
from services.sla.domain.lint.findings import Code
from services.sla.domain.lint.linter import lint
from services.sla.domain.rules.defaults import default_calendars, default_policy

WORKED = Path(__file__).parents[4] / "shared" / "data" / "sla-scenarios.json"
CALENDAR, TARGET = "/calendars/0", "/policies/0/targets/0"
EVERY_DAY = [f"-{date(2001, 1, 1) + timedelta(days=day):-%m-%d}" for day in range(365)]
OFFICE_TARGET = target(calendar="office")

Rules = dict[str, Any]


def rules(*targets: dict[str, Any], **more: Any) -> Rules:
    """Return a file with one policy of these targets, in `24x7` unless they say otherwise."""
    return {"policies": [policy(*(targets or (target(),)))], **more}


def one_calendar(**changes: Any) -> Rules:
    """Return a file with a changed `office` and one target that uses it."""
    return rules(OFFICE_TARGET, calendars=[{**OFFICE, **changes}])


def versions(*made: tuple[int, str], name: str = "standard") -> Rules:
    """Return a file with versions of one policy: their numbers, and the years they are from."""
    return {
        "policies": [
            policy(target(), id=name, version=number, effective_from=f"{year}-01-01T00:00:00Z")
            for number, year in made
        ]
    }


def beside(*targets: dict[str, Any], **more: Any) -> Rules:
    """Return a file with one policy for each target, all from 2000 on."""
    made = [policy(one, id=f"policy-{place}") for place, one in enumerate(targets)]
    made[-1].update(more)
    return {"policies": made}


def replaced(applies_to: str, later: dict[str, Any], until: str | None = None) -> Rules:
    """Return a policy for all tickets, in 2010 for few, and after it one that waits for that."""
    few = target(when={"site": "north"})
    second = {"version": 2, "effective_from": "2010-01-01T00:00:00Z", "applies_to": applies_to}
    made = [policy(target()), policy(few, **second), policy(later, id="other")]
    if until is not None:
        next_one = {"version": 2, "effective_from": f"{until}-01-01T00:00:00Z"}
        made.append(policy(later, id="other", **next_one))
    return {"policies": made}


def found(file: Rules) -> list[tuple[str, str, str]]:
    calendars = msgspec.convert(file.get("calendars", []), tuple[CalendarPart, ...])
    policies = msgspec.convert(file["policies"], tuple[PolicyPart, ...])
    return [(one.severity, one.code, one.pointer) for one in lint(calendars, policies)]


# --- One file for each thing -----------------------------------------------------------------

FINDINGS: list[tuple[str, Rules, list[tuple[str, str]]]] = [
    # code, file, and where it is found: the severity and the pointer
    (
        "calendar_twice",
        rules(OFFICE_TARGET, calendars=[OFFICE, OFFICE]),
        [("error", "/calendars/1/id")],
    ),
    ("zone_unknown", one_calendar(zone="Europe/Atlantis"), [("error", f"{CALENDAR}/zone")]),
    (
        "holiday_no_date",
        one_calendar(holidays=["2025-01-01", "2025-02-30"]),
        [("error", f"{CALENDAR}/holidays/1")],
    ),
    (
        "holiday_no_date",
        one_calendar(holidays=["--02-30"]),
        [("error", f"{CALENDAR}/holidays/0")],
    ),
    (
        "holiday_twice",
        one_calendar(holidays=["2025-12-25", "2025-12-25"]),
        [("warning", f"{CALENDAR}/holidays/1")],
    ),
    (
        "holiday_twice",
        one_calendar(holidays=["2025-12-25", "--12-25"]),
        [("warning", f"{CALENDAR}/holidays/0")],
    ),
    (
        "special_day_no_date",
        one_calendar(special_days={"2025-02-29": []}),
        [("error", f"{CALENDAR}/special_days/2025-02-29")],
    ),
    (
        "special_day_is_holiday",
        one_calendar(holidays=["2025-12-24"], special_days={"2025-12-24": [["09:00", "12:00"]]}),
        [("warning", f"{CALENDAR}/special_days/2025-12-24")],
    ),
    (
        "special_day_is_holiday",
        one_calendar(holidays=["--12-24"], special_days={"2025-12-24": []}),
        [("warning", f"{CALENDAR}/special_days/2025-12-24")],
    ),
    (
        "windows_overlap",
        one_calendar(weekly={"mon": [["12:00", "17:00"], ["09:00", "12:01"]]}),
        [("error", f"{CALENDAR}/weekly/mon/0")],
    ),
    (
        "windows_overlap",
        one_calendar(special_days={"2025-01-02": [["20:00", "04:00"], ["23:00", "24:00"]]}),
        [("error", f"{CALENDAR}/special_days/2025-01-02/1")],
    ),
    ("calendar_never_opens", one_calendar(weekly={}), [("error", f"{CALENDAR}/weekly")]),
    (
        "calendar_never_opens",
        one_calendar(holidays=EVERY_DAY),
        [("error", f"{CALENDAR}/holidays")],
    ),
    (
        "calendar_ends",
        one_calendar(weekly={}, special_days={"2025-01-02": [["09:00", "12:00"]]}),
        [("warning", f"{CALENDAR}/weekly")],
    ),
    ("calendar_unused", rules(calendars=[OFFICE]), [("warning", f"{CALENDAR}/id")]),
    ("version_twice", versions((1, "2000"), (1, "2001")), [("error", "/policies/1/version")]),
    (
        "version_never_in_force",
        versions((1, "2200")),
        [("warning", "/policies/0/effective_from")],
    ),
    (
        "definitions_differ",
        rules(target(when={"kind": "incident"}), target(stop=["closed"])),
        [("error", "/policies/0/targets/1/stop")],
    ),
    (
        "definitions_differ",
        rules(target(when={"kind": "incident"}), target(cycle="repeat", on_reopen="ignore")),
        [("error", f"/policies/0/targets/1/{name}") for name in ("cycle", "on_reopen")],
    ),
    ("definition_shadowed", rules(target(), target(60)), [("error", "/policies/0/targets/1")]),
    (
        "definition_shadowed",
        rules(
            target(when={"kind": "incident"}),
            target(when={"kind": "service_request"}),
            target(60, when={"kind": ["incident", "service_request"]}),
        ),
        [("error", "/policies/0/targets/2")],
    ),
    (
        "definition_shadowed",
        beside(target(), target(60)),
        [("warning", "/policies/1/targets/0")],
    ),
    (
        "definition_never_matches",
        rules(target(goal={"date_field": "customer"}, when={"customer": None})),
        [("error", f"{TARGET}/when/customer")],
    ),
    (
        "priority_gap",
        rules(target(when={"priority": ["P1", "P2"]})),
        [("warning", f"{TARGET}/when/priority")],
    ),
    (
        "priority_gap",
        rules(
            target(60, when={"priority": "P1", "kind": "incident"}),
            target(when={"priority": "P1"}),
        ),
        [("warning", "/policies/0/targets/1/when/priority")],
    ),
    ("calendar_missing", rules(target(calendar="moon")), [("error", f"{TARGET}/calendar")]),
    (
        "goal_unreachable",
        rules(target(10**9, calendar="office"), calendars=[OFFICE]),
        [("error", f"{TARGET}/goal")],
    ),
    (
        "day_end_in_utc",
        rules(target(goal={"working_days": 1, "at": "end_of_day"})),
        [("warning", f"{TARGET}/goal/at")],
    ),
    (
        "start_is_stop",
        rules(target(start=["started", "held"], stop=["resolved", "held"])),
        [("error", f"{TARGET}/start/1")],
    ),
    (
        "start_is_stop",
        rules(target(start=["held"], stop=["held:vendor"])),
        [("warning", f"{TARGET}/start/0")],
    ),
    (
        "start_without_effect",
        rules(target(start=["created", "assigned"])),
        [("warning", f"{TARGET}/start/1")],
    ),
    (
        "stop_never_comes",
        rules(target(start=["assigned"], stop=["created"])),
        [("error", f"{TARGET}/stop/0")],
    ),
    (
        "stop_never_comes",
        rules(target(start=["assigned"], stop=["resolved", "created"])),
        [("warning", f"{TARGET}/stop/1")],
    ),
    (
        "pause_excludes_start",
        rules(target(start=["held:vendor"], pause=["held"])),
        [("error", f"{TARGET}/pause/0")],
    ),
    (
        "pause_excludes_start",
        rules(target(start=["started", "held"], pause=["held"])),
        [("warning", f"{TARGET}/pause/0")],
    ),
    (
        "pause_is_always",
        rules(target(when={"kind": "incident"}, pause=[{"kind": "incident"}])),
        [("error", f"{TARGET}/pause/0")],
    ),
    (
        "condition_twice",
        rules(target(stop=["resolved", "resolved"])),
        [("warning", f"{TARGET}/stop/1")],
    ),
    (
        "condition_twice",
        rules(target(pause=["held:vendor", "held"])),
        [("warning", f"{TARGET}/pause/0")],
    ),
    (
        "field_unknown",
        rules(target(when={"col/our": "red"})),
        [("warning", f"{TARGET}/when/col~1our")],
    ),
    (
        "field_unknown",
        rules(target(goal={"date_field": "wanted_on"})),
        [("warning", f"{TARGET}/goal/date_field")],
    ),
    (
        "priority_unknown",
        rules(target(when={"priority": "P5"})),
        [("warning", f"{TARGET}/when/priority")],
    ),
    (
        "priority_unknown",
        rules(target(pause=[{"priority": "low"}])),
        [("warning", f"{TARGET}/pause/0")],
    ),
    (
        "warning_before_start",
        rules(target(warn=[{"before_due_seconds": 3601}])),
        [("warning", f"{TARGET}/warn/0/before_due_seconds")],
    ),
    (
        "warning_before_start",
        rules(target(goal={"working_days": 2}, warn=[{"before_due_working_days": 3}])),
        [("warning", f"{TARGET}/warn/0/before_due_working_days")],
    ),
    (
        "warning_twice",
        rules(target(warn=[{"percent": 50}, {"percent": 75}, {"percent": 50}])),
        [("warning", f"{TARGET}/warn/2")],
    ),
    (
        "on_change_without_effect",
        rules(target(on_change="carry_elapsed")),
        [("warning", f"{TARGET}/on_change")],
    ),
    (
        "keep_pauses_without_effect",
        rules(target(keep_pauses=False)),
        [("warning", f"{TARGET}/keep_pauses")],
    ),
    (
        "keep_pauses_without_effect",
        rules(target(keep_pauses=False, pause=["held"])),
        [("warning", f"{TARGET}/keep_pauses")],
    ),
    (
        "keep_pauses_without_effect",
        rules(
            target(
                keep_pauses=False,
                on_change="change_time",
                pause=["held"],
                when={"kind": "incident"},
            )
        ),
        [("warning", f"{TARGET}/keep_pauses")],
    ),
]


@pytest.mark.parametrize(("code", "file", "places"), FINDINGS)
def test_each_fault_is_found_and_nothing_else(
    code: str, file: Rules, places: list[tuple[str, str]]
) -> None:
    assert found(file) == [(severity, code, pointer) for severity, pointer in places]


def test_a_version_before_its_predecessor_overtakes_it() -> None:
    assert found(versions((1, "2001"), (2, "2001"))) == [
        ("error", "effective_from_not_rising", "/policies/1/effective_from"),
        ("warning", "version_never_in_force", "/policies/0"),
    ]


def test_a_calendar_whose_days_are_over_is_closed() -> None:
    special = {"1999-01-04": [["09:00", "12:00"]]}
    assert found(one_calendar(weekly={}, special_days=special)) == [
        ("error", "calendar_closed", f"{TARGET}/calendar"),
        ("warning", "calendar_ends", f"{CALENDAR}/weekly"),
    ]


def test_every_code_has_a_file_that_shows_it() -> None:
    shown = {code for code, _, _ in FINDINGS}
    assert shown | {"effective_from_not_rising", "calendar_closed"} == set(get_args(Code))


# --- What looks alike, and is meant ------------------------------------------------------------

CLEAN: list[tuple[str, Rules]] = [
    ("calendar_twice", rules(OFFICE_TARGET, calendars=[OFFICE])),
    ("zone_unknown", one_calendar(zone="Asia/Shanghai")),
    ("holiday_no_date", one_calendar(holidays=["--02-29", "2025-02-28"])),
    ("holiday_twice", one_calendar(holidays=["2025-12-25", "2026-12-25", "--12-26"])),
    ("special_day_no_date", one_calendar(special_days={"2024-02-29": []})),
    (
        "special_day_is_holiday",
        one_calendar(holidays=["2025-12-24"], special_days={"2026-12-24": []}),
    ),
    (
        "windows_overlap",
        one_calendar(weekly={"mon": [["12:00", "24:00"], ["00:00", "12:00"]], "tue": []}),
    ),
    (
        "windows_overlap",
        one_calendar(weekly={"mon": [["22:00", "06:00"]], "tue": [["05:00", "09:00"]]}),
    ),
    ("calendar_never_opens", one_calendar(holidays=EVERY_DAY[1:])),
    ("calendar_ends", one_calendar(special_days={"2025-01-02": [["09:00", "12:00"]]})),
    ("calendar_unused", one_calendar()),
    ("version_twice", versions((1, "2000"), (2, "2001"))),
    ("effective_from_not_rising", versions((2, "2001"), (1, "2000"))),
    ("version_never_in_force", versions((1, "2000"), (3, "2198"))),
    ("definitions_differ", rules(target(), target(name="reply", stop=["agent_reply"]))),
    ("definition_shadowed", rules(target(60, when={"kind": "incident"}), target())),
    (
        "definition_shadowed",
        rules(target(goal={"date_field": "customer"}), target(when={"kind": "incident"})),
    ),
    ("definition_shadowed", rules(target(when={"peak": True}), target(when={"peak": False}))),
    ("definition_shadowed", replaced("new", target(60))),
    ("definition_shadowed", replaced("running", target(60), until="2005")),
    (
        "definition_shadowed",
        beside(target(), target(60), effective_from="1999-01-01T00:00:00Z"),
    ),
    (
        "definition_never_matches",
        rules(
            target(
                goal={"date_field": "customer"}, when={"customer": [None, "2025-01-02T09:00:00Z"]}
            )
        ),
    ),
    (
        "priority_gap",
        rules(target(when={"priority": ["P1", "P2", "P3"]}), target(when={"priority": "P4"})),
    ),
    ("priority_gap", rules(target(60, when={"priority": "P1"}), target())),
    ("priority_gap", beside(target(when={"priority": "P1"}), target())),
    ("calendar_missing", rules(target(calendar="24x7"))),
    (
        "calendar_closed",
        one_calendar(holidays=[f"20{year:02}-01-03" for year in range(20)]),
    ),
    ("goal_unreachable", rules(target(10**8, calendar="office"), calendars=[OFFICE])),
    (
        "day_end_in_utc",
        rules(
            target(calendar="office", goal={"working_days": 1, "at": "end_of_day"}),
            calendars=[OFFICE],
        ),
    ),
    ("start_is_stop", rules(target(start=["held"], stop=["resumed"]))),
    ("start_is_stop", rules(target(start=["started"], stop=["started"], cycle="repeat"))),
    ("start_without_effect", rules(target(start=["created", "assigned"], cycle="repeat"))),
    ("stop_never_comes", rules(target(start=[{"site": "north"}], stop=["created", "closed"]))),
    ("pause_excludes_start", rules(target(start=["held:vendor"], pause=["held:customer"]))),
    (
        "pause_is_always",
        rules(target(when={"kind": ["incident", "service_request"]}, pause=[{"kind": "incident"}])),
    ),
    ("condition_twice", rules(target(pause=["held:vendor", "held:customer"]))),
    ("condition_twice", rules(target(start=[{"line": 1}, {"line": True}]))),
    ("field_unknown", rules(target(when={"site": "north"}))),
    ("priority_unknown", rules(target(start=[{"priority": None}, {"priority": "P1"}]))),
    ("warning_before_start", rules(target(warn=[{"before_due_seconds": 3600}]))),
    ("warning_twice", rules(target(warn=[{"percent": 75}, {"percent": 75.5}]))),
    (
        "on_change_without_effect",
        rules(target(on_change="carry_elapsed", when={"kind": "incident"})),
    ),
    (
        "keep_pauses_without_effect",
        rules(target(keep_pauses=False, pause=["held"], when={"kind": "incident"})),
    ),
]


@pytest.mark.parametrize(("code", "file"), CLEAN)
def test_what_only_looks_like_a_fault_is_left_alone(code: str, file: Rules) -> None:
    assert found(file) == [], code


def test_every_code_has_a_file_that_only_looks_like_it() -> None:
    assert {code for code, _ in CLEAN} == set(get_args(Code))


def test_a_definition_over_before_its_turn_never_counts() -> None:
    assert found(replaced("new", target(60), until="2005")) == [
        ("warning", "definition_shadowed", "/policies/2/targets/0")
    ]


def test_definitions_for_very_many_kinds_of_tickets_are_not_compared() -> None:
    many = [str(number) for number in range(40)]
    when = {"site": many, "customer": many}
    assert found(rules(target(when=when), target(60, when=when))) == []


def test_errors_come_before_warnings_each_in_the_order_of_the_file() -> None:
    file = rules(target(stop=["resolved", "resolved"]), target(calendar="moon", name="reply"))
    assert [severity for severity, _, _ in found(file)] == ["error", "warning"]


def test_a_new_desk_begins_with_rules_without_a_fault() -> None:
    office = [
        {"id": one.calendar_id, "zone": one.zone, "weekly": one.weekly}
        for one in default_calendars("Asia/Shanghai")
    ]
    standard = default_policy()
    targets = msgspec.to_builtins(standard.targets)
    assert found(rules(*targets, calendars=office)) == []


# --- The command -----------------------------------------------------------------------------

WARNED = rules(target(warn=[{"percent": 75}, {"percent": 75}]))
BROKEN = case(event("09:00", "created"), targets=[target(calendar="moon")], calendars=[])


def run_lint(content: object, *options: str) -> Any:
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    return CliRunner().invoke(app, ["sla", "lint", *options], input=text)


def worked_examples() -> list[Any]:
    if not WORKED.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {WORKED}"))]
    return [pytest.param(one, id=one["id"]) for one in json.loads(WORKED.read_text())]


@pytest.mark.realdata
@pytest.mark.parametrize("example", worked_examples())
def test_the_worked_examples_have_no_errors(example: Any) -> None:
    result = run_lint(example, "--json")
    assert result.exit_code == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "options", "code"),
    [
        (rules(), (), 0),
        (rules(), ("--strict",), 0),
        (WARNED, (), 0),
        (WARNED, ("--strict",), 1),
        (BROKEN, (), 1),
        ({**BROKEN, "calendars": [{**OFFICE, "id": "moon"}]}, (), 0),
        ([WARNED, BROKEN], ("--json",), 1),
        ([], (), 0),
    ],
)
def test_the_exit_code_says_whether_there_is_an_error(
    file: object, options: tuple[str, ...], code: int
) -> None:
    assert run_lint(file, *options).exit_code == code


def test_people_read_one_line_for_each_finding_and_the_count() -> None:
    targets = [target(calendar="moon", stop=["closed", "closed"])]
    scenario = case(event("09:00", "created"), targets=targets, calendars=[])
    told = run_lint(scenario).stdout.splitlines()
    assert told[0].startswith(f"error   {TARGET}/calendar: No calendar is called 'moon';")
    assert told[0].endswith("(calendar_missing)")
    assert told[1].startswith(f"warning {TARGET}/stop/1: ")
    assert told[2:] == ["1 error, 1 warning"]
    assert run_lint(rules()).stdout == "0 errors, 0 warnings\n"


def test_rules_may_name_a_calendar_that_only_the_desk_has() -> None:
    told = run_lint(rules(target(calendar="moon")))
    assert told.exit_code == 0
    assert told.stdout.startswith(f"warning {TARGET}/calendar: No calendar is called 'moon' here;")
    alone = run_lint({"calendars": [OFFICE]})
    assert (alone.exit_code, alone.stdout) == (0, "0 errors, 0 warnings\n")


def test_programs_read_a_list() -> None:
    (one,) = json.loads(run_lint(BROKEN, "--json").stdout)
    assert set(one) == {"severity", "code", "pointer", "message"}
    assert (one["severity"], one["code"]) == ("error", "calendar_missing")
    assert json.loads(run_lint(rules(), "--json").stdout) == []


def test_in_a_list_the_pointer_begins_with_the_place() -> None:
    scenario = case(event("09:00", "created"), targets=[target(calendar="moon")], calendars=[])
    (one,) = json.loads(run_lint([rules(), scenario], "--json").stdout)
    assert one["pointer"] == f"/1{TARGET}/calendar"


@pytest.mark.parametrize("name", ["rules.yaml", "rules.yml", "rules.json", "rules"])
def test_the_file_may_be_yaml_or_json(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text(json.dumps(WARNED) if name == "rules.json" else yaml.safe_dump(WARNED))
    result = run_lint("", "--json", str(file))
    assert [one["code"] for one in json.loads(result.stdout)] == ["warning_twice"]


def test_standard_input_may_be_yaml_too() -> None:
    told = run_lint(yaml.safe_dump(WARNED), "--json", "-").stdout
    assert [one["code"] for one in json.loads(told)] == ["warning_twice"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (rules(colour="red"), "/colour"),
        (rules(target(colour="red")), f"{TARGET}/colour"),
        ([rules(), rules(target(colour="red"))], f"/1{TARGET}/colour"),
        (rules(target(goal={"working_seconds": "much"})), f"{TARGET}/goal/working_seconds"),
        (rules(target(stop=["solved"])), f"{TARGET}/stop/0"),
        (one_calendar(weekly={"mon": [["9:00", "17:00"]]}), f"{CALENDAR}/weekly/mon/0/0"),
        (one_calendar(weekly={"monday": []}), f"{CALENDAR}/weekly/monday"),
        (one_calendar(special_days={"2.1.2025": []}), f"{CALENDAR}/special_days/2.1.2025"),
        (rules(target(when={"site": "north", "a/b": [[]]})), f"{TARGET}/when/a~1b/0"),
        (one_calendar(id="24x7"), f"{CALENDAR}/id"),
        ({"policies": []}, "/policies"),
        ({**rules(), "events": []}, "/events"),
        ("policies: [", "no YAML"),
        ("{", "not valid JSON"),
        ("just words", "no object with calendars and policies"),
        ([1], "/0: no object"),
        ("", "no object"),
        ("a: !!python/name:os.system x", "no YAML"),
        (b"\xff\xfe\xfa", "no YAML"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_bad_file_names_the_wrong_key(content: object, said: str) -> None:
    result = run_lint(content, "--json")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""


def test_a_file_that_is_not_there_is_a_bad_file(tmp_path: Path) -> None:
    result = run_lint("", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "No such file" in result.stderr
