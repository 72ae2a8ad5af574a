"""Reporting's read model: what the KPIs need to know of a ticket."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from shared.runtime.read_model import Facet, Table


class Birth(Facet, frozen=True):
    """What never changes once the ticket is created."""

    number: str
    kind: str
    channel: str
    created_at: datetime


class Label(Facet, frozen=True):
    """What the ticket is about, as last corrected."""

    title: str
    category: str | None


class Resolution(Facet, frozen=True):
    """The resolution that stands; null once the ticket is reopened."""

    resolved_at: datetime | None


class Closing(Facet, frozen=True):
    """When the ticket was closed, null once it is reopened; cancelled tickets are not closed."""

    closed_at: datetime | None
    cancelled_at: datetime | None


class Reopening(Facet, frozen=True):
    """How often a resolution did not hold."""

    reopen_count: int


class Rating(Facet, frozen=True):
    """How satisfied the requester was."""

    score: int


class Ranking(Facet, frozen=True):
    """Routing's last word on the rank."""

    priority: str


class Assignment(Facet, frozen=True):
    """Routing's last word on who has it."""

    assigned_group: str
    agent_id: str | None
    reassignment_count: int


class Reply(Facet, frozen=True):
    """A public comment of an agent."""

    comment_id: UUID
    replied_at: datetime


class Verdict(Facet, frozen=True):
    """How one clock of the ticket ended; null while it runs."""

    target: str
    cycle: int
    generation: int
    kind: str
    outcome: str | None


class CalendarDocument(Facet, frozen=True):
    """The newest version of a published calendar, whole."""

    document: dict[str, Any]


TICKETS: Final = Table(
    "ticket",
    {"ticket_id": UUID},
    (Birth, Label, Resolution, Closing, Reopening, Rating, Ranking, Assignment),
    indexes=("created_at", "number"),
)
REPLIES: Final = Table("reply", {"ticket_id": UUID, "comment_id": UUID}, (Reply,))
VERDICTS: Final = Table(
    "verdict",
    {"ticket_id": UUID, "target": str, "cycle": int, "generation": int},
    (Verdict,),
)
CALENDARS: Final = Table("calendar", {"calendar_id": str}, (CalendarDocument,))
TABLES: Final = (TICKETS, REPLIES, VERDICTS, CALENDARS)
VIEWS: Final = (
    """CREATE VIEW measured AS
    SELECT t.ticket_id, t.created_at, t.resolved_at, t.closed_at, t.cancelled_at, t.priority,
        t.category, t.assigned_group,
        (SELECT min(replied_at) FROM reply r WHERE r.ticket_id = t.ticket_id) AS first_reply_at,
        coalesce(t.reopen_count, 0) AS reopen_count,
        coalesce(t.reassignment_count, 0) AS reassignment_count,
        (SELECT CASE WHEN bool_or(outcome = 'missed') THEN 'missed'
                     WHEN bool_or(outcome = 'met') THEN 'met' END
         FROM verdict v WHERE v.ticket_id = t.ticket_id AND v.kind = 'sla') AS sla_verdict,
        t.score
    FROM ticket t WHERE t.birth_seq IS NOT NULL""",
)
