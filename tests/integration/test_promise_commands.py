"""`desk sla …` against a running desk; every test has a policy and a site of its own."""

import json
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.desk import DeskProcess, eventually
from support.promises import promise
from support.scenarios import case, event, target
from typer.testing import CliRunner

from services.cli import app
from shared.terminal.common import shown

pytestmark = pytest.mark.timeout(240)
HOUR = 3600
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskProcess]:
    with DeskProcess(tmp_path_factory.mktemp("promises") / "desk") as running:
        yield running


class Place:
    """A site with a policy: how its rules are written, its tickets reported, commands run."""

    _numbers = count(1)

    def __init__(self, desk: DeskProcess, folder: Path) -> None:
        number = next(self._numbers)
        self.site, self.policy, self.target = f"site-{number}", f"policy-{number}", f"aim-{number}"
        self.desk, self._folder = desk, folder
        self._has_news = False

    def rules(self, seconds: int, **more: Any) -> Path:
        """Write a file that promises the site's tickets a solution; return where it is."""
        aim = {**promise(seconds), "name": self.target, "when": {"site": self.site}}
        rules = {"policies": [{"id": self.policy, "targets": [aim], **more}]}
        return self.file(rules)

    def file(self, rules: object) -> Path:
        file = self._folder / f"{self.policy}.yaml"
        file.write_text(yaml.safe_dump(rules))
        return file

    def published(self, seconds: int, **more: Any) -> None:
        result = self.run("publish", self.rules(seconds, **more), "--yes")
        assert result.exit_code == 0, result.stderr

    def reported(self) -> str:
        report = {
            "requester": {"id": "ann", "site": self.site},
            "title": "VPN drops",
            "kind": "incident",
            "impact": "low",
            "urgency": "low",
        }
        self._has_news = True
        return self.desk.post("/intake/tickets", report).json()["ticket_id"]

    def done(self, ticket: str, step: str, **body: str) -> None:
        answer = self.desk.post(f"/intake/tickets/{ticket}/{step}", body)
        assert answer.is_success, answer.text
        self._has_news = True

    def settle(self) -> None:
        """Wait until what happened to tickets is known everywhere."""
        if self._has_news:
            self.desk.settle()
        self._has_news = False

    def run(self, *words: str | Path, typed: str = "") -> Any:
        self.settle()
        arguments = ["sla", *map(str, words), "--data", str(self.desk.data)]
        result = CliRunner().invoke(app, arguments, input=typed)
        if words[0] == "publish":
            published = int(time.time())
            eventually(lambda: time.time() >= published + 1)  # an export cuts to whole seconds
        return result

    def json(self, *words: str | Path) -> Any:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)


@pytest.fixture
def place(desk: DeskProcess, tmp_path: Path) -> Place:
    return Place(desk, tmp_path)


# --- Publishing ------------------------------------------------------------------------------


def test_publishing_asks_first_and_has_nothing_to_do_the_second_time(place: Place) -> None:
    file = place.rules(HOUR)
    asked = place.run("publish", file, typed="n\n")
    assert asked.exit_code == 1
    assert asked.stdout.startswith(f"would publish policy {place.policy} v1, in force from ")
    assert "Publish? [y/N]" in asked.stderr
    assert place.run("diff", file).exit_code == 1
    said = place.run("publish", file, typed="y\n")
    assert said.exit_code == 0
    assert f"published policy {place.policy} v1" in said.stdout
    again = place.run("publish", file)
    assert (again.exit_code, again.stdout) == (0, "")
    assert "nothing to publish" in again.stderr
    assert place.json("publish", file) == []


def test_publishing_does_not_ask_whoever_says_yes(place: Place) -> None:
    (rule,) = place.json("publish", place.rules(HOUR), "--yes")
    assert (rule["policy_id"], rule["version"], rule["applies_to"]) == (place.policy, 1, "new")
    (rule,) = place.json("publish", place.rules(2 * HOUR), "-y")
    assert rule["version"] == 2


