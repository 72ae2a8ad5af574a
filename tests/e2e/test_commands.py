"""What a newcomer types: commands against one running desk."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.desk import DeskProcess

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
    assert "no agents; `desk agents register` takes one on" in said(desk, "agents", "list")
    words = ("agents", "register", "bo.li", "--group", "service-desk", "--skill", "network")
    done = "bo.li is on the roster: group service-desk, line 1, skills network, 20 tickets at most"
    assert said(desk, *words) == f"{done}\n"
    ticket = reported(desk, category="network")["ticket_id"]
    desk.settle()
    assert desk.get(f"/routing/tickets/{ticket}")["agent_id"] == "bo.li"
    (agent,) = json.loads(said(desk, "agents", "list", "--json"))["agents"]
    assert (agent["name"], agent["workload"], agent["available"]) == ("bo.li", 1, True)


def test_an_agent_who_is_away_gets_nothing_new(desk: DeskProcess) -> None:
    said(desk, "agents", "register", "cy", "--group", "software-support", "--name", "Cy Wu")
    assert said(desk, "agents", "away", "cy") == "cy takes no new tickets\n"
    (row,) = [line for line in said(desk, "agents", "list").splitlines() if "Cy Wu" in line]
    assert row.split()[-1] == "no"
    assert said(desk, "agents", "back", "cy") == "cy takes new tickets\n"
    assert "no agent dy" in refused(desk, "agents", "away", "dy")
