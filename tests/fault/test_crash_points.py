"""SIGKILL at every named place: nothing acknowledged is lost, nothing is doubled."""

import signal
from pathlib import Path
from typing import get_args

import httpx
import pytest
from support.desk import DeskProcess
from support.invariants import check_invariants
from support.promises import promise

from shared.runtime.crash import VARIABLE, CrashPoint

REPORTS = 12
BY_ITSELF = sorted(set(get_args(CrashPoint)) - {"rebuild.before_switch", "timer.before_commit"})


def report(desk: DeskProcess, number: int) -> str | None:
    """Report a ticket; return its id if the desk says that it exists."""
    body = {"requester": {"id": "ann"}, "title": f"Report {number}", "category": "network"}
    try:
        answer = desk.post("/intake/tickets", body, **{"Idempotency-Key": f"key-{number}"})
    except httpx.TransportError:
        return None
    return answer.json()["ticket_id"] if answer.is_success else None


def report_all(desk: DeskProcess) -> set[str]:
    return {ticket for n in range(REPORTS) if (ticket := report(desk, n)) is not None}


@pytest.mark.parametrize("point", BY_ITSELF)
@pytest.mark.timeout(120)
def test_a_desk_killed_there_loses_and_doubles_nothing(point: str, tmp_path: Path) -> None:
    desk = DeskProcess(tmp_path / "desk")
    with desk:
        acknowledged = report_all(desk)
        desk.settle()
        desk.stop()
    crashing = DeskProcess(tmp_path / "desk", env={VARIABLE: f"{point}:2"})
    with crashing:
        for number in range(REPORTS, 3 * REPORTS):
            if (ticket := report(crashing, number)) is not None:
                acknowledged.add(ticket)
        assert crashing.wait_for_death() == -signal.SIGKILL
    with desk:
        for number in range(3 * REPORTS):  # the caller repeats what it has no answer for
            ticket = report(desk, number)
            assert ticket is not None
            acknowledged.add(ticket)
        desk.settle()
        assert len(acknowledged) == 3 * REPORTS
        check_invariants(desk.data, acknowledged)


@pytest.mark.timeout(120)
def test_a_desk_killed_while_a_timer_fires_breaches_once(tmp_path: Path) -> None:
    crashing = DeskProcess(tmp_path / "desk", env={VARIABLE: "timer.before_commit"})
    with crashing:
        targets = [promise(1)]
        assert crashing.client.put("/sla/policies/standard", json={"targets": targets}).is_success
        ticket = report(crashing, 1)
        assert ticket is not None
        assert crashing.wait_for_death() == -signal.SIGKILL
    with DeskProcess(tmp_path / "desk") as desk:
        desk.settle()
        check_invariants(desk.data, [ticket])
        timeline = desk.get(f"/reporting/tickets/{ticket}/timeline")["timeline"]
        assert [event["type"] for event in timeline].count("sla.breached") == 1


@pytest.mark.timeout(120)
def test_a_rebuild_killed_before_its_switch_changes_nothing(tmp_path: Path) -> None:
    with DeskProcess(tmp_path / "desk", env={VARIABLE: "rebuild.before_switch"}) as desk:
        acknowledged = report_all(desk)
        desk.settle()
        assert desk.run("replay", "rebuild", "intake").returncode == -signal.SIGKILL
        assert report(desk, REPORTS) is not None
        desk.settle()
        check_invariants(desk.data, acknowledged)


@pytest.mark.timeout(120)
def test_a_rebuild_under_load_loses_nothing(tmp_path: Path) -> None:
    with DeskProcess(tmp_path / "desk") as desk:
        acknowledged = report_all(desk)
        assert desk.run("replay", "rebuild").returncode == 0
        acknowledged.add(str(report(desk, REPORTS)))
        desk.settle()
        check_invariants(desk.data, acknowledged)


@pytest.mark.kafka
@pytest.mark.timeout(180)
@pytest.mark.parametrize("point", ["relay.after_send", "consumer.before_commit"])
def test_on_kafka_too(point: str, tmp_path: Path, kafka_bootstrap: str, topic_prefix: str) -> None:
    kafka = ("--kafka", kafka_bootstrap)
    env = {"DESK_TOPIC_PREFIX": topic_prefix, "DESK_PARTITIONS": "2"}
    acknowledged: set[str] = set()
    crashing = DeskProcess(tmp_path / "desk", *kafka, env={**env, VARIABLE: f"{point}:9"})
    with crashing:
        for number in range(3 * REPORTS):
            if (ticket := report(crashing, number)) is not None:
                acknowledged.add(ticket)
        assert crashing.wait_for_death() == -signal.SIGKILL
    desk = DeskProcess(tmp_path / "desk", *kafka, env=env)
    with desk, pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        acknowledged |= {str(report(desk, number)) for number in range(3 * REPORTS)}
        desk.settle()
        check_invariants(desk.data, acknowledged, kafka_bootstrap)
