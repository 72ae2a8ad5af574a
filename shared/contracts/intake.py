"""Events that intake owns: the ticket and its lifecycle; and the report that asks for one."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from shared.contracts.base import (
    ATTRIBUTE_MAX,
    Count,
    EventData,
    Instant,
    Key,
    Kind,
    Level,
    Name,
    Text,
    TicketData,
    Title,
    at_most,
)


class Requester(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who asks, how to reach them, and whose people they are.

    `customer` is the organisation that has an agreement with the desk; `site` where they work.
    """

    id: Key
    name: Name | None = None
    contact: (
        Annotated[str, Meta(max_length=320, description="mail address or telephone number")] | None
    ) = None
    department: Name | None = None
    customer: Key | None = None
    site: Key | None = None


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far the trouble reaches."""

    people: Count | None = None
    sites: Count | None = None


class TicketReported(EventData, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Any system asks for a ticket: the standard record, the same through every door.

    Version 1 had `requester_id`, `requester_name` and `affected_people` side by side; the upcaster
    groups them. Impact and urgency may be left out; routing then derives impact from `scope`, and
    takes urgency for medium. `split_from` is the ticket of which this report is a part.
    """

    TYPE: ClassVar[str] = "ticket.reported"
    VERSION: ClassVar[int] = 2
    STREAM: ClassVar[str] = ""

    requester: Requester
    title: Title
    description: Text = ""
    kind: Kind = "incident"
    occurred_at: Instant | None = None
    impact: Level | None = None
    urgency: Level | None = None
    scope: Scope = Scope()
    category: Key | None = None
    service: Key | None = None
    channel: Literal["phone", "mail", "portal", "api", "alert", "chat", "walk_in"] = "api"
    ticket_id: UUID | None = None
    split_from: UUID | None = None


class TicketCreated(TicketData, frozen=True, kw_only=True):
    """A report was accepted as a ticket; always sequence 1 of its stream.

    Units: `occurred_at` is aware UTC; when the caller first saw the trouble, not when they told.
    Source: ITIL 4, Incident management, "logging".
    """

    TYPE: ClassVar[str] = "ticket.created"

    number: Name
    kind: Kind
    title: Title
    description: Text
    requester: Requester
    occurred_at: Instant
    impact: Level | None
    urgency: Level | None
    scope: Scope
    category: Key | None
    service: Key | None
    channel: Key
    origin: Annotated[
        str,
        Meta(description="`source` and `id` of the report, or the writing door"),
        at_most(characters=2 * ATTRIBUTE_MAX + 1),
    ]
    split_from: UUID | None = None


class TicketUpdated(TicketData, frozen=True, kw_only=True):
    """The record was corrected: every field carries its value from now on, changed or not."""

    TYPE: ClassVar[str] = "ticket.updated"

    title: Title
    description: Text
    impact: Level | None
    urgency: Level | None
    scope: Scope
    category: Key | None
    service: Key | None


class TicketCommented(TicketData, frozen=True, kw_only=True):
    """Somebody wrote on the ticket; `public` comments are what the requester sees."""

    TYPE: ClassVar[str] = "ticket.commented"

    comment_id: UUID
    author_id: Key
    author_role: Literal["requester", "agent"]
    visibility: Literal["public", "internal"]
    text: Annotated[str, Meta(min_length=1, max_length=65_536)]


class TicketStarted(TicketData, frozen=True, kw_only=True):
    """An agent took up the work."""

    TYPE: ClassVar[str] = "ticket.started"

    agent_id: Key


class TicketHeld(TicketData, frozen=True, kw_only=True):
    """Work waits for something outside the desk's hands; `reason` says for what."""

    TYPE: ClassVar[str] = "ticket.held"

    reason: Key
    note: Text = ""


class TicketResumed(TicketData, frozen=True, kw_only=True):
    """What the ticket waited for has come; work goes on."""

    TYPE: ClassVar[str] = "ticket.resumed"


class TicketResolved(TicketData, frozen=True, kw_only=True):
    """An agent supplied a solution; the requester has not confirmed it yet."""

    TYPE: ClassVar[str] = "ticket.resolved"

    resolved_by: Key
    resolution: Text


class TicketClosed(TicketData, frozen=True, kw_only=True):
    """The ticket's final account: nothing is left to do, and this is when it was solved.

    `resolved_at` is the resolution that stands, null if the source never recorded one;
    `reopen_count` how often a resolution did not hold.
    """

    TYPE: ClassVar[str] = "ticket.closed"

    closed_by: Key
    code: Key
    resolved_at: Instant | None
    reopen_count: Count


class TicketReopened(TicketData, frozen=True, kw_only=True):
    """The solution did not hold; `reopen_count` counts this time too."""

    TYPE: ClassVar[str] = "ticket.reopened"

    reopened_by: Key
    reason: Text
    reopen_count: Count


class TicketCancelled(TicketData, frozen=True, kw_only=True):
    """The ticket was withdrawn or was none; no solution is owed."""

    TYPE: ClassVar[str] = "ticket.cancelled"

    cancelled_by: Key
    reason: Text


class TicketMerged(TicketData, frozen=True, kw_only=True):
    """The ticket is the same trouble as another one: work goes on there, and this one has ended."""

    TYPE: ClassVar[str] = "ticket.merged"

    into: UUID
    merged_by: Key
    reason: Text = ""


class TicketLinked(TicketData, frozen=True, kw_only=True):
    """Another ticket was merged into this one, or split off from it."""

    TYPE: ClassVar[str] = "ticket.linked"

    linked_id: UUID
    relation: Literal["merged_in", "split_off"]


class TicketRated(TicketData, frozen=True, kw_only=True):
    """The requester's satisfaction, 1 (bad) to 5 (good); a later rating replaces it."""

    TYPE: ClassVar[str] = "ticket.rated"

    rated_by: Key
    score: Annotated[int, Meta(ge=1, le=5)]
    comment: Text = ""


TicketEvent = (
    TicketCreated
    | TicketUpdated
    | TicketCommented
    | TicketStarted
    | TicketHeld
    | TicketResumed
    | TicketResolved
    | TicketClosed
    | TicketReopened
    | TicketCancelled
    | TicketMerged
    | TicketLinked
    | TicketRated
)