def test_a_refused_file_changes_nothing(place: Place) -> None:
    good = yaml.safe_load(place.rules(HOUR).read_text())["policies"][0]
    bad = {**good, "id": "other", "targets": [{**promise(HOUR), "calendar": "moon"}]}
    refused = place.run("publish", place.file({"policies": [good, bad]}), "--yes")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "/policies/1/targets/0/calendar: no calendar is called 'moon'" in refused.stderr
    misshaped = place.run("publish", place.file({"policies": [{**good, "colour": "red"}]}), "-y")
    assert misshaped.exit_code == 2
    assert "/policies/0/colour" in misshaped.stderr
    (rule,) = place.json("publish", place.rules(HOUR), "--yes")
    assert rule["version"] == 1


def test_a_version_from_the_past_can_only_come_now(place: Place) -> None:
    file = place.rules(HOUR, effective_from="2020-01-01T00:00:00Z")
    refused = place.run("publish", file, "--yes")
    assert refused.exit_code == 1
    assert "/policies/0/effective_from" in refused.stderr
    assert place.run("publish", file, "--yes", "--now").exit_code == 0


def test_a_difference_lists_keys_and_the_running_clocks_it_would_change(place: Place) -> None:
    place.published(2 * HOUR)
    ticket = place.reported()
    file = place.rules(3 * HOUR, applies_to="running")
    found = place.run("diff", file)
    assert found.exit_code == 1
    lines = found.stdout.splitlines()
    assert f"  /targets/0/goal/working_seconds: {2 * HOUR} -> {3 * HOUR}" in lines
    assert '  /applies_to: "new" -> "running"' in lines
    (changed,) = [line for line in lines if ticket in line]
    name, due = changed.split(": due ")
    assert re.fullmatch(rf"  INC-\d+ {ticket} \(P\d, .*VPN drops\) {place.target}", name)
    before, after = due.split(" -> ")
    assert datetime.fromisoformat(after) - datetime.fromisoformat(before) == timedelta(hours=1)
    planned = place.run("diff", file, "--json")
    assert planned.exit_code == 1
    plan = json.loads(planned.stdout)
    assert plan["running_clocks"]["changed"] == 1
    (clock,) = plan["running_clocks"]["clocks"]
    assert (clock["ticket_id"], clock["title"]) == (ticket, "VPN drops")
    assert [rule["version"] for rule in plan["publishes"]] == [2]
    assert place.run("publish", file, "--yes").exit_code == 0
    same = place.run("diff", file)
    assert (same.exit_code, same.stdout) == (0, "")


def test_a_version_for_new_tickets_changes_no_running_clock(place: Place) -> None:
    place.published(2 * HOUR)
    ticket = place.reported()
    found = place.run("diff", place.rules(HOUR))
    assert found.exit_code == 1
    assert " 0 clocks would change" in found.stdout
    assert ticket not in found.stdout


def test_a_clock_that_would_go_is_shown_without_a_deadline(place: Place) -> None:
    place.published(2 * HOUR)
    ticket = place.reported()
    aim = {**promise(HOUR), "name": place.target, "when": {"site": "elsewhere"}}
    policy = {"id": place.policy, "applies_to": "running", "targets": [aim]}
    lines = place.run("diff", place.file({"policies": [policy]})).stdout.splitlines()
    (changed,) = [line for line in lines if ticket in line]
    assert changed.endswith(" -> no clock")


# --- Promises that end, and the way back ------------------------------------------------------


def test_publishing_names_the_promises_that_end(place: Place) -> None:
    aim = {**promise(HOUR), "name": place.target, "when": {"site": place.site}}
    both = [{**aim, "when": {"priority": ["P1", "P2"], **aim["when"]}}]
    file = place.file({"policies": [{"id": place.policy, "targets": both}]})
    first = place.run("publish", file, "-y")
    assert "warning" not in first.stderr
    narrow = [{**aim, "when": {"priority": ["P2"], **aim["when"]}}]
    file = place.file({"policies": [{"id": place.policy, "targets": narrow}]})
    sentence = (
        f"warning: policy {place.policy} promises '{place.target}' no more where priority = P1 and"
        f" site = {place.site}: new tickets have no such clock\n"
    )
    assert sentence in place.run("diff", file).stdout
    assert sentence in place.run("publish", file, typed="n\n").stdout
    said = place.run("publish", file, "--yes")
    assert sentence in said.stderr
    assert f"to take it back: desk sla publish --undo --policy {place.policy}\n" in said.stderr


