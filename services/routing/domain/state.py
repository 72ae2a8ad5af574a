"""What routing's decisions about a ticket rest on, folded from facts and from its own events."""

from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

import msgspec
from msgspec.structs import replace

from shared.contracts.base import EventData, Level, Priority
from shared.contracts.intake import (
    Scope,
    TicketCancelled,
    TicketClosed,
    TicketCreated,
    TicketMerged,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from shared.contracts.registry import Recorded
from shared.contracts.routing import TicketAssigned, TicketEscalated, TicketPrioritized
from shared.contracts.sla import SlaBreached, SlaBreachRetracted

ROUTING: Final = "routing"
"""Who acts where no person does."""
INTAKE_FACTS: Final = (
    TicketCreated,
    TicketUpdated,
    TicketResolved,
    TicketClosed,
    TicketReopened,
    TicketCancelled,
    TicketMerged,
)
_ENDS: Final = (TicketResolved, TicketClosed, TicketCancelled, TicketMerged)


class Reported(msgspec.Struct, frozen=True, gc=False):
    """What a ticket's record says of its rank and of whose it is."""

    ticket_id: UUID
    category: str | None
    impact: Level | None
    urgency: Level | None
    scope: Scope


class TicketRouting(msgspec.Struct, frozen=True, gc=False):
    """What routing has decided. `is_by_hand`: a person gave the ticket to whom it is with."""

    priority: Priority | None = None
    impact: Level | None = None
    urgency: Level | None = None
    group: str | None = None
    agent_id: str | None = None
    line: int = 1
    reassignment_count: int = 0
    escalation_count: int = 0
    is_by_hand: bool = False


class RoutedTicket(TicketRouting, frozen=True, kw_only=True):
    """What routing has decided, what the ticket's record says, and whether there is work to do.

    `sequence` is that of routing's own stream, `record_seq` and `progress_seq` those of the last
    of intake's events that set the record or began or ended the work: a lower one is ignored.
    `created_at` is unknown until the creation has been read, whatever came before it. `is_live`
    once anything that is not imported has happened. `skill` and `policy_version` are what a
    ticket's place in a queue rests on; empty for one that does not wait.
    """

    ticket_id: str
    sequence: int = 0
    record_seq: int = 0
    category: str | None = None
    reported_impact: Level | None = None
    reported_urgency: Level | None = None
    people: int | None = None
    sites: int | None = None
    created_at: datetime | None = None
    progress_seq: int = 0
    is_open: bool = True
    is_live: bool = False
    skill: str = ""
    policy_version: int = 0

    @property
    def record(self) -> Reported:
        """The record as last corrected."""
        return Reported(
            UUID(self.ticket_id),
            self.category,
            self.reported_impact,
            self.reported_urgency,
            Scope(people=self.people, sites=self.sites),
        )

    @property
    def holder(self) -> str | None:
        """The agent on whose load the ticket counts."""
        return self.agent_id if self.is_open else None

    @property
    def is_waiting(self) -> bool:
        """Whether the ticket waits in its group's queue. Imported ones wait for nobody."""
        return (
            self.is_live
            and self.is_open
            and self.created_at is not None
            and self.group is not None
            and self.agent_id is None
        )


_T = TypeVar("_T", bound=TicketRouting)


def learn(ticket: RoutedTicket, event: Recorded) -> RoutedTicket:
    """Fold one of intake's facts, in whatever order they come; others change nothing."""
    data, sequence = event.data, event.sequence
    if isinstance(data, INTAKE_FACTS):
        ticket = replace(ticket, is_live=ticket.is_live or not event.history)
    if isinstance(data, TicketCreated):
        ticket = replace(ticket, created_at=event.time)
    if isinstance(data, TicketCreated | TicketUpdated) and sequence > ticket.record_seq:
        ticket = replace(
            ticket,
            record_seq=sequence,
            category=data.category,
            reported_impact=data.impact,
            reported_urgency=data.urgency,
            people=data.scope.people,
            sites=data.scope.sites,
        )
    is_turn = isinstance(data, (TicketCreated, TicketReopened, *_ENDS))
    if is_turn and sequence > ticket.progress_seq:
        ticket = replace(ticket, progress_seq=sequence, is_open=not isinstance(data, _ENDS))
    return ticket


def evolve(state: _T, event: EventData, actor: str = ROUTING) -> _T:
    """Fold one of routing's own events; `actor` is who decided it."""
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
                is_by_hand=actor != ROUTING,
            )
        case TicketEscalated():
            return replace(
                state,
                line=event.to_line,
                escalation_count=event.escalation_count,
            )
        case _:
            return state


class ClockBreach(msgspec.Struct, frozen=True, gc=False):
    """The last that was heard of a clock that broke its promise to the requester.

    `is_pending` until the ticket is known and it could be asked who takes it further.
    """

    ticket_id: str
    target: str
    cycle: int
    generation: int
    sequence: int
    event_id: str
    correlation_id: str
    due_at: datetime
    is_pending: bool

    @property
    def clock(self) -> tuple[str, int, int]:
        """Which of the ticket's clocks it was."""
        return self.target, self.cycle, self.generation


def breach_in(event: Recorded) -> ClockBreach | None:
    """Return what an event says of a breach, None if it says nothing that routing goes by."""
    data = event.data
    if not isinstance(data, SlaBreached | SlaBreachRetracted) or data.kind != "sla":
        return None
    return ClockBreach(
        event.stream_id,
        data.target,
        data.cycle,
        data.generation,
        event.sequence,
        event.event_id,
        event.correlation_id,
        data.due_at,
        isinstance(data, SlaBreached) and not event.history,
    )
