"""Routing's read model: the roster, who has which ticket, every fact about a ticket."""

from datetime import datetime
from typing import Final
from uuid import UUID

from shared.runtime.read_model import HISTORY, Facet, Table


class Registration(Facet, frozen=True):
    """What the roster says of an agent."""

    name: str
    agent_group: str
    line: int
    skills: list[str]
    workload_max: int


class Availability(Facet, frozen=True):
    """Whether the agent takes new tickets; null means they never said."""

    available: bool


class Record(Facet, frozen=True):
    """What people call the ticket."""

    number: str


class Ranking(Facet, frozen=True):
    """The ticket's rank and why."""

    priority: str
    impact: str
    urgency: str
    ranking_reasons: list[str]


class Assignment(Facet, frozen=True):
    """Who has the ticket and why."""

    assigned_group: str
    agent_id: str | None
    line: int
    reassignment_count: int
    assignment_reasons: list[str]
    assigned_at: datetime


class Escalation(Facet, frozen=True):
    """The last escalation and why."""

    escalation_count: int
    escalation_reasons: list[str]
    escalated_at: datetime


class Progress(Facet, frozen=True):
    """Whether intake still counts the ticket as work to do."""

    is_open: bool


AGENTS: Final = Table("agent", {"agent_id": str}, (Registration, Availability))
TICKETS: Final = Table(
    "ticket",
    {"ticket_id": UUID},
    (Record, Ranking, Assignment, Escalation, Progress),
    indexes=("agent_id, is_open", "assigned_group, is_open", "number"),
)
# The version before this one decides by the view, and serves for minutes beside it.
VIEWS: Final = (
    """CREATE VIEW roster AS
    SELECT a.agent_id, a.name, a.agent_group, a.line, a.skills, a.workload_max,
        coalesce(a.available, true) AS available,
        (SELECT count(*) FROM ticket t WHERE t.agent_id = a.agent_id AND t.is_open) AS workload
    FROM agent a WHERE a.registration_seq IS NOT NULL""",
)
TABLES: Final = (AGENTS, TICKETS, HISTORY)
