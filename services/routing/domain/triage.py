"""Triage: rank a ticket, find who takes it, take it further when its line cannot. Pure."""

from collections.abc import Mapping
from uuid import UUID

import msgspec
from msgspec.structs import replace

from services.routing.domain.agents import Agent
from services.routing.domain.policy import desk_for, names_group
from services.routing.domain.state import Reported, RoutedTicket, TicketRouting
from shared.contracts.base import Level, Priority
from shared.contracts.intake import Scope
from shared.contracts.routing import (
    RoutingPolicyPublished,
    TicketAssigned,
    TicketEscalated,
    TicketPrioritized,
)
from shared.errors import InvalidInputError

Roster = Mapping[str, Agent]
"""Who may be given a ticket; enough of those with the fewest open tickets to choose one."""


class AssignTicket(msgspec.Struct, frozen=True):
    """A person gives the ticket to a group, or to one of its agents."""

    ticket_id: UUID
    group: str
    agent_id: str | None
    line: int | None
    reason: str


class Place(msgspec.Struct, frozen=True):
    """Where somebody is looked for: among a group's agents who have the skill; and why there."""

    group: str
    line: int
    skill: str | None
    reasons: tuple[str, ...]


def prioritize(record: Reported, policy: RoutingPolicyPublished) -> TicketPrioritized:
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


def _impact(record: Reported, policy: RoutingPolicyPublished) -> tuple[Level, str]:
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


def rank(
    record: Reported, state: TicketRouting, policy: RoutingPolicyPublished
) -> list[TicketPrioritized]:
    """Rank a ticket; a rank that stands already is not said again."""
    ranked = prioritize(record, policy)
    stands = (state.priority, state.impact, state.urgency)
    return [] if (ranked.priority, ranked.impact, ranked.urgency) == stands else [ranked]


# --- Where a ticket belongs ----------------------------------------------------------------------


def home(category: str | None, line: int, policy: RoutingPolicyPublished) -> Place:
    """Return the group of the category at that line, or at its last one."""
    desk = desk_for(policy, category)
    line = min(line, len(desk.groups))
    group = desk.groups[line - 1]
    reason = f"group {group}: line {line} for category {category or 'unclassified'}"
    return Place(group, line, desk.skill, (reason,))


def stay(ticket: RoutedTicket, policy: RoutingPolicyPublished) -> Place:
    """Return the queue that an assigned ticket is in.

    A group that is none of its category's, where only a person can have put it, needs no skill.
    """
    desk = desk_for(policy, ticket.category)
    group = ticket.group or desk.groups[0]
    skill = desk.skill if group in desk.groups else None
    return Place(group, ticket.line, skill, (f"group {group}: as before",))


def reconsider(
    before: RoutedTicket, ticket: RoutedTicket, holder: Agent | None, policy: RoutingPolicyPublished
) -> Place | None:
    """Return where somebody is to be looked for now that `before` has become `ticket`.

    None while the ticket is well where it is. `holder` is who has it, with this ticket counted.
    """
    groups = desk_for(policy, ticket.category).groups
    if ticket.group is None:
        return home(ticket.category, ticket.line, policy)
    is_corrected = before.record_seq > 0 and before.category != ticket.category
    is_reopened = ticket.is_open and not before.is_open
    why: list[str] = []
    if is_corrected:
        why.append(f"the category is {ticket.category or 'unclassified'} now")
    if is_reopened:
        why.append("the ticket was reopened")
    is_outdated = ticket.is_waiting and ticket.policy_version != policy.version
    if is_outdated and not why:
        why.append(f"policy {policy.policy_id} v{policy.version} is in force now")
    if ticket.agent_id is not None:
        unfit = _unfit(ticket, holder, policy, is_corrected=is_corrected) if why else None
        if unfit is None:
            return None
        why.append(unfit)
    elif not why:
        return None
    is_elsewhere = ticket.group not in groups and (is_corrected or not ticket.is_by_hand)
    place = home(ticket.category, ticket.line, policy) if is_elsewhere else stay(ticket, policy)
    return replace(place, reasons=(*why, *place.reasons))


def _unfit(
    ticket: RoutedTicket,
    holder: Agent | None,
    policy: RoutingPolicyPublished,
    *,
    is_corrected: bool,
) -> str | None:
    """Return why who has the ticket cannot go on with it; None if they can.

    What they have, they keep while they are away; a reopened ticket would come back to them.
    """
    name = ticket.agent_id
    if holder is None:
        return f"{name}, who had it, is not on the roster"
    desk = desk_for(policy, ticket.category)
    if is_corrected or not ticket.is_by_hand:
        if ticket.group not in desk.groups:
            return f"{ticket.group} does not take that category"
        if desk.skill is not None and desk.skill not in holder.skills:
            return f"{name}, who had it, does not have the skill {desk.skill}"
    return None if is_corrected else _absent(ticket, holder)


def _absent(ticket: RoutedTicket, holder: Agent) -> str | None:
    """Return why an agent cannot go on with a ticket that comes back to them."""
    if holder.group != ticket.group:
        return f"{holder.agent_id}, who had it, is not in {ticket.group} any more"
    if not holder.is_available:
        return f"{holder.agent_id}, who had it, is away"
    if holder.workload > holder.workload_max:
        return f"{holder.agent_id}, who had it, has {holder.workload_max} open tickets already"
    return None


