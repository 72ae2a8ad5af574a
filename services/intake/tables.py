"""Intake's board: one row per ticket, and what was said on it."""

from datetime import datetime
from typing import Final
from uuid import UUID

from shared.runtime.read_model import Facet, Table
from shared.search.documents import texts


class Record(Facet, frozen=True):
    """What never changes once the ticket is created."""

    number: str
    kind: str
    requester_id: str
    requester_name: str | None
    contact: str | None
    department: str | None
    customer: str | None
    site: str | None
    channel: str
    occurred_at: datetime
    created_at: datetime


class Details(Facet, frozen=True):
    """What may be corrected."""

    title: str
    description: str
    impact: str | None
    urgency: str | None
    people: int | None
    sites: int | None
    category: str | None
    service: str | None


class Progress(Facet, frozen=True):
    """Where the ticket is in its life."""

    status: str
    status_since: datetime
    hold_reason: str | None


class Solution(Facet, frozen=True):
    """The solution that stands; null again once the ticket is reopened."""

    resolution: str | None


class Activity(Facet, frozen=True):
    """The last thing intake recorded, whatever it was; its guard is the ticket's sequence."""

    updated_at: datetime


class Rating(Facet, frozen=True):
    """How satisfied the requester was."""

    score: int


class Ranking(Facet, frozen=True):
    """Routing's view of the rank."""

    priority: str


class Assignment(Facet, frozen=True):
    """Routing's view of who has it."""

    assigned_group: str
    agent_id: str | None
    line: int


class Comment(Facet, frozen=True):
    """Something said on a ticket: a fact, set once."""

    comment_id: UUID
    author_id: str
    author_role: str
    visibility: str
    body: str
    commented_at: datetime


class Link(Facet, frozen=True):
    """Another ticket that has to do with this one: a fact, set once."""

    linked_id: UUID
    relation: str


OPEN: Final = "status IN ('new', 'in_progress', 'on_hold')"
RANK: Final = "coalesce(priority, 'none')"
BOARD: Final = Table(
    "board",
    {"ticket_id": UUID},
    (Record, Details, Progress, Solution, Activity, Rating, Ranking, Assignment),
    indexes=(
        "created_at, ticket_id",
        f"{RANK}, created_at, ticket_id WHERE {OPEN}",
        "number",
        "requester_id",
        "requester_id WHERE status = 'merged'",
        "assigned_group, status",
    ),
)
COMMENTS: Final = Table(
    "comment",
    {"ticket_id": UUID, "comment_id": UUID},
    (Comment,),
    indexes=("ticket_id, comment_seq", "ticket_id, comment_seq WHERE visibility = 'public'"),
)
LINKS: Final = Table(
    "link",
    {"ticket_id": UUID, "linked_id": UUID},
    (Link,),
    indexes=("ticket_id WHERE relation = 'merged_into'",),
)
WORDING: Final = texts("ticket_id")
