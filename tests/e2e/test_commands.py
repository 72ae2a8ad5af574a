"""What a newcomer types: commands against one running desk."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.desk import DESK, DeskProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeskProcess]:
    with DeskProcess(tmp_path_factory.mktemp("commands") / "desk") as running:
        yield running


def said(desk: DeskProcess, *words: str) -> str:
    done = desk.run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(desk: DeskProcess, *words: str) -> str:
    done = desk.run(*words)
    assert (done.returncode, done.stdout) == (1, "")
    return done.stderr


def reported(desk: DeskProcess, **more: Any) -> dict[str, Any]:
    body = {"requester": {"id": "ann"}, "title": "VPN drops", **more}
    return desk.post("/intake/tickets", body, Prefer="wait=5").json()


# --- The roster ------------------------------------------------------------------------------


def test_an_agent_is_registered_and_gets_tickets(desk: DeskProcess) -> None:
    words = ("agents", "register", "bo.li", "--group", "service-desk", "--skill", "network")
    done = "bo.li is on the roster: group service-desk, line 1, skills network, 20 tickets at most"
    assert said(desk, *words) == f"{done}\n"
    ticket = reported(desk, category="network")["ticket_id"]
    desk.settle()
    assert desk.get(f"/routing/tickets/{ticket}")["agent_id"] == "bo.li"
    agents = json.loads(said(desk, "agents", "list", "--json"))["agents"]
    (agent,) = [agent for agent in agents if agent["agent_id"] == "bo.li"]
    assert (agent["name"], agent["workload"], agent["available"]) == ("bo.li", 1, True)


def test_an_agent_who_is_away_gets_nothing_new(desk: DeskProcess) -> None:
    said(desk, "agents", "register", "cy", "--group", "software-support", "--name", "Cy Wu")
    assert said(desk, "agents", "away", "cy") == "cy takes no new tickets\n"
    (row,) = [line for line in said(desk, "agents", "list").splitlines() if "Cy Wu" in line]
    assert row.split()[-1] == "no"
    assert said(desk, "agents", "back", "cy") == "cy takes new tickets\n"
    assert "no agent dy" in refused(desk, "agents", "away", "dy")


# --- What is named ---------------------------------------------------------------------------


def test_a_ticket_is_named_by_its_number(desk: DeskProcess) -> None:
    number = reported(desk)["number"]
    desk.settle()
    assert "policy standard v1" in said(desk, "sla", "explain", number)
    assert json.loads(said(desk, "sla", "export", number))["events"]
    assert "INC-999999" in refused(desk, "sla", "explain", "INC-999999")


def test_what_is_not_there_is_refused_by_name(desk: DeskProcess) -> None:
    wrong = refused(desk, "token", "issue", "--role", "agent", "--service", "foo")
    assert "no service is called 'foo'; there are intake, routing, sla" in wrong
    nowhere = refused(desk, "deliveries", "redrive", "intake", "--to", "http://127.0.0.1:1/x")
    assert "no delivery of intake for http://127.0.0.1:1/x is dead" in nowhere


def test_kpis_say_what_they_mean(desk: DeskProcess) -> None:
    for words in ("report", "kpi"), ("report", "kpi", "--help"):
        done = subprocess.run(
            [DESK, *words], capture_output=True, text=True, check=True, env=env(desk)
        )
        for name in (
            "ART: average reply",
            "MTTR: mean time",
            "FCR: first-contact",
            "CSAT: customer",
        ):
            assert name in " ".join(done.stdout.replace("│", " ").split())


def env(desk: DeskProcess) -> dict[str, str]:
    return {**os.environ, "DESK_DATA": str(desk.data), "COLUMNS": "400"}


# --- Started by a script ---------------------------------------------------------------------


def test_a_desk_that_a_script_put_behind_itself_ends_at_ctrl_c(tmp_path: Path) -> None:
    """Shells have what they start with & ignore SIGINT; the desk takes it all the same."""
    data = tmp_path / "desk"
    with DeskProcess(data, before="trap '' INT") as running:
        assert running.stop(signal.SIGINT) == 0