def test_a_publication_is_taken_back_by_the_next_version(place: Place) -> None:
    place.published(2 * HOUR)
    place.published(HOUR, applies_to="running")
    assert place.run("publish", "--undo", "--policy", place.policy).exit_code == 1
    said = place.run("publish", "--undo", "--policy", place.policy, "--yes")
    assert said.exit_code == 0
    assert f"{place.policy} goes back from version 2 to what 1 said\n" in said.stderr
    assert said.stdout.startswith(f"published policy {place.policy} v3, in force from ")
    versions = [one for one in place.json("rules")["policies"] if one["policy_id"] == place.policy]
    goals = [one["targets"][0]["goal"]["working_seconds"] for one in versions]
    assert goals == [2 * HOUR, HOUR, 2 * HOUR]
    assert versions[2]["applies_to"] == "running"
    again = place.json("publish", "--undo", "--policy", place.policy, "--yes")
    assert again[0]["targets"][0]["goal"]["working_seconds"] == HOUR


def test_a_version_to_come_is_taken_back_before_it_comes(place: Place) -> None:
    place.published(2 * HOUR)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    place.published(HOUR, effective_from=tomorrow)
    said = place.run("publish", "--undo", "--policy", place.policy, "--yes")
    assert f"{place.policy} goes back from version 2 to what 1 said\n" in said.stderr
    rows = place.run("rules").stdout.splitlines()
    states = [row.split()[-1] for row in rows if place.policy in row.split()]
    assert states == ["past", "replaced", "force"]


def test_the_way_back_has_to_exist_and_be_named(place: Place) -> None:
    place.published(HOUR)
    several = place.run("publish", "--undo")
    assert "several policies are published; give --policy with one of" in several.stderr
    first = place.run("publish", "--undo", "--policy", place.policy)
    assert "is its first; there is none to go back to" in first.stderr
    unknown = place.run("publish", "--undo", "--policy", "nobody's")
    assert "no policy is called" in unknown.stderr
    both = place.run("publish", place.rules(HOUR), "--undo")
    assert "--undo needs neither file nor --now" in both.stderr
    assert "name a file to publish" in place.run("publish").stderr
    assert {one.exit_code for one in (several, first, unknown, both)} == {1}


# --- One ticket ------------------------------------------------------------------------------


def test_a_deadline_is_explained_step_by_step(place: Place) -> None:
    place.published(2 * HOUR)
    ticket = place.reported()
    place.done(ticket, "hold", reason="waiting_for_customer")
    place.done(ticket, "resume")
    explained = place.json("explain", ticket)["explanations"]
    mine = next(one for one in explained if one["clock"]["target"] == place.target)
    assert mine["because"] == {"site": place.site}
    assert "paused" in {step["what"] for step in mine["steps"]}
    told = place.run("explain", ticket).stdout
    assert f"{place.target} 1.1: open, due {mine['clock']['due_at']}\n" in told
    assert f"policy {place.policy} v1" in told
    assert f"because site = {place.site}\n" in told
    assert '  goal {"working_seconds": 7200} in calendar 24x7\n' in told
    edges = [step[name] for step in mine["steps"][:2] for name in ("from", "to")]
    assert all(shown(edge) in told for edge in edges)
    assert "= paused" in told
    assert "2:00:00" in told


def test_a_ticket_is_explained_as_it_was_known(place: Place) -> None:
    place.published(HOUR)
    before = datetime.now(UTC)
    ticket = place.reported()
    result = place.run("explain", ticket, "--at", before.isoformat())
    assert result.exit_code == 1
    assert f"no ticket {ticket} was known at" in result.stderr
    place.settle()
    after = datetime.now(UTC)
    place.done(ticket, "resolve", resolution="done")
    (mine,) = [
        one["clock"]
        for one in place.json("explain", ticket, "--at", after.isoformat())["explanations"]
        if one["clock"]["target"] == place.target
    ]
    assert (mine["outcome"], mine["stopped_at"]) == ("open", None)


def test_an_exported_ticket_comes_out_the_same(place: Place, tmp_path: Path) -> None:
    place.published(HOUR)
    ticket = place.reported()
    place.done(ticket, "hold", reason="waiting_for_vendor")
    place.done(ticket, "resume")
    place.published(2 * HOUR, applies_to="running")
    place.done(ticket, "resolve", resolution="done")
    exported = place.run("export", ticket)
    assert exported.exit_code == 0, exported.stderr
    clocks = json.loads(exported.stdout)["expect"]["clocks"]
    mine = [clock for clock in clocks if clock["target"] == place.target]
    assert [clock["outcome"] for clock in mine] == ["superseded", "met"]
    simulated = CliRunner().invoke(app, ["sla", "simulate", "-"], input=exported.stdout)
    assert simulated.exit_code == 0, simulated.stderr
    assert place.target in simulated.stdout
    linted = CliRunner().invoke(app, ["sla", "lint", "-"], input=exported.stdout)
    assert linted.exit_code == 0, linted.stdout


