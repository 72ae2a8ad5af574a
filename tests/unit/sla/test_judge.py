"""Worked examples of the clocks. Office: Mon–Fri 09:00–18:00 in Berlin; 2025-06-02 is a Monday."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from services.sla.domain.clocks import Clock, judge
from services.sla.domain.defaults import default_calendars, default_policy
from services.sla.domain.history import Fact
from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, round_the_clock
from shared.contracts.base import EventData
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketHeld,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
)
from shared.contracts.routing import TicketPrioritized
from shared.contracts.sla import SlaPolicyPublished, Target
from shared.errors import InvalidInputError

SCENARIOS = Path(__file__).parents[4] / "shared" / "data" / "sla-scenarios.json"
ID = UUID(int=7)
MONDAY = datetime(2025, 6, 2, 9, tzinfo=UTC)  # 11:00 in Berlin
CALENDARS = {
    ROUND_THE_CLOCK: round_the_clock(),
    "office": WorkingCalendar.published(default_calendars("Europe/Berlin")[0]),
}


def created(kind: Any = "incident") -> TicketCreated:
    return TicketCreated(
        ticket_id=ID,
        number="INC-000001",
        kind=kind,
        title="VPN drops",
        description="",
        requester=Requester(id="ann"),
        occurred_at=MONDAY,
        impact=None,
        urgency=None,
        scope=Scope(),
        category=None,
        service=None,
        channel="api",
        origin="test",
    )


def ranked(priority: Any) -> TicketPrioritized:
    return TicketPrioritized(
        ticket_id=ID,
        priority=priority,
        impact="low",
        urgency="low",
        reasons=(),
        policy_version=1,
    )


def said(role: Any = "agent", visibility: Any = "public") -> TicketCommented:
    return TicketCommented(
        ticket_id=ID,
        comment_id=UUID(int=8),
        author_id="bo",
        author_role=role,
        visibility=visibility,
        text="On it.",
    )


def held(reason: str = "requester") -> TicketHeld:
    return TicketHeld(ticket_id=ID, reason=reason)


STARTED = TicketStarted(ticket_id=ID, agent_id="bo")
RESUMED = TicketResumed(ticket_id=ID)
RESOLVED = TicketResolved(ticket_id=ID, resolved_by="bo", resolution="new certificate")
CLOSED = TicketClosed(ticket_id=ID, closed_by="bo", code="solved", resolved_at=None, reopen_count=0)
REOPENED = TicketReopened(ticket_id=ID, reopened_by="ann", reason="again", reopen_count=1)
CANCELLED = TicketCancelled(ticket_id=ID, cancelled_by="ann", reason="a mistake")


def minutes(count: float) -> datetime:
    return MONDAY + timedelta(minutes=count)


def history(*told: tuple[float, EventData]) -> list[Fact]:
    """Facts at so many minutes after the start, numbered per writer as they come."""
    last = {"intake": 0, "routing": 0}
    facts: list[Fact] = []
    for after, data in told:
        writer = "routing" if isinstance(data, TicketPrioritized) else "intake"
        last[writer] += 1
        facts.append(Fact(minutes(after), writer, last[writer], data))
    return facts


def clocks(*told: tuple[float, EventData], until: float, target: str = "resolution") -> list[Clock]:
    ledger = judge(history(*told), default_policy(), CALENDARS, minutes(until))
    return [clock for clock in ledger if clock.target == target]


def clock(*told: tuple[float, EventData], until: float, target: str = "resolution") -> Clock:
    (only,) = clocks(*told, until=until, target=target)
    return only


P1 = ((0, created()), (0, ranked("P1")))


def test_a_ticket_without_priority_has_no_clock() -> None:
    assert clocks((0, created()), until=600) == []


def test_a_p1_is_due_in_four_hours_round_the_clock_and_warned_at_three() -> None:
    seen = clock(*P1, until=60)
    assert (seen.state, seen.due_at, seen.warn_at) == ("open", minutes(240), minutes(180))
    assert (seen.started_at, seen.elapsed_seconds, seen.stopped_at) == (MONDAY, 3600, None)
    assert (seen.calendar, seen.goal_seconds, seen.policy_version) == ("24x7", 14400, 1)


def test_a_p3_counts_office_hours() -> None:
    """Monday 11:00 local: 7 h on Monday, 9 h on Tuesday, the last 8 h end Wednesday 17:00."""
    seen = clock((0, created()), (1, ranked("P3")), until=60)
    assert seen.due_at == datetime(2025, 6, 4, 15, tzinfo=UTC)


def test_a_priority_that_comes_later_is_judged_from_the_tickets_start() -> None:
    seen = clock((0, created()), (200, ranked("P1")), until=201)
    assert (seen.started_at, seen.due_at) == (MONDAY, minutes(240))
    assert seen.warn_at is None, "the warning lies before the clock came to be"


@pytest.mark.parametrize("stop", [said(), STARTED, RESOLVED, CLOSED])
def test_a_response_is_stopped_by_a_public_reply_or_by_work(stop: EventData) -> None:
    seen = clock(*P1, (10, stop), until=60, target="response")
    assert (seen.state, seen.stopped_at, seen.elapsed_seconds) == ("met", minutes(10), 600)


@pytest.mark.parametrize("data", [said("requester"), said(visibility="internal"), held()])
def test_a_response_is_not_stopped_by_anything_else(data: EventData) -> None:
    seen = clock(*P1, (10, data), until=20, target="response")
    assert (seen.state, seen.stopped_at, seen.breached_at) == ("missed", None, minutes(15))


@pytest.mark.parametrize(
    ("after", "state", "breached_at"),
    [(240, "met", None), (240 + 1 / 60, "missed", minutes(240))],
)
def test_a_stop_exactly_at_the_deadline_is_met(after: float, state: str, breached_at: Any) -> None:
    seen = clock(*P1, (after, RESOLVED), until=300)
    assert (seen.state, seen.breached_at, seen.due_at) == (state, breached_at, minutes(240))


def test_an_on_hold_ticket_does_not_burn_its_sla() -> None:
    seen = clock(*P1, (60, held("vendor")), until=500)
    assert (seen.state, seen.due_at, seen.warn_at) == ("paused", None, None)
    assert (seen.pause_reason, seen.paused_at) == ("vendor", minutes(60))
    assert (seen.elapsed_seconds, seen.paused_seconds) == (3600, 440 * 60)


def test_a_resumed_ticket_is_due_as_much_later_as_it_was_held() -> None:
    seen = clock(*P1, (60, held()), (160, RESUMED), until=200)
    assert (seen.state, seen.due_at, seen.warn_at) == ("open", minutes(340), minutes(280))
    assert (seen.resumed_at, seen.paused_seconds) == (minutes(160), 6000)
    assert seen.promised_at == minutes(240)


def test_a_hold_after_the_deadline_does_not_undo_the_breach() -> None:
    seen = clock(*P1, (250, held()), until=300)
    assert (seen.state, seen.due_at, seen.breached_at) == ("missed", minutes(240), minutes(240))


def test_a_hold_exactly_at_the_deadline_leaves_the_deadline() -> None:
    seen = clock(*P1, (240, held()), (300, RESUMED), (301, RESOLVED), until=301)
    assert (seen.state, seen.due_at) == ("missed", minutes(240))


@pytest.mark.parametrize(
    ("after", "warn_at"), [(60, None), (180, None), (181, minutes(180)), (300, minutes(180))]
)
def test_there_is_no_warning_at_or_after_the_end(after: float, warn_at: Any) -> None:
    assert clock(*P1, (after, RESOLVED), until=400).warn_at == warn_at


def test_a_hold_told_of_a_solved_ticket_counts_from_its_reopening() -> None:
    told = ((60, RESOLVED), (70, held()), (100, REOPENED), (130, RESUMED))
    _, second = clocks(*P1, *told, until=200)
    assert (second.paused_seconds, second.elapsed_seconds) == (30 * 60, 130 * 60)
    assert second.due_at == minutes(310)


def test_only_the_state_after_an_instant_pauses() -> None:
    seen = clock(*P1, (60, held()), (60, RESUMED), until=100)
    assert (seen.due_at, seen.paused_seconds) == (minutes(240), 0)


def test_split_seconds_add_up_exactly() -> None:
    """Three running parts make exactly four hours; then comes a hold that must not matter."""
    parts = (27_845_000, 82_477_577, 4 * 3600 * 1_000_000 - 27_845_000 - 82_477_577)
    facts = history(*P1)
    at = MONDAY
    for part in parts:
        at += timedelta(microseconds=part)
        facts.append(Fact(at, "intake", len(facts) + 1, held()))
        due_at, at = at, at + timedelta(hours=1)
        facts.append(Fact(at, "intake", len(facts) + 1, RESUMED))
    seen = judge(facts, default_policy(), CALENDARS, at + timedelta(hours=1))[1]
    assert (seen.target, seen.due_at) == ("resolution", due_at)


def test_a_second_hold_replaces_the_reason() -> None:
    seen = clock(*P1, (60, held("vendor")), (80, held("requester")), until=100)
    assert (seen.pause_reason, seen.paused_at) == ("requester", minutes(80))
    assert seen.paused_seconds == 40 * 60


def test_a_solution_while_on_hold_ends_the_pause_with_the_clock() -> None:
    seen = clock(*P1, (60, held()), (90, RESOLVED), until=100)
    assert (seen.state, seen.due_at, seen.paused_seconds) == ("met", minutes(270), 1800)


def test_a_reopened_resolution_runs_on_and_the_spell_between_does_not_count() -> None:
    first, second = clocks(*P1, (60, RESOLVED), (100, REOPENED), until=150)
    assert (first.cycle, first.state, first.due_at) == (1, "met", minutes(240))
    assert (second.cycle, second.generation, second.state) == (2, 1, "open")
    assert (second.started_at, second.due_at) == (MONDAY, minutes(280))
    assert (second.elapsed_seconds, second.paused_seconds) == (110 * 60, 0)
    assert second.promised_at == minutes(280)


def test_a_reopened_ticket_owes_no_second_response() -> None:
    seen = clock(*P1, (5, said()), (60, RESOLVED), (100, REOPENED), until=150, target="response")
    assert (seen.cycle, seen.stopped_at) == (1, minutes(5))


def test_closing_after_the_solution_changes_nothing() -> None:
    seen = clock(*P1, (60, RESOLVED), (900, CLOSED), until=1000)
    assert (seen.state, seen.stopped_at) == ("met", minutes(60))


def test_a_cancelled_ticket_ends_its_clocks_for_good() -> None:
    seen = clock(*P1, (60, CANCELLED), (70, REOPENED), until=300)
    assert (seen.state, seen.stopped_at, seen.breached_at) == ("cancelled", minutes(60), None)


def test_another_priority_supersedes_the_clock_and_keeps_start_and_pauses() -> None:
    first, second = clocks(
        *P1, (10, held()), (20, RESUMED), (30, ranked("P2")), (700, RESOLVED), until=800
    )
    assert (first.generation, first.state, first.stopped_at) == (1, "superseded", minutes(30))
    assert (first.due_at, first.elapsed_seconds) == (minutes(250), 20 * 60)
    assert (second.generation, second.state, second.due_at) == (2, "missed", minutes(490))
    assert (second.started_at, second.paused_seconds) == (MONDAY, 600)
    assert second.promised_at == minutes(490)


def test_a_clock_that_attaches_late_is_breached_at_once() -> None:
    first, second = clocks((0, created()), (0, ranked("P2")), (300, ranked("P1")), until=301)
    assert (first.state, first.breached_at) == ("superseded", None)
    assert (second.state, second.breached_at, second.warn_at) == ("missed", minutes(240), None)


def test_the_same_row_keeps_the_clock_whatever_the_priority() -> None:
    told = ((0, created("service_request")), (0, ranked("P3")), (30, ranked("P1")))
    seen = clock(*told, until=60)
    assert (seen.generation, seen.state, seen.calendar) == (1, "open", "office")
    assert [c.generation for c in clocks(*told, until=60, target="response")] == [1, 2]


def test_a_priority_at_the_instant_of_the_stop_still_gives_a_clock() -> None:
    seen = clock((0, created()), (0, RESOLVED), (0, ranked("P1")), until=1)
    assert (seen.state, seen.stopped_at, seen.elapsed_seconds) == ("met", MONDAY, 0)


def test_a_priority_after_the_stop_gives_no_clock_until_reopened() -> None:
    told = ((0, created()), (10, RESOLVED), (20, ranked("P1")))
    assert clocks(*told, until=30) == []
    assert [c.cycle for c in clocks(*told, (25, REOPENED), until=30)] == [2]


def test_where_no_row_matches_any_more_the_clock_is_cancelled_and_may_come_back() -> None:
    policy = SlaPolicyPublished(
        policy_id="p",
        version=3,
        targets=(Target(name="resolution", priority="P1", calendar="24x7", goal_seconds=14400),),
    )
    facts = history(*P1, (10, ranked("P4")), (20, ranked("P1")))
    ledger = judge(facts, policy, CALENDARS, minutes(30))
    assert [(c.generation, c.state) for c in ledger] == [(1, "cancelled"), (2, "open")]
    assert {c.policy_version for c in ledger} == {3}


def test_facts_later_than_the_reading_do_not_count() -> None:
    assert clock(*P1, (60, RESOLVED), until=59).state == "open"


def test_a_policy_that_names_an_unknown_calendar_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="calendar 24x7"):
        judge(history(*P1), default_policy(), {}, MONDAY)


DATA: dict[str, EventData] = {
    "ticket.created": created(),
    "ticket.started": STARTED,
    "ticket.resumed": RESUMED,
    "ticket.resolved": RESOLVED,
    "ticket.closed": CLOSED,
    "ticket.reopened": REOPENED,
    "ticket.cancelled": CANCELLED,
}


def fitting_scenarios() -> list[Any]:
    if not SCENARIOS.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {SCENARIOS}"))]
    return [
        pytest.param(scenario, id=scenario["id"])
        for scenario in json.loads(SCENARIOS.read_text())
        if resolution_of(scenario) and "clocks" in scenario["expect"]
    ]


def resolution_of(scenario: Any) -> Any:
    """Return the scenario's resolution target if it promises what this desk can promise."""
    targets = [target for policy in scenario["policies"] for target in policy["targets"]]
    fitting = [target for target in targets if target["name"] == "resolution"]
    kinds = {event["type"] for event in scenario["events"]}
    if len(fitting) != 1 or not kinds <= {*DATA, "ticket.held", "ticket.commented"}:
        return None
    (target,) = fitting
    is_ours = (
        target["start"] == ["created"]
        and target["stop"] == ["resolved", "closed"]
        and "working_seconds" in target["goal"]
        and not target.get("when")
        and (target.get("pause") == ["held"] or "ticket.held" not in kinds)
    )
    return target if is_ours else None


