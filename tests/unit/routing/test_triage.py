"""Rank, assignment and escalation, with their reasons."""

from uuid import UUID

import msgspec
import pytest

from services.routing.domain.policy import check, default_policy
from services.routing.domain.state import TicketRouting, evolve
from services.routing.domain.triage import (
    Agent,
    AssignTicket,
    assign,
    escalate,
    prioritize,
    reassign,
    triage,
)
from shared.contracts.base import Level
from shared.contracts.intake import Scope, TicketUpdated
from shared.contracts.routing import MatrixCell
from shared.errors import InvalidInputError

ID = UUID(int=1)
POLICY = default_policy()
NOWHERE = Scope()
MATRIX = """
        high medium low
high    P1   P2     P3
medium  P2   P3     P4
low     P3   P4     P4
"""
HEAD, *ROWS = [line.split() for line in MATRIX.strip().splitlines()]
CELLS = [
    (row[0], urgency, cell) for row in ROWS for urgency, cell in zip(HEAD, row[1:], strict=True)
]


def record(
    impact: Level | None = None,
    urgency: Level | None = None,
    scope: Scope = NOWHERE,
    category: str | None = "network",
) -> TicketUpdated:
    return TicketUpdated(
        ticket_id=ID,
        title="VPN",
        description="",
        impact=impact,
        urgency=urgency,
        scope=scope,
        category=category,
        service=None,
    )


def agent(name: str, workload: int = 0, **changes: object) -> Agent:
    fields: dict[str, object] = {
        "agent_id": name,
        "group": "service-desk",
        "skills": frozenset({"network"}),
        "is_available": True,
        "workload": workload,
        "workload_max": 5,
        **changes,
    }
    return Agent(**fields)  # type: ignore[arg-type]


def roster(*agents: Agent) -> dict[str, Agent]:
    return {one.agent_id: one for one in agents}


@pytest.mark.parametrize(("impact", "urgency", "priority"), CELLS)
def test_the_whole_matrix(impact: Level, urgency: Level, priority: str) -> None:
    ranked = prioritize(record(impact, urgency), POLICY)
    assert ranked.priority == priority
    assert ranked.reasons[-1] == f"{priority} = {impact} × {urgency} in policy default v1"


@pytest.mark.parametrize(
    ("scope", "impact"),
    [
        (Scope(), "low"),
        (Scope(people=4), "low"),
        (Scope(people=5), "medium"),
        (Scope(people=49, sites=1), "medium"),
        (Scope(people=50), "high"),
        (Scope(sites=2), "medium"),
        (Scope(sites=3), "high"),
    ],
)
def test_impact_left_out_comes_from_the_scope(scope: Scope, impact: str) -> None:
    assert prioritize(record(scope=scope), POLICY).impact == impact


def test_urgency_left_out_is_medium_and_says_so() -> None:
    ranked = prioritize(record("high"), POLICY)
    assert ranked.urgency == "medium"
    assert "urgency medium: not reported" in ranked.reasons


def test_the_agent_with_the_fewest_open_tickets_gets_it_ties_by_name() -> None:
    given = assign(
        ID,
        "network",
        TicketRouting(),
        POLICY,
        roster(agent("cy", 1), agent("bo", 1), agent("al", 2)),
    )
    assert (given.group, given.agent_id, given.line) == ("service-desk", "bo", 1)
    assert "bo has the fewest open tickets" in given.reasons[1]


@pytest.mark.parametrize(
    "unfit",
    [
        {"group": "network-support"},
        {"is_available": False},
        {"skills": frozenset({"hardware"})},
        {"workload": 5},
    ],
)
def test_who_cannot_take_it_is_passed_over(unfit: dict[str, object]) -> None:
    other = agent("al", **{"workload": 0, **unfit})  # type: ignore[arg-type]
    given = assign(ID, "network", TicketRouting(), POLICY, roster(other))
    assert given.agent_id is None
    assert "nobody in service-desk is free" in given.reasons[1]


def test_deciding_twice_adds_nothing() -> None:
    state = TicketRouting()
    for event in triage(record("high", "high"), state, POLICY, {}):
        state = evolve(state, event)
    assert triage(record("high", "high"), state, POLICY, {}) == []


def test_a_correction_may_change_the_rank_but_moves_the_ticket_to_nobody() -> None:
    state = TicketRouting()
    for event in triage(record("low", "low"), state, POLICY, {}):
        state = evolve(state, event)
    news = triage(record("high", "high"), state, POLICY, roster(agent("bo")))
    assert [type(event).__name__ for event in news] == ["TicketPrioritized"]


def test_a_breach_takes_the_ticket_up_line_by_line_once_each() -> None:
    state = TicketRouting(group="service-desk", line=1)
    groups: list[str | None] = []
    for cause in ("a", "b", "c", "a"):
        for event in escalate(record(), state, POLICY, {}, cause=cause, reason="late"):
            state = evolve(state, event, cause)
        groups.append(state.group)
    assert groups == ["network-support", "network-experts", "network-experts", "network-experts"]
    assert (state.line, state.escalation_count, state.reassignment_count) == (3, 2, 2)


def test_the_same_breach_twice_escalates_once() -> None:
    state = TicketRouting(group="service-desk", line=1)
    for event in escalate(record(), state, POLICY, {}, cause="a", reason="late"):
        state = evolve(state, event, "a")
    assert escalate(record(), state, POLICY, {}, cause="a", reason="late") == []


def test_assigning_by_hand_counts_as_a_reassignment_and_repeating_it_does_not() -> None:
    state = TicketRouting(group="service-desk", agent_id="bo")
    command = AssignTicket(ID, "network-support", "cy", None, "knows the site")
    (given,) = reassign(command, state)
    assert given.reassignment_count == 1
    assert reassign(command, evolve(state, given)) == []


def test_a_policy_that_leaves_something_open_is_refused() -> None:
    check(POLICY)
    short = msgspec.structs.replace(POLICY, matrix=POLICY.matrix[1:])
    twice = msgspec.structs.replace(
        POLICY, matrix=(*POLICY.matrix, MatrixCell(impact="low", urgency="low", priority="P1"))
    )
    for policy, field in ((short, "/matrix"), (twice, "/matrix")):
        with pytest.raises(InvalidInputError) as caught:
            check(policy)
        assert caught.value.field == field
    double = msgspec.structs.replace(POLICY, desks=(*POLICY.desks, POLICY.desks[0]))
    with pytest.raises(InvalidInputError) as caught:
        check(double)
    assert caught.value.field == "/desks/4/category"