# --- Many tickets ------------------------------------------------------------------------------


def test_attainment_is_counted_by_what_is_asked(place: Place) -> None:
    place.published(HOUR)
    for _ in range(2):
        place.done(place.reported(), "resolve", resolution="done")
    query = ("attainment", "--by", "site", "--by", "month", "--zone", "Asia/Shanghai")
    found = [one for one in place.json(*query)["attainment"] if one["target"] == place.target]
    assert [(one["judged"], one["met"], one["missed"]) for one in found] == [(2, 2, 0)]
    assert found[0]["key"]["site"] == place.site
    (line,) = [line for line in place.run(*query).stdout.splitlines() if place.target in line]
    assert line.split()[0] == place.site
    assert line.split()[-4:] == ["2", "2", "0", "100.0%"]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert place.json("attainment", "--from", tomorrow)["attainment"] == []
    assert place.json("attainment", "--to", "2020-01-01")["attainment"] == []
    day = place.json("attainment", "--from", "2026-07-01", "--zone", "Asia/Shanghai")
    assert day["from"] == "2026-06-30T16:00:00Z"


def test_clocks_at_risk_name_their_tickets_with_number_whole_id_and_title(place: Place) -> None:
    place.published(HOUR)
    ticket = place.reported()
    query = ("at-risk", "--limit", "200")
    (mine,) = [one for one in place.json(*query)["clocks"] if one["target"] == place.target]
    assert mine["ticket_id"] == ticket
    assert 0 < mine["remaining_seconds"] <= HOUR
    lines = place.run(*query).stdout.splitlines()
    number = place.desk.get(f"/intake/tickets/{ticket}")["number"]
    (line,) = [line for line in lines if line.split()[:3] == [number, ticket, place.target]]
    assert (mine["number"], mine["title"]) == (number, "VPN drops")
    assert line.endswith("VPN drops")
    assert shown(mine["due_at"]) in line
    assert ticket not in place.run("at-risk", "--overdue").stdout
    assert ticket not in place.run("at-risk", "--group", "nobody").stdout
    assert place.json("at-risk", "--priority", mine["priority"], "--limit", "1")["clocks"]


def test_nothing_is_cut_off_where_the_terminal_is_narrow(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.published(HOUR)
    ticket = place.reported()
    place.settle()
    monkeypatch.setitem(os.environ, "COLUMNS", "40")
    for words in (("at-risk", "--limit", "200"), ("explain", ticket)):
        result = place.desk.run("sla", *words)
        assert result.returncode == 0, result.stderr
        assert "…" not in result.stdout
    diff = place.desk.run("sla", "diff", str(place.rules(2 * HOUR)))
    assert f"  /targets/0/goal/working_seconds: {HOUR} -> {2 * HOUR}\n" in diff.stdout


def test_words_in_brackets_are_printed_as_they_are() -> None:
    scenario = case(event("09:00", "created"), targets=[target(name="[/b] :fire:")])
    told = CliRunner().invoke(app, ["sla", "simulate"], input=json.dumps(scenario))
    assert told.exit_code == 0, told.exception
    assert told.stdout.count("[/b] :fire:") == 2


def test_the_past_is_judged_by_other_rules(place: Place) -> None:
    place.published(HOUR)
    ticket, late = place.reported(), time.time() + 1.5
    eventually(lambda: time.time() > late)  # too late for a promise of one second
    place.done(ticket, "resolve", resolution="done")
    stricter = ("whatif", "--policy", place.rules(1))

    def verdicts(*words: str | Path) -> list[Any]:
        found = place.json(*words)["differences"]
        return [one["verdicts"] for one in found if one["target"] == place.target]

    assert verdicts("whatif", "--policy", place.rules(HOUR)) == [{"met": {"met": 1}}]
    place.rules(1)
    assert verdicts(*stricter) == [{"met": {"missed": 1}}]
    lines = place.run(*stricter).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith(f"{place.target} ")]
    assert line.split()[-3:] == ["met", "missed", "1"]
    assert lines[0].endswith(" with another verdict")
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert verdicts(*stricter, "--to", tomorrow) == [{"met": {"missed": 1}}]
    assert place.json(*stricter, "--from", tomorrow)["tickets"] == 0


