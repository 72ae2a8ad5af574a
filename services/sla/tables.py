"""Sla's read model: one row per clock, the published rules, and every fact about a ticket."""

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


class PolicyDocument(Facet, frozen=True):
    """The newest version of a policy, whole."""

    version: int
    targets: list[Any]


class CalendarDocument(Facet, frozen=True):
    """The newest version of a calendar, whole."""

    version: int
    document: dict[str, Any]


class Outage(Facet, frozen=True):
    """The newest recording of an outage."""

    service: str
    started_at: datetime
    ended_at: datetime | None
    source: str
    ticket_id: UUID | None
    is_withdrawn: bool


class Maintenance(Facet, frozen=True):
    """The newest word on a maintenance."""

    service: str
    starts_at: datetime
    ends_at: datetime
    is_cancelled: bool


class PromisedAvailability(Facet, frozen=True):
    """What was promised for a service, each promise by itself; `version` is its sequence."""

    version: int
    promised_at: datetime
    share_min: float
    calendar: str


CLOCKS: Final = Table(
    "clock",
    {"ticket_id": UUID, "target": str, "cycle": int, "generation": int},
    (Promise, Course, Warned, Breach, Outcome),
    indexes=("due_at",),
)
POLICIES: Final = Table("policy", {"policy_id": str}, (PolicyDocument,))
CALENDARS: Final = Table("calendar", {"calendar_id": str}, (CalendarDocument,))
OUTAGES: Final = Table(
    "outage", {"outage_id": str}, (Outage,), indexes=("service, started_at", "started_at")
)
MAINTENANCE: Final = Table(
    "maintenance", {"maintenance_id": str}, (Maintenance,), indexes=("service, starts_at",)
)
AVAILABILITY: Final = Table(
    "availability", {"service": str, "version": int}, (PromisedAvailability,)
)
TABLES: Final = (CLOCKS, POLICIES, CALENDARS, HISTORY, OUTAGES, MAINTENANCE, AVAILABILITY)
