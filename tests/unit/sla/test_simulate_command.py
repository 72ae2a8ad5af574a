"""`desk sla simulate`: what it prints, and its exit codes."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.scenarios import case, event, target
from typer.testing import CliRunner

from services.cli import app
from services.sla.domain.files.scenario import Scenario
from services.sla.domain.scenarios.expectations import mismatches
from services.sla.domain.scenarios.simulate import run

WORKED = Path(__file__).parents[4] / "shared" / "data" / "sla-scenarios.json"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
CASE = case(event("09:00", "created"), event("09:30", "resolved"))


def worked_examples() -> list[Any]:
    if not WORKED.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {WORKED}"))]
    return [pytest.param(one, id=one["id"]) for one in json.loads(WORKED.read_text())]


def simulate(content: object, *options: str) -> Any:
    text = content if isinstance(content, str) else json.dumps(content)
    return CliRunner().invoke(app, ["sla", "simulate", "-", *options], input=text)


@pytest.mark.realdata
@pytest.mark.parametrize("example", worked_examples())
def test_the_worked_examples_come_out(example: Any) -> None:
    scenario = msgspec.convert(example, Scenario)
    assert mismatches(scenario, run(scenario).actual) == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_of_the_documentation_come_out(path: Path) -> None:
    done = CliRunner().invoke(app, ["sla", "simulate", str(path)])
    assert done.exit_code == 0, done.output
    assert CliRunner().invoke(app, ["sla", "lint", "--strict", str(path)]).exit_code == 0


def test_one_scenario_gives_an_object_and_a_list_a_list() -> None:
    one = simulate(CASE, "--json")
    assert one.exit_code == 0
    answered = json.loads(one.stdout)
    assert answered["id"] == "case"
    assert set(answered["actual"]) == {"clocks", "warnings", "emitted", "known_at", "arithmetic"}
    assert answered["actual"]["clocks"][0]["due_at"] == "2025-06-02T10:00:00Z"
    assert json.loads(simulate([CASE], "--json").stdout) == [answered]


def test_the_human_form_is_a_table() -> None:
    told = simulate(CASE).stdout
    assert "resolution" in told
    assert "met" in told
    assert "0:30:00" in told


@pytest.mark.parametrize(
    ("expect", "pointer"),
    [
        ({"clocks": [{"target": "resolution", "outcome": "missed"}]}, "/expect/clocks/0/outcome"),
        ({"clocks": []}, "/expect/clocks/-"),
        ({"clocks": [{"target": "resolution"}, {"target": "x"}]}, "/expect/clocks/1"),
        ({"warnings": []}, None),
        ({"emitted": [{"type": "sla.started"}]}, "/expect/emitted/-"),
        ({"emitted": [{"type": "sla.met"}, {"type": "sla.started"}]}, "/expect/emitted/0/type"),
        (
            {"known_at": [{"recorded_at": "2025-06-02T09:10:00Z", "clocks": []}]},
            "/expect/known_at/0/clocks/-",
        ),
    ],
)
def test_what_is_stated_must_come_out(expect: Any, pointer: str | None) -> None:
    result = simulate({**CASE, "expect": expect})
    assert result.exit_code == (0 if pointer is None else 1)
    if pointer:
        assert f"case: {pointer}: stated" in result.stderr


def wrong(**changes: Any) -> dict[str, Any]:
    return {**CASE, **changes}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        (wrong(policies=[]), "/policies"),
        (wrong(extra=1), "/extra"),
        (wrong(events=[{"time": "2025-06-02T09:00:00", "type": "ticket.created"}]), "/events/0/"),
        (
            wrong(events=[{"time": "2025-06-02T09:00:00.5Z", "type": "ticket.created"}]),
            "/events/0/time: whole seconds",
        ),
        (wrong(events=[{"time": "2025-06-02T09:00:00Z", "type": "ticket.eaten"}]), "/events/0"),
        (wrong(events=[event("09:00", "created", known="08:00")]), "/events/0/recorded_at"),
        (wrong(events=[event("09:00", "commented")]), "/events/0/data/author"),
        (wrong(events=[event("09:00", "created"), event("08:59", "held")]), "/events/1/time"),
        (
            case(event("09:00", "created"), targets=[target(calendar="moon")]),
            "/policies/0/targets/0/calendar",
        ),
        (
            case(event("09:00", "created"), targets=[target(stop=["solved"])]),
            "/policies/0/targets/0/stop/0: 'solved' is none of",
        ),
        (
            case(event("09:00", "created"), targets=[target(goal={})]),
            "/policies/0/targets/0/goal",
        ),
        (
            case(event("09:00", "created"), targets=[target(), target(stop=["closed"])]),
            "/policies/0/targets/1/stop",
        ),
        (
            wrong(calendars=[{"id": "x", "zone": "Europe/Atlantis", "weekly": {"mon": []}}]),
            "/calendars/0/zone",
        ),
        (wrong(calendars=[{"id": "x", "zone": "UTC", "weekly": {}}]), "/calendars/0/weekly"),
        (
            wrong(
                arithmetic=[{"calendar": "y", "from": "2025-06-02T09:00:00Z", "next_opening": True}]
            ),
            "/arithmetic/0/calendar",
        ),
        ([CASE, CASE], "/1/id: 'case' is there twice"),
    ],
)
def test_a_bad_file_names_the_wrong_key(content: object, said: str) -> None:
    result = simulate(content, "--json")
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_file_that_is_not_there_is_a_bad_file(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["sla", "simulate", str(tmp_path / "none.json")])
    assert result.exit_code == 2
    assert "No such file" in result.stderr


def test_yaml_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "case.yaml"
    file.write_text(
        """
        id: case
        policies:
          - id: standard
            version: 1
            effective_from: 2000-01-01T00:00:00Z
            targets:
              - name: resolution
                kind: sla
                goal: {working_seconds: 3600}
                start: [created]
                stop: [resolved]
        events:
          - {time: 2025-06-02T09:00:00Z, type: ticket.created}
        """
    )
    result = CliRunner().invoke(app, ["sla", "simulate", str(file), "--json"])
    assert json.loads(result.stdout)["actual"]["clocks"][0]["due_at"] == "2025-06-02T10:00:00Z"