def settled(ticket: RoutedTicket, policy: RoutingPolicyPublished) -> RoutedTicket:
    """Return the ticket with what its place in a queue rests on; nothing for one not waiting."""
    if not ticket.is_waiting:
        return replace(ticket, skill="", policy_version=0)
    skill = stay(ticket, policy).skill or ""
    return replace(ticket, skill=skill, policy_version=policy.version)


# --- Who gets it ---------------------------------------------------------------------------------


def assign(
    ticket_id: UUID,
    category: str | None,
    state: TicketRouting,
    policy: RoutingPolicyPublished,
    roster: Roster,
) -> TicketAssigned:
    """Give the ticket to its category's group at its line, and to the agent with least to do."""
    return give(ticket_id, state, home(category, state.line, policy), roster)


def give(ticket_id: UUID, state: TicketRouting, place: Place, roster: Roster) -> TicketAssigned:
    """Give the ticket to a group, and to the agent there with the fewest open tickets."""
    chosen, reason = _choose(place.group, place.skill, roster)
    reasons = (*place.reasons, reason)
    return _assigned(ticket_id, state, (place.group, chosen, place.line), reasons)


def _choose(group: str, skill: str | None, roster: Roster) -> tuple[str | None, str]:
    able = sorted(
        (
            agent
            for agent in roster.values()
            if agent.group == group and agent.has_room and (skill is None or skill in agent.skills)
        ),
        key=lambda agent: (agent.workload, agent.agent_id),
    )
    if not able:
        return None, f"nobody in {group} is free and has the skill {skill or 'any'}"
    loads = ", ".join(f"{agent.agent_id} {agent.workload}" for agent in able[:10])
    return able[0].agent_id, f"{able[0].agent_id} has the fewest open tickets ({loads})"


def take(ticket: RoutedTicket, agent: Agent) -> TicketAssigned:
    """Give a ticket that waits in the agent's group to the agent, who has room for it."""
    reasons = (
        f"{agent.agent_id} has room ({agent.workload} of {agent.workload_max})",
        f"it is the first in the queue of {agent.group} that they can take: {ticket.priority},"
        f" since {ticket.created_at:%Y-%m-%dT%H:%M:%SZ}",
    )
    place = (agent.group, agent.agent_id, ticket.line)
    return _assigned(UUID(ticket.ticket_id), ticket, place, reasons)


def reassign(
    command: AssignTicket,
    state: TicketRouting,
    agent: Agent | None = None,
    roster: Roster | None = None,
    skill: str | None = None,
) -> list[TicketAssigned]:
    """Give the ticket to whom a person chose; nothing if they have it already.

    Who is away or has too much to do can be given it all the same; the reasons say so. A group
    without an agent gives it to one of the `roster` with the skill; until then it waits.
    """
    line = command.line or state.line
    stands = (command.group, line) == (state.group, state.line)
    if stands and command.agent_id == state.agent_id:
        return []
    if stands and command.agent_id is None and state.is_by_hand:
        return []
    reasons = [f"by hand: {command.reason}"]
    chosen = command.agent_id
    if chosen is None:
        chosen, reason = _choose(command.group, skill, roster or {})
        reasons.append(reason)
    elif agent is not None and not agent.is_available:
        reasons.append(f"{chosen} is away")
    if agent is not None and agent.workload >= agent.workload_max:
        reasons.append(f"{chosen} has {agent.workload} open tickets, of {agent.workload_max}")
    place = (command.group, chosen, line)
    return [_assigned(command.ticket_id, state, place, tuple(reasons))]


def check_assignment(
    command: AssignTicket,
    agent: Agent | None,
    policy: RoutingPolicyPublished,
    *,
    has_people: bool,
) -> None:
    """Raise InvalidInputError, naming the field, unless group and agent exist and fit.

    A group exists if the policy names it or an agent is in it (`has_people`).
    """
    if not has_people and not names_group(policy, command.group):
        raise InvalidInputError(f"there is no group {command.group}", field="/group")
    if command.agent_id is None:
        return
    if agent is None:
        raise InvalidInputError(f"there is no agent {command.agent_id}", field="/agent_id")
    if agent.group != command.group:
        raise InvalidInputError(
            f"{agent.agent_id} is in {agent.group}, not in {command.group}", field="/agent_id"
        )


def escalate(
    record: Reported,
    state: TicketRouting,
    policy: RoutingPolicyPublished,
    roster: Roster,
    *,
    reason: str,
) -> list[TicketEscalated | TicketAssigned]:
    """Take the ticket to the next line; the last line keeps it."""
    groups = desk_for(policy, record.category).groups
    if state.line >= len(groups):
        return []
    to_line = state.line + 1
    escalated = TicketEscalated(
        ticket_id=record.ticket_id,
        kind="hierarchical",
        from_line=state.line,
        to_line=to_line,
        from_group=state.group,
        to_group=groups[to_line - 1],
        escalation_count=state.escalation_count + 1,
        reasons=(reason, f"line {state.line} hands over to line {to_line}"),
    )
    above = replace(state, line=to_line)
    return [escalated, assign(record.ticket_id, record.category, above, policy, roster)]


def _assigned(
    ticket_id: UUID,
    state: TicketRouting,
    place: tuple[str, str | None, int],
    reasons: tuple[str, ...],
) -> TicketAssigned:
    group, agent_id, line = place
    is_first = state.group is None or (state.agent_id is None and group == state.group)
    return TicketAssigned(
        ticket_id=ticket_id,
        group=group,
        agent_id=agent_id,
        line=line,
        reassignment_count=state.reassignment_count + (0 if is_first else 1),
        reasons=reasons,
    )
