"""Triage: rank a ticket, find who takes it, take it further when its line cannot. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from services.routing.domain.policy import desk_for
from services.routing.domain.state import TicketRouting
from shared.contracts.base import Level, Priority
from shared.contracts.intake import Scope, TicketCreated, TicketUpdated
from shared.contracts.routing import (
    RoutingPolicyPublished,
    TicketAssigned,
    TicketEscalated,
    TicketPrioritized,
)

LINES = 3


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as assignment sees them; `workload` counts their open tickets."""

    agent_id: str
    group: str
    skills: frozenset[str]
    is_available: bool
    workload: int
    workload_max: int


Roster = Mapping[str, Agent]


@dataclass(frozen=True, slots=True)
class AssignTicket:
    """A person gives the ticket to a group, or to one of its agents."""

    ticket_id: UUID
    group: str
    agent_id: str | None
    line: int | None
    reason: str


def prioritize(
    record: TicketCreated | TicketUpdated, policy: RoutingPolicyPublished
) -> TicketPrioritized:
    """Rank a ticket by the policy's matrix, and say why."""
    impact, impact_reason = _impact(record, policy)
    urgency: Level = record.urgency or "medium"
    urgency_reason = (
        f"urgency {urgency}: as reported" if record.urgency else "urgency medium: not reported"
    )
    ranks: dict[tuple[Level, Level], Priority] = {
        (cell.impact, cell.urgency): cell.priority for cell in policy.matrix
    }
    priority = ranks[impact, urgency]
    rule = f"{priority} = {impact} × {urgency} in policy {policy.policy_id} v{policy.version}"
    return TicketPrioritized(
        ticket_id=record.ticket_id,
        priority=priority,
        impact=impact,
        urgency=urgency,
        reasons=(impact_reason, urgency_reason, rule),
        policy_version=policy.version,
    )


def _impact(
    record: TicketCreated | TicketUpdated, policy: RoutingPolicyPublished
) -> tuple[Level, str]:
    if record.impact is not None:
        return record.impact, f"impact {record.impact}: as reported"
    scope: Scope = record.scope
    for threshold in policy.thresholds:
        if scope.people is not None and scope.people >= threshold.people:
            reason = f"{scope.people} people affected, threshold {threshold.people}"
            return threshold.impact, f"impact {threshold.impact}: {reason}"
        if scope.sites is not None and scope.sites >= threshold.sites:
            reason = f"{scope.sites} sites affected, threshold {threshold.sites}"
            return threshold.impact, f"impact {threshold.impact}: {reason}"
    return "low", "impact low: the reported scope reaches no threshold"


def triage(
    record: TicketCreated | TicketUpdated,
    state: TicketRouting,
    policy: RoutingPolicyPublished,
    roster: Roster,
) -> list[TicketPrioritized | TicketAssigned]:
    """Rank and assign; what stands already is not said again.

    A correction may change the rank; it moves the ticket to nobody else.
    """
    news: list[TicketPrioritized | TicketAssigned] = []
    ranked = prioritize(record, policy)
    if (ranked.priority, ranked.impact, ranked.urgency) != (
        state.priority,
        state.impact,
        state.urgency,
    ):
        news.append(ranked)
    if state.group is None:
        news.append(assign(record.ticket_id, record.category, state, policy, roster))
    return news


def assign(
    ticket_id: UUID,
    category: str | None,
    state: TicketRouting,
    policy: RoutingPolicyPublished,
    roster: Roster,
) -> TicketAssigned:
    """Give the ticket to its category's group at its line, and to the agent with least to do."""
    desk = desk_for(policy, category)
    line = min(state.line, len(desk.groups))
    group = desk.groups[line - 1]
    able = [
        agent
        for agent in roster.values()
        if agent.group == group
        and agent.is_available
        and agent.workload < agent.workload_max
        and (desk.skill is None or desk.skill in agent.skills)
    ]
    chosen = min(able, key=lambda agent: (agent.workload, agent.agent_id), default=None)
    reasons = [f"group {group}: line {line} for category {category or 'unclassified'}"]
    if chosen is None:
        reasons.append(f"nobody in {group} is free and has the skill {desk.skill or 'any'}")
    else:
        loads = ", ".join(f"{agent.agent_id} {agent.workload}" for agent in able[:10])
        reasons.append(f"{chosen.agent_id} has the fewest open tickets ({loads})")
    return _assigned(
        ticket_id, state, group, None if chosen is None else chosen.agent_id, line, tuple(reasons)
    )


def reassign(command: AssignTicket, state: TicketRouting) -> list[TicketAssigned]:
    """Give the ticket to whom a person chose; nothing if they have it already."""
    line = command.line or state.line
    if (command.group, command.agent_id, line) == (state.group, state.agent_id, state.line):
        return []
    reasons = (f"by hand: {command.reason}",)
    return [_assigned(command.ticket_id, state, command.group, command.agent_id, line, reasons)]


def escalate(
    record: TicketCreated | TicketUpdated,
    state: TicketRouting,
    policy: RoutingPolicyPublished,
    roster: Roster,
    *,
    cause: str,
    reason: str,
) -> list[TicketEscalated | TicketAssigned]:
    """Take the ticket to the next line, once for each cause; the last line keeps it."""
    desk = desk_for(policy, record.category)
    if cause in state.escalated_for or state.line >= min(LINES, len(desk.groups)):
        return []
    to_line = state.line + 1
    escalated = TicketEscalated(
        ticket_id=record.ticket_id,
        kind="hierarchical",
        from_line=state.line,
        to_line=to_line,
        from_group=state.group,
        to_group=desk.groups[to_line - 1],
        escalation_count=state.escalation_count + 1,
        reasons=(reason, f"line {state.line} hands over to line {to_line}"),
    )
    above = TicketRouting(
        group=state.group,
        agent_id=state.agent_id,
        line=to_line,
        reassignment_count=state.reassignment_count,
    )
    return [escalated, assign(record.ticket_id, record.category, above, policy, roster)]


def _assigned(
    ticket_id: UUID,
    state: TicketRouting,
    group: str,
    agent_id: str | None,
    line: int,
    reasons: tuple[str, ...],
) -> TicketAssigned:
    is_first = state.group is None
    return TicketAssigned(
        ticket_id=ticket_id,
        group=group,
        agent_id=agent_id,
        line=line,
        reassignment_count=0 if is_first else state.reassignment_count + 1,
        reasons=reasons,
    )
