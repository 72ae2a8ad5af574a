"""Sla's read model: clocks, the tickets they belong to, published rules, every fact of a ticket."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from shared.runtime.read_model import HISTORY, Facet, Table


class Promise(Facet, frozen=True):
    """What was promised."""

    target: str
    cycle: int
    generation: int
    kind: str
    started_at: datetime
    promised_at: datetime
    goal: dict[str, Any]
    calendar: str
    policy_id: str
    policy_version: int


class Course(Facet, frozen=True):
    """How the clock runs now; it has no due time while it is paused."""

    target: str
    cycle: int
    generation: int
    is_paused: bool
    due_at: datetime | None
    pause_reason: str | None


class Warned(Facet, frozen=True):
    """The rule of the last warning."""

    target: str
    cycle: int
    generation: int
    warned: dict[str, Any]


class Breach(Facet, frozen=True):
    """The breach that stands, if any."""

    target: str
    cycle: int
    generation: int
    breached_at: datetime | None


class Outcome(Facet, frozen=True):
    """How the clock ended; null while it runs."""

    target: str
    cycle: int
    generation: int
    outcome: str | None
    stopped_at: datetime | None
    source_system: str | None


class Record(Facet, frozen=True):
    """What a ticket was reported as, and by whose people."""

    ticket_kind: str
    customer: str | None
    site: str | None
    created_at: datetime


class Details(Facet, frozen=True):
    """What the ticket is about."""

    category: str | None
    service: str | None


class Rank(Facet, frozen=True):
    """How urgent it is."""

    priority: str


class Holder(Facet, frozen=True):
    """Whose work it is."""

    assigned_group: str


class PolicyDocument(Facet, frozen=True):
    """The newest version of a policy, whole."""

    version: int
    targets: list[Any]


class CalendarDocument(Facet, frozen=True):
    """The newest version of a calendar, whole."""

    version: int
    document: dict[str, Any]


CLOCKS: Final = Table(
    "clock",
    {"ticket_id": UUID, "target": str, "cycle": int, "generation": int},
    (Promise, Course, Warned, Breach, Outcome),
    indexes=("due_at",),
)
TICKETS: Final = Table("ticket", {"ticket_id": UUID}, (Record, Details, Rank, Holder))
POLICIES: Final = Table("policy", {"policy_id": str}, (PolicyDocument,))
CALENDARS: Final = Table("calendar", {"calendar_id": str}, (CalendarDocument,))
TABLES: Final = (CLOCKS, TICKETS, POLICIES, CALENDARS, HISTORY)
