"""What routing itself has decided about one ticket, folded from its own events."""

from dataclasses import dataclass, replace

from shared.contracts.base import EventData, Level, Priority
from shared.contracts.routing import TicketAssigned, TicketEscalated, TicketPrioritized


@dataclass(frozen=True, slots=True)
class TicketRouting:
    """Only what decisions need. `escalated_for` are the causes that were escalated already."""

    priority: Priority | None = None
    impact: Level | None = None
    urgency: Level | None = None
    group: str | None = None
    agent_id: str | None = None
    line: int = 1
    reassignment_count: int = 0
    escalation_count: int = 0
    escalated_for: frozenset[str] = frozenset()


def evolve(state: TicketRouting, event: EventData, cause: str | None = None) -> TicketRouting:
    """Fold one of routing's own events; `cause` is the id of the event that led to it."""
    match event:
        case TicketPrioritized():
            return replace(
                state, priority=event.priority, impact=event.impact, urgency=event.urgency
            )
        case TicketAssigned():
            return replace(
                state,
                group=event.group,
                agent_id=event.agent_id,
                line=event.line,
                reassignment_count=event.reassignment_count,
            )
        case TicketEscalated():
            causes = state.escalated_for if cause is None else state.escalated_for | {cause}
            return replace(
                state,
                line=event.to_line,
                escalation_count=event.escalation_count,
                escalated_for=causes,
            )
        case _:
            return state
