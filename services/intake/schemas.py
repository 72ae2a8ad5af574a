"""Bodies of intake's requests and answers. The record of a new ticket is a contract of its own."""

from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.contracts.base import ATTRIBUTE_MAX, Key, Level, Text, Title
from shared.contracts.intake import Requester, Scope, TicketReported
from shared.contracts.registry import INBOUND
from shared.http.answers import ItemError
from shared.http.commands import Body
from shared.http.named import IdOrNumber

REPORT: Final = TicketReported(
    requester=Requester(id="ann", name="Ann Lee", contact="ann@example.org", department="Sales"),
    title="VPN drops every few minutes",
    description="Since this morning, from home and from the office.",
    category="network",
    urgency="high",
)
EVENT: Final = {
    "specversion": "1.0",
    "type": INBOUND,
    "source": "/monitoring/berlin",
    "id": "alert-4711",
    "dataschema": "urn:deskledger:event:ticket.reported:v2",
    "datacontenttype": "application/json",
    "data": {"requester": {"id": "monitoring"}, "title": "Disk full on db-3", "channel": "alert"},
}


class NewSource(Body, frozen=True):
    """Who reports as a CloudEvents source over HTTP."""

    source: Annotated[str, Meta(min_length=1, max_length=ATTRIBUTE_MAX)]
    subject: Key


SOURCE_EXAMPLE: Final = NewSource(source="/monitoring/berlin", subject="mon")


class NewTickets(Body, frozen=True):
    """Many reports at once."""

    tickets: Annotated[tuple[TicketReported, ...], Meta(min_length=1, max_length=1_000)]


class RawTickets(Body, frozen=True):
    """Many reports, each still as it came: what is wrong with one refuses that one."""

    tickets: Annotated[tuple[msgspec.Raw, ...], Meta(min_length=1, max_length=1_000)]


class NewComment(Body, frozen=True):
    """Something to say. `comment_id` makes a repetition harmless.

    `author_id` is whose words these are, if not the caller's own: a gateway passes on a mail, an
    agent what was said on the telephone. They then count as said by those who asked, never as an
    answer of the desk.
    """

    text: Annotated[str, Meta(min_length=1, max_length=65_536)]
    visibility: Literal["public", "internal"] = "public"
    comment_id: UUID | None = None
    author_id: Key | None = None


class Correction(Body, frozen=True):
    """Fields to correct; those left out stay as they are."""

    title: Title | UnsetType = UNSET
    description: Text | UnsetType = UNSET
    impact: Level | UnsetType | None = UNSET
    urgency: Level | UnsetType | None = UNSET
    scope: Scope | UnsetType = UNSET
    category: Key | UnsetType | None = UNSET
    service: Key | UnsetType | None = UNSET


class Start(Body, frozen=True):
    """Who takes up the work; the caller, if left out."""

    agent_id: Key | None = None


class Hold(Body, frozen=True):
    """What the ticket waits for, such as `requester`, `vendor` or `change`."""

    reason: Key
    note: Text = ""


class Resume(Body, frozen=True):
    """Nothing more to say."""


class Resolve(Body, frozen=True):
    """The solution, as the requester will read it."""

    resolution: Annotated[str, Meta(min_length=1, max_length=65_536)]


class Close(Body, frozen=True):
    """How the ticket ended."""

    code: Key = "solved"


class Reason(Body, frozen=True):
    """Why."""

    reason: Annotated[str, Meta(min_length=1, max_length=65_536)]


class Merge(Body, frozen=True):
    """The ticket in which the work goes on, and why."""

    into: IdOrNumber
    reason: Text = ""


class Rate(Body, frozen=True):
    """The requester's satisfaction, 1 (bad) to 5 (good)."""

    score: Annotated[int, Meta(ge=1, le=5)]
    comment: Text = ""


class TicketAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The ticket that a report became; `sequence` is the ETag of the ticket."""

    ticket_id: UUID
    number: str
    sequence: int


class ItemAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One report of a batch: 201 a new ticket, 200 one that it had become before, or why not."""

    status: int
    ticket: TicketAnswer | None = None
    error: ItemError | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """One result per report, in the order of the request."""

    results: list[ItemAnswer]
