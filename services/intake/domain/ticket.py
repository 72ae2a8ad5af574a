"""The ticket's lifecycle: what may follow what. Pure; time and ids arrive in the command."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, field
from msgspec.structs import replace

from services.intake.domain.commands import (
    CancelTicket,
    CloseTicket,
    CommentTicket,
    CreateTicket,
    HoldTicket,
    LinkTicket,
    MergeTicket,
    RateTicket,
    ReopenTicket,
    ResolveTicket,
    ResumeTicket,
    StartTicket,
    TicketCommand,
    UpdateTicket,
)
from shared.contracts.base import EventData
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketEvent,
    TicketHeld,
    TicketLinked,
    TicketMerged,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
    TicketUpdated,
)
from shared.errors import (
    IllegalTransitionError,
    InvalidInputError,
    NotFoundError,
    ReusedIdError,
)
from shared.people import is_same


class Status(StrEnum):
    """Where a ticket is in its life; UNKNOWN before it is created."""

    UNKNOWN = "unknown"
    NEW = "new"
    IN_PROGRESS = "in_progress"
    ON_HOLD = "on_hold"
    RESOLVED = "resolved"
    CLOSED = "closed"
    CANCELLED = "cancelled"
    MERGED = "merged"


class MergedAwayError(IllegalTransitionError):
    """The ticket has ended in another one, where the work goes on: there it may be said."""

    def __init__(self, detail: str, into: UUID) -> None:
        """Keep the sentence for the caller, and the ticket in which the work goes on."""
        super().__init__(detail)
        self.into = into


_ACTIVE: Final = frozenset({Status.NEW, Status.IN_PROGRESS, Status.ON_HOLD})
_SOLVED: Final = frozenset({Status.RESOLVED, Status.CLOSED})
_ALL: Final = frozenset(Status) - {Status.UNKNOWN}
_ALLOWED: Final[Mapping[type[TicketCommand], frozenset[Status]]] = {
    UpdateTicket: _ACTIVE | {Status.RESOLVED},
    CommentTicket: _ALL - {Status.MERGED},  # people talk on whatever became of it, where it is read
    StartTicket: frozenset({Status.NEW}),
    HoldTicket: frozenset({Status.NEW, Status.IN_PROGRESS}),
    ResumeTicket: frozenset({Status.ON_HOLD}),
    ResolveTicket: _ACTIVE,
    CloseTicket: frozenset({Status.RESOLVED}),
    ReopenTicket: _SOLVED,
    CancelTicket: _ACTIVE,
    MergeTicket: _ACTIVE,
    LinkTicket: _ALL,
    RateTicket: _SOLVED,
}


class Ticket(msgspec.Struct, frozen=True):
    """Only what `decide` needs; screens read projections, never this.

    `latest` is the event that led to the present status, `record` the correctable fields as they
    stand; `comments`, `links` and `rating` are what a repeated command is compared with. Of
    comments and links there may be thousands: it has those that the command asks for (`keys_of`).
    """

    status: Status = Status.UNKNOWN
    created: TicketCreated | None = None
    record: TicketUpdated | None = None
    latest: TicketEvent | None = None
    rating: TicketRated | None = None
    comments: Mapping[UUID, TicketCommented] = field(default_factory=dict[UUID, TicketCommented])
    links: frozenset[TicketLinked] = frozenset()
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    reopen_count: int = 0

    @property
    def is_active(self) -> bool:
        """Whether there is work to do."""
        return self.status in _ACTIVE


def decide(command: TicketCommand, ticket: Ticket) -> list[TicketEvent]:
    """Return the new facts; an empty list is an honest retry, nothing to add.

    Raises:
        NotFoundError: the ticket does not exist.
        ReusedIdError: the id was used with other content.
        MergedAwayError: the ticket's work goes on in another one.
        IllegalTransitionError: the ticket's status forbids the command.
    """
    if isinstance(command, CreateTicket):
        return _create(command, ticket)
    if ticket.created is None or ticket.record is None:
        raise NotFoundError(f"no ticket {command.ticket_id}")
    event = _event(command, ticket, ticket.record)
    if event is None or _is_known(event, ticket):
        return []
    if ticket.status not in _ALLOWED[type(command)]:
        asked = type(command).__name__.removesuffix("Ticket").lower()
        status = ticket.status.replace("_", " ")
        told = f"cannot {asked} a ticket that is {status}"
        if isinstance(ticket.latest, TicketMerged):
            into = ticket.latest.into
            raise MergedAwayError(f"{told}; it goes on in ticket {into}", into)
        raise IllegalTransitionError(told)
    return [event]


def evolve(  # noqa: PLR0911 one return per kind of fact
    ticket: Ticket, event: TicketEvent, at: datetime
) -> Ticket:
    """Fold one fact that became true `at`. Total: a recorded event is never refused."""
    match event:
        case TicketCreated():
            return replace(
                ticket, status=Status.NEW, created=event, record=_as_record(event), latest=event
            )
        case TicketUpdated():
            return replace(ticket, record=event)
        case TicketCommented():
            return replace(ticket, comments={**ticket.comments, event.comment_id: event})
        case TicketLinked():
            return replace(ticket, links=ticket.links | {event})
        case TicketRated():
            return replace(ticket, rating=event)
        case TicketResolved():
            return replace(
                ticket,
                status=Status.RESOLVED,
                latest=event,
                resolved_at=at,
                resolved_by=event.resolved_by,
            )
        case TicketReopened():
            return replace(
                ticket,
                status=Status.IN_PROGRESS,
                latest=event,
                resolved_at=None,
                resolved_by=None,
                rating=None,
                reopen_count=event.reopen_count,
            )
        case _:
            return replace(ticket, status=_STATUS_AFTER[type(event)], latest=event)


def require_survivor(command: MergeTicket, merged: Ticket, survivor: Ticket) -> None:
    """Raise InvalidInputError for a merge into a ticket that cannot take it."""
    if command.into == command.ticket_id:
        raise InvalidInputError("a ticket cannot go on in itself", field="/into")
    if survivor.created is None:
        raise InvalidInputError(f"no ticket {command.into}", field="/into")
    if not survivor.is_active and merged.is_active:
        raise InvalidInputError(
            f"ticket {command.into} is {survivor.status}; name one that is being worked on",
            field="/into",
        )


def key_of(event: EventData) -> str | None:
    """Return the key of a fact that commands find by it; None where the newest of its type counts.

    All else in a ticket is set by the last event of a few types, so these are enough for it.
    """
    match event:
        case TicketCommented():
            return f"commented/{event.comment_id}"
        case TicketLinked():
            return f"linked/{event.relation}/{event.linked_id}"
        case _:
            return None


def keys_of(command: TicketCommand) -> Sequence[str]:
    """Return the keys of the facts that a command may repeat."""
    match command:
        case CommentTicket():
            return (f"commented/{command.comment_id}",)
        case LinkTicket():
            return (f"linked/{command.relation}/{command.linked_id}",)
        case _:
            return ()


_STATUS_AFTER: Final[Mapping[type[TicketEvent], Status]] = {
    TicketStarted: Status.IN_PROGRESS,
    TicketHeld: Status.ON_HOLD,
    TicketResumed: Status.IN_PROGRESS,
    TicketClosed: Status.CLOSED,
    TicketCancelled: Status.CANCELLED,
    TicketMerged: Status.MERGED,
}


def _create(command: CreateTicket, ticket: Ticket) -> list[TicketEvent]:
    told: dict[str, Any] = {n: getattr(command, n) for n in TicketCreated.__struct_fields__}
    told["occurred_at"] = command.occurred_at or command.reported_at
    event = TicketCreated(**told)
    if ticket.created is None:
        return [event]
    repeated = replace(event, number=ticket.created.number)
    if is_same(command.origin, ticket.created.origin):
        repeated = replace(repeated, origin=ticket.created.origin)
    if command.occurred_at is None:
        repeated = replace(repeated, occurred_at=ticket.created.occurred_at)
    for name in event.__struct_fields__:
        if getattr(repeated, name) != getattr(ticket.created, name):
            raise ReusedIdError(
                f"ticket {command.ticket_id} was created with another {name}", field=f"/{name}"
            )
    return []


def _event(command: TicketCommand, ticket: Ticket, record: TicketUpdated) -> TicketEvent | None:
    """Return the fact that the command asks for, None where nothing would change."""
    ticket_id = command.ticket_id
    match command:
        case UpdateTicket():
            return _corrected(command, record)
        case CommentTicket():
            is_own = ticket.created is not None and is_same(
                command.author_id, ticket.created.requester.id
            )
            return TicketCommented(
                ticket_id=ticket_id,
                comment_id=command.comment_id,
                author_id=command.author_id,
                author_role="requester" if is_own else command.author_role,
                visibility=command.visibility,
                text=command.text,
            )
        case ResumeTicket():
            return TicketResumed(ticket_id=ticket_id)
        case CloseTicket():
            return TicketClosed(
                ticket_id=ticket_id,
                closed_by=command.closed_by,
                code=command.code,
                resolved_at=ticket.resolved_at,
                reopen_count=ticket.reopen_count,
            )
        case ReopenTicket():
            return TicketReopened(
                ticket_id=ticket_id,
                reopened_by=command.reopened_by,
                reason=command.reason,
                reopen_count=ticket.reopen_count + 1,
            )
        case _:
            return _plain_event(command)


def _plain_event(  # noqa: PLR0911 one return per kind of fact
    command: TicketCommand,
) -> TicketEvent | None:
    match command:
        case StartTicket(ticket_id, agent_id):
            return TicketStarted(ticket_id=ticket_id, agent_id=agent_id)
        case HoldTicket(ticket_id, reason, note):
            return TicketHeld(ticket_id=ticket_id, reason=reason, note=note)
        case ResolveTicket(ticket_id, agent_id, text):
            return TicketResolved(ticket_id=ticket_id, resolved_by=agent_id, resolution=text)
        case CancelTicket(ticket_id, cancelled_by, reason):
            return TicketCancelled(ticket_id=ticket_id, cancelled_by=cancelled_by, reason=reason)
        case MergeTicket(ticket_id, into, merged_by, reason):
            return TicketMerged(ticket_id=ticket_id, into=into, merged_by=merged_by, reason=reason)
        case LinkTicket(ticket_id, linked_id, relation):
            return TicketLinked(ticket_id=ticket_id, linked_id=linked_id, relation=relation)
        case RateTicket(ticket_id, rated_by, score, comment):
            return TicketRated(ticket_id=ticket_id, rated_by=rated_by, score=score, comment=comment)
        case _:
            return None


def _corrected(command: UpdateTicket, record: TicketUpdated) -> TicketUpdated | None:
    asked = {
        name: value
        for name in record.__struct_fields__
        if (value := getattr(command, name)) is not UNSET
    }
    corrected = replace(record, **asked)
    return None if corrected == record else corrected


def _as_record(event: TicketCreated) -> TicketUpdated:
    """Return what may be corrected, as it was reported."""
    return TicketUpdated(**{name: getattr(event, name) for name in TicketUpdated.__struct_fields__})


def _is_known(event: TicketEvent, ticket: Ticket) -> bool:
    """Say whether the ticket has this very fact already, so that asking again adds nothing."""
    if isinstance(event, TicketCommented):
        known = ticket.comments.get(event.comment_id)
        if known is not None and known != replace(event, author_role=known.author_role):
            raise ReusedIdError(
                f"comment {event.comment_id} was made with other content", field="/comment_id"
            )
        return known is not None
    if isinstance(event, TicketLinked):
        return event in ticket.links
    if isinstance(event, TicketRated):
        return event == ticket.rating
    if isinstance(event, TicketReopened):
        latest = ticket.latest
        return isinstance(latest, TicketReopened) and latest == replace(
            event, reopen_count=latest.reopen_count
        )
    return event == ticket.latest
