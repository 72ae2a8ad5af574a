"""Intake's board: one row per ticket, and what was said on it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.runtime.read_model import Table


@dataclass(frozen=True, slots=True)
class Record:
    """What never changes once the ticket is created."""

    number: str
    kind: str
    requester_id: str
    requester_name: str | None
    contact: str | None
    department: str | None
    channel: str
    occurred_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Details:
    """What may be corrected."""

    title: str
    description: str
    impact: str | None
    urgency: str | None
    people: int | None
    sites: int | None
    category: str | None
    service: str | None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the ticket is in its life."""

    status: str
    status_since: datetime
    hold_reason: str | None


@dataclass(frozen=True, slots=True)
class Solution:
    """The solution that stands; null again once the ticket is reopened."""

    resolution: str | None


@dataclass(frozen=True, slots=True)
class Activity:
    """The last thing intake recorded, whatever it was; its guard is the ticket's sequence."""

    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Rating:
    """How satisfied the requester was."""

    score: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Routing's view of the rank."""

    priority: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """Routing's view of who has it."""

    assigned_group: str
    agent_id: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Comment:
    """Something said on a ticket: a fact, set once."""

    comment_id: UUID
    author_id: str
    author_role: str
    visibility: str
    body: str
    commented_at: datetime


BOARD: Final = Table(
    "board",
    {"ticket_id": UUID},
    (Record, Details, Progress, Solution, Activity, Rating, Ranking, Assignment),
    indexes=(
        "created_at, ticket_id",
        "status, priority, created_at",
        "number",
        "requester_id",
        "assigned_group, status",
    ),
)
COMMENTS: Final = Table("comment", {"ticket_id": UUID, "comment_id": UUID}, (Comment,))