def test_predictions_are_measured(place: Place) -> None:
    place.published(HOUR)
    place.done(place.reported(), "resolve", resolution="done")
    found = place.json("calibrate")
    assert found["tested_on"] >= 1
    assert len(found["bins"]) == 10
    told = place.run("calibrate", "--policy", place.rules(2 * HOUR))
    assert told.exit_code == 0, told.stderr
    assert told.stdout.startswith("learnt from ")


def test_the_agreement_in_the_docs_can_be_published_and_signed_as_it_stands(place: Place) -> None:
    file = Path(__file__).parents[2] / "docs" / "agreements" / "acme.yaml"
    assert place.run("agreement", "publish", file).stdout == "published acme-1 version 1\n"
    again = place.run("agreement", "publish", file)
    assert again.stdout == "published before: acme-1 version 1\n"
    for party in ("customer", "provider"):
        signature = ("--version", "1", "--party", party, "--signatory", "Ann Example")
        signed = place.run("agreement", "sign", "acme-1", *signature)
        assert signed.exit_code == 0, signed.stderr
    place.desk.settle()
    (listed,) = place.json("agreement", "list")["agreements"]
    (version,) = listed["versions"]
    assert version["signatures"].keys() == {"customer", "provider"}
    assert [measure["name"] for measure in version["document"]["measures"]] == [
        *("solved in time", "mail is up"),
    ]


# --- Errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("explain", UNKNOWN), 1, f"no ticket {UNKNOWN} was known"),
        (("export", UNKNOWN), 1, f"no ticket {UNKNOWN} was known"),
        (("explain", "VPN"), 1, "nothing here has the id or number 'VPN'"),
        (("export", "../x"), 1, "Nothing is served at"),
        (("explain", UNKNOWN, "--at", "yesterday"), 1, "at: "),
        (("attainment", "--from", "yesterday"), 2, "Invalid value for --from: 'yesterday'"),
        (("attainment", "--to", "2026-02-30"), 2, "Invalid value for --to: '2026-02-30'"),
        (("attainment", "--by", "colour"), 1, "by: "),
        (("attainment", "--zone", "Mars/Base"), 1, "no time zone is called 'Mars/Base'"),
        (("at-risk", "--limit", "0"), 2, "--limit"),
        (("whatif", "--policy", "none.yaml"), 2, "none.yaml: No such file"),
        (("calibrate", "--policy", "none.yaml"), 2, "none.yaml: No such file"),
        (("whatif", "--policy", "-", "--from", "soon"), 2, "Invalid value for --from: 'soon'"),
        (("diff", "none.yaml"), 2, "none.yaml: No such file"),
    ],
)
def test_a_mistake_is_named(place: Place, words: tuple[str, ...], code: int, said: str) -> None:
    result = place.run(*words, typed="policies: []")
    assert result.exit_code == code, result.output
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""


@pytest.mark.parametrize("command", ["whatif", "calibrate"])
def test_other_rules_that_make_no_sense_are_refused(place: Place, command: str) -> None:
    rules = {"policies": [{"id": "x", "targets": [{**promise(1), "calendar": "moon"}]}]}
    result = place.run(command, "--policy", place.file(rules))
    assert result.exit_code == 1
    assert result.stderr == ("desk: /policies/0/targets/0/calendar: no calendar is called 'moon'\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("explain", UNKNOWN), "no desk runs on"),
        (("publish", "-"), "no desk runs on"),
        (("at-risk",), "no desk runs on"),
        (("whatif", "--policy", "-"), "there is no desk in"),
        (("calibrate",), "there is no desk in"),
    ],
)
def test_without_a_desk_there_is_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DESK_URL", "DESK_TOKEN", "DESK_KAFKA"):
        monkeypatch.delenv(name, raising=False)
    arguments = ["sla", *words, "--data", str(tmp_path / "none")]
    result = CliRunner().invoke(app, arguments, input="policies: []")
    assert result.exit_code == 1
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
