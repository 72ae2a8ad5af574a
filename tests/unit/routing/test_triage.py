"""Rank, assignment and escalation, with their reasons."""

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from msgspec.structs import replace

from services.routing.domain.policy import check, default_policy
from services.routing.domain.state import Reported, RoutedTicket, TicketRouting, evolve
from services.routing.domain.triage import (
    Agent,
    AssignTicket,
    assign,
    check_assignment,
    escalate,
    prioritize,
    rank,
    reassign,
    reconsider,
)
from shared.contracts.base import Level
from shared.contracts.intake import Scope
from shared.contracts.routing import Desk, MatrixCell
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
) -> Reported:
    return Reported(ID, category, impact, urgency, scope)


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


def test_a_rank_that_stands_is_not_said_again() -> None:
    state = TicketRouting()
    for event in rank(record("high", "high"), state, POLICY):
        state = evolve(state, event)
    assert rank(record("high", "high"), state, POLICY) == []
    assert [event.priority for event in rank(record("low", "low"), state, POLICY)] == ["P4"]


def test_breaches_take_the_ticket_up_line_by_line_and_the_last_line_keeps_it() -> None:
    state = TicketRouting(group="service-desk", line=1)
    groups: list[str | None] = []
    for _ in range(3):
        for event in escalate(record(), state, POLICY, {}, reason="late"):
            state = evolve(state, event)
        groups.append(state.group)
    assert groups == ["network-support", "network-experts", "network-experts"]
    assert (state.line, state.escalation_count, state.reassignment_count) == (3, 2, 2)


# --- Asked again ---------------------------------------------------------------------------------

SITES = msgspec.structs.replace(
    POLICY,
    desks=(*POLICY.desks, Desk(category="facilities", groups=("caretakers",))),
)
AT_BO = RoutedTicket(
    ticket_id=str(ID),
    record_seq=1,
    category="network",
    created_at=datetime(2026, 1, 5, 9, tzinfo=UTC),
    progress_seq=1,
    is_live=True,
    group="service-desk",
    agent_id="bo",
)
WAITING = replace(AT_BO, agent_id=None, skill="network", policy_version=1)
RESOLVED = replace(AT_BO, is_open=False, progress_seq=2)


def place_of(
    before: RoutedTicket, after: RoutedTicket, holder: Agent | None = None
) -> tuple[str, str] | None:
    place = reconsider(before, after, holder, SITES)
    return None if place is None else (place.group, " / ".join(place.reasons))


@pytest.mark.parametrize(
    ("before", "changes", "holder", "expected"),
    [
        (AT_BO, {"reported_impact": "high"}, agent("bo"), None),
        (AT_BO, {"reported_impact": "high"}, agent("bo", is_available=False), None),
        (AT_BO, {"category": "hardware"}, agent("bo", skills={"hardware"}), None),
        (AT_BO, {"category": "hardware"}, agent("bo"), "does not have the skill hardware"),
        (AT_BO, {"category": "facilities"}, agent("bo"), "service-desk does not take that"),
        (AT_BO, {"category": "hardware"}, None, "not on the roster"),
        (WAITING, {"reported_impact": "high"}, None, None),
        (WAITING, {"category": "hardware"}, None, "the category is hardware now"),
        (WAITING, {"policy_version": 0}, None, "policy default v1 is in force now"),
        (RESOLVED, {"is_open": True}, agent("bo", 5), None),
        (RESOLVED, {"is_open": True}, agent("bo", 6), "has 5 open tickets already"),
        (RESOLVED, {"is_open": True}, agent("bo", is_available=False), "is away"),
        (RESOLVED, {"is_open": True}, agent("bo", group="x"), "not in service-desk any more"),
        (RESOLVED, {"is_open": True}, None, "not on the roster"),
        (RESOLVED, {"is_open": True, "agent_id": None}, None, "the ticket was reopened"),
    ],
)
def test_when_somebody_is_looked_for_again_and_why(
    before: RoutedTicket, changes: dict[str, object], holder: Agent | None, expected: str | None
) -> None:
    place = place_of(before, replace(before, **changes), holder)  # type: ignore[arg-type]
    assert (place is None) == (expected is None)
    assert expected is None or (place is not None and expected in place[1])


def test_who_corrects_the_category_moves_the_ticket_to_its_group() -> None:
    moved = place_of(AT_BO, replace(AT_BO, category="facilities"), agent("bo"))
    assert moved is not None
    assert moved[0] == "caretakers"


def test_a_policy_leaves_a_ticket_where_a_person_put_it() -> None:
    for is_by_hand, group in ((True, "visitors"), (False, "service-desk")):
        ticket = replace(WAITING, group="visitors", policy_version=0, is_by_hand=is_by_hand)
        place = reconsider(ticket, ticket, None, POLICY)
        assert place is not None
        assert place.group == group


# --- By hand -------------------------------------------------------------------------------------


def test_assigning_by_hand_counts_as_a_reassignment_and_repeating_it_does_not() -> None:
    state = TicketRouting(group="service-desk", agent_id="bo")
    command = AssignTicket(ID, "network-support", "cy", None, "knows the site")
    (given,) = reassign(command, state)
    assert given.reassignment_count == 1
    assert reassign(command, evolve(state, given)) == []


def test_who_is_away_or_full_can_be_given_it_by_hand_and_the_reasons_say_so() -> None:
    command = AssignTicket(ID, "service-desk", "bo", None, "asked for")
    (given,) = reassign(command, TicketRouting(), agent("bo", 5, is_available=False))
    assert given.reasons == ("by hand: asked for", "bo is away", "bo has 5 open tickets, of 5")


def test_who_takes_a_ticket_that_waited_is_its_first_agent_and_no_change() -> None:
    for waits, count in ((TicketRouting(group="service-desk"), 0), (TicketRouting(group="x"), 1)):
        assert assign(ID, "network", waits, POLICY, roster(agent("bo"))).reassignment_count == count


def test_a_group_by_hand_gives_it_to_who_is_free_there_once() -> None:
    command = AssignTicket(ID, "service-desk", None, None, "theirs")
    state = TicketRouting(group="network-support", agent_id="di")
    (given,) = reassign(command, state, None, roster(agent("bo", 1), agent("al", 2)), "network")
    assert given.agent_id == "bo"
    assert reassign(command, evolve(state, given, "mo"), None, roster(agent("al"))) == []
    (waits,) = reassign(command, state, None, {}, "network")
    assert (waits.group, waits.agent_id) == ("service-desk", None)


@pytest.mark.parametrize(
    ("group", "name", "known", "people", "field"),
    [
        ("service-desk", None, None, 0, None),
        ("night-shift", None, None, 1, None),
        ("night-shift", None, None, 0, "/group"),
        ("night-shift", "bo", agent("bo"), 0, "/group"),
        ("service-desk", "bo", None, 1, "/agent_id"),
        ("network-support", "bo", agent("bo"), 1, "/agent_id"),
        ("service-desk", "bo", agent("bo"), 1, None),
    ],
)
def test_a_group_or_agent_that_is_not_there_is_an_error(
    group: str, name: str | None, known: Agent | None, people: int, field: str | None
) -> None:
    command = AssignTicket(ID, group, name, None, "why not")
    if field is None:
        check_assignment(command, known, POLICY, has_people=people > 0)
        return
    with pytest.raises(InvalidInputError) as caught:
        check_assignment(command, known, POLICY, has_people=people > 0)
    assert caught.value.field == field


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