@pytest.mark.realdata
@pytest.mark.parametrize("scenario", fitting_scenarios())
def test_the_scenarios_come_out_as_written(scenario: Any) -> None:
    target = resolution_of(scenario)
    calendars = {ROUND_THE_CLOCK: round_the_clock()}
    for fields in scenario.get("calendars", ()):
        calendars[fields["id"]] = WorkingCalendar(
            **{name: value for name, value in fields.items() if name != "id"}
        )
    policy = SlaPolicyPublished(
        policy_id="p",
        version=1,
        targets=(
            Target(
                name="resolution",
                calendar=target.get("calendar", ROUND_THE_CLOCK),
                goal_seconds=target["goal"]["working_seconds"],
            ),
        ),
    )
    facts: list[Fact] = []
    for place, event in enumerate(scenario["events"], 1):
        at = datetime.fromisoformat(event["time"])
        given = event.get("data") or {}
        data = DATA.get(event["type"]) or (
            held(given.get("reason", "requester"))
            if event["type"] == "ticket.held"
            else said(given["author"], "public" if given.get("public", True) else "internal")
        )
        facts.append(Fact(at, "intake", place, data))
        if event["type"] == "ticket.created":
            facts.append(Fact(at, "routing", place, ranked("P1")))
    until = datetime.fromisoformat(
        scenario.get("until") or max(e["time"] for e in scenario["events"])
    )
    ledger = judge(facts, policy, calendars, until)
    expected = [c for c in scenario["expect"]["clocks"] if c["target"] == "resolution"]
    assert len(ledger) == len(expected)
    for seen, wanted in zip(ledger, expected, strict=True):
        for name in ("started_at", "due_at", "stopped_at", "breached_at"):
            at = wanted.get(name)
            if name in wanted and not (name == "due_at" and seen.state == "paused"):
                assert getattr(seen, name) == (at and datetime.fromisoformat(at)), name
        for name in ("elapsed_seconds", "paused_seconds"):
            assert getattr(seen, name) == wanted.get(name, getattr(seen, name)), name
        assert seen.state == wanted.get("outcome", seen.state)
