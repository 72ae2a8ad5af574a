"""What may be asked of a ticket. Ids and times arrive in the command."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from shared.contracts.intake import Requester, Scope


class CreateTicket(Struct, frozen=True):
    """A report, accepted: the whole standard record.

    `occurred_at` None: the caller did not say; it is then taken for `reported_at`.
    """

    ticket_id: UUID
    number: str
    kind: Literal["incident", "service_request"]
    title: str
    description: str
    requester: Requester
    occurred_at: datetime | None
    reported_at: datetime
    impact: Literal["high", "medium", "low"] | None
    urgency: Literal["high", "medium", "low"] | None
    scope: Scope
    category: str | None
    service: str | None
    channel: str
    origin: str
    split_from: UUID | None = None


class UpdateTicket(Struct, frozen=True):
    """Correct the record; a field left UNSET stays as it is."""

    ticket_id: UUID
    title: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    impact: Literal["high", "medium", "low"] | UnsetType | None = UNSET
    urgency: Literal["high", "medium", "low"] | UnsetType | None = UNSET
    scope: Scope | UnsetType = UNSET
    category: str | UnsetType | None = UNSET
    service: str | UnsetType | None = UNSET


class CommentTicket(Struct, frozen=True):
    """Say something on the ticket.

    `author_role` is the side that an author speaks for who is not the ticket's requester.
    """

    ticket_id: UUID
    comment_id: UUID
    author_id: str
    author_role: Literal["requester", "agent"]
    visibility: Literal["public", "internal"]
    text: str


class StartTicket(Struct, frozen=True):
    """Take up the work."""

    ticket_id: UUID
    agent_id: str


class HoldTicket(Struct, frozen=True):
    """Wait for something outside the desk's hands."""

    ticket_id: UUID
    reason: str
    note: str


class ResumeTicket(Struct, frozen=True):
    """Go on after a hold."""

    ticket_id: UUID


class ResolveTicket(Struct, frozen=True):
    """Supply a solution."""

    ticket_id: UUID
    agent_id: str
    resolution: str


class CloseTicket(Struct, frozen=True):
    """Confirm that nothing is left to do."""

    ticket_id: UUID
    closed_by: str
    code: str


class ReopenTicket(Struct, frozen=True):
    """Say that the solution did not hold."""

    ticket_id: UUID
    reopened_by: str
    reason: str


class CancelTicket(Struct, frozen=True):
    """Withdraw the ticket."""

    ticket_id: UUID
    cancelled_by: str
    reason: str


class MergeTicket(Struct, frozen=True):
    """Say that the work goes on in another ticket."""

    ticket_id: UUID
    into: UUID
    merged_by: str
    reason: str


class LinkTicket(Struct, frozen=True):
    """Note what another ticket has to do with this one."""

    ticket_id: UUID
    linked_id: UUID
    relation: Literal["merged_in", "split_off"]


class RateTicket(Struct, frozen=True):
    """Say how satisfied the requester is."""

    ticket_id: UUID
    rated_by: str
    score: int
    comment: str


TicketCommand = (
    CreateTicket
    | UpdateTicket
    | CommentTicket
    | StartTicket
    | HoldTicket
    | ResumeTicket
    | ResolveTicket
    | CloseTicket
    | ReopenTicket
    | CancelTicket
    | MergeTicket
    | LinkTicket
    | RateTicket
)
