"""Sla's read model: clocks, the tickets they belong to, published rules, every fact of a ticket."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.sla.domain.attainment import Dimension
from shared.contracts.availability import (
    AvailabilityPromised,
    MaintenanceScheduled,
    OutageRecorded,
)
from shared.contracts.base import EventData
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

    number: str
    ticket_kind: str
    customer: str | None
    site: str | None
    created_at: datetime


class Details(Facet, frozen=True):
    """What the ticket is about."""

    title: str
    category: str | None
    service: str | None


class Closure(Facet, frozen=True):
    """Whether its work is over."""

    is_over: bool


class Rank(Facet, frozen=True):
    """How urgent it is."""

    priority: str


class Holder(Facet, frozen=True):
    """Whose work it is."""

    assigned_group: str


class Said(Facet, frozen=True):
    """A comment, whole; `kind` is what the clocks call it."""

    writer: str
    sequence: int
    type: str
    kind: str
    time: datetime
    value: bytes


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


class AgreementDocument(Facet, frozen=True):
    """A version of an agreement, whole."""

    version: int
    document: dict[str, Any]


class CustomerSignature(Facet, frozen=True):
    """Who signed a version for the customer."""

    version: int
    customer_signatory: str
    customer_signed_at: datetime


class ProviderSignature(Facet, frozen=True):
    """Who signed a version for the provider."""

    version: int
    provider_signatory: str
    provider_signed_at: datetime


class Remedy(Facet, frozen=True):
    """A review of a period, whole."""

    period_start: datetime
    revision: int
    document: dict[str, Any]


CLOCKS: Final = Table(
    "clock",
    {"ticket_id": UUID, "target": str, "cycle": int, "generation": int},
    (Promise, Course, Warned, Breach, Outcome),
    indexes=(
        "due_at, ticket_id WHERE outcome IS NULL",
        "ticket_id WHERE outcome IS NULL",
        "stopped_at DESC NULLS LAST WHERE outcome IS NOT NULL",
        "breached_at WHERE breached_at IS NOT NULL",
    ),
)
"""Who asks for running clocks passes by those that ended; who asks for a period, by the others."""
TICKETS: Final = Table(
    "ticket",
    {"ticket_id": UUID},
    (Record, Details, Closure, Rank, Holder),
    indexes=("ticket_id WHERE is_over IS NOT TRUE",),
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
AGREEMENTS: Final = Table(
    "agreement",
    {"agreement_id": str, "version": int},
    (AgreementDocument, CustomerSignature, ProviderSignature),
)
REMEDIES: Final = Table(
    "remedy", {"agreement_id": str, "period_start": datetime, "revision": int}, (Remedy,)
)
FACTS: Final = replace(
    HISTORY,
    name="fact",
    indexes=("stream_id WHERE type IN ('ticket.merged', 'ticket.linked')",),
)
"""With the few events by which due times pass on quickly found, for those who ask for all."""
SAID: Final = Table(
    "said",
    {"stream_id": str, "writer": str, "sequence": int},
    (Said,),
    indexes=("stream_id, kind, time, sequence",),
)
"""Comments by themselves: they are what a ticket may have thousands of, and few of them count."""
VIEWS: Final = (
    """CREATE VIEW history AS
    SELECT stream_id, writer, sequence, type, time, value FROM fact UNION ALL
    SELECT stream_id, writer, sequence, type, time, value FROM said""",
)

TABLES: Final = (
    *(CLOCKS, TICKETS, POLICIES, CALENDARS, FACTS, SAID),
    *(OUTAGES, MAINTENANCE, AVAILABILITY, AGREEMENTS, REMEDIES),
)
DOCUMENTS: Final[dict[type[EventData], Table]] = {
    OutageRecorded: OUTAGES,
    MaintenanceScheduled: MAINTENANCE,
    AvailabilityPromised: AVAILABILITY,
}
"""Where whole documents are shown."""

# --- Verdicts, derived from the clocks: parts of the question how many promises were kept --------

DIMENSIONS: Final[dict[Dimension, str]] = {
    "policy": "v.policy_id",
    "group": "t.assigned_group",
    "month": "to_char(v.at AT TIME ZONE $4, 'YYYY-MM')",
    "priority": "t.priority",
    "customer": "t.customer",
    "site": "t.site",
    "service": "t.service",
    "category": "t.category",
}
ALL_CYCLES: Final = "FROM read.clock k"
CYCLES_WITHIN: Final = """
FROM (
    SELECT ticket_id, target, cycle FROM read.clock WHERE outcome IS NOT NULL
        AND stopped_at >= coalesce($1::timestamptz, '-infinity')
        AND stopped_at < coalesce($2::timestamptz, 'infinity')
    UNION SELECT ticket_id, target, cycle FROM read.clock WHERE breached_at IS NOT NULL
        AND breached_at >= coalesce($1::timestamptz, '-infinity')
        AND breached_at < coalesce($2::timestamptz, 'infinity')
) c, LATERAL (
    SELECT * FROM read.clock k
    WHERE (k.ticket_id, k.target, k.cycle) = (c.ticket_id, c.target, c.cycle) OFFSET 0
) k
"""
"""Those that may have their verdict within the period: it is when one of their clocks ended or was
breached. Two index ranges, then each cycle by its key."""
VERDICTS: Final = """
WITH cycle AS (
    SELECT k.ticket_id, k.target, k.cycle, max(kind) AS kind, max(source_system) AS source_system,
        (array_agg(policy_id ORDER BY generation DESC))[1] AS policy_id,
        bool_or(breached_at IS NOT NULL OR outcome = 'missed') AS missed,
        bool_or(outcome = 'met') AS met, min(breached_at) AS breached_at,
        bool_or(outcome IS NULL) AS running, max(stopped_at) AS stopped_at
    {cycles} WHERE cardinality($5::text[]) = 0 OR k.target = ANY($5::text[])
    GROUP BY k.ticket_id, k.target, k.cycle
), verdict AS (
    SELECT *, CASE WHEN missed THEN coalesce(breached_at, stopped_at) ELSE stopped_at END AS at,
        CASE WHEN running THEN $3 ELSE coalesce(stopped_at, breached_at) END AS until
    FROM cycle WHERE missed OR met
)
"""
ATTAINMENT: Final = """
SELECT v.target, v.kind, v.source_system, count(*) FILTER (WHERE NOT v.missed) AS met,
    count(*) FILTER (WHERE v.missed) AS missed,
    coalesce(sum(extract(epoch FROM least(v.until, $2, $3) - v.breached_at))
        FILTER (WHERE v.missed AND v.until > v.breached_at), 0)::bigint AS late_seconds
"""
JUDGED: Final = """
FROM verdict v LEFT JOIN read.ticket t USING (ticket_id)
WHERE ($1::timestamptz IS NULL OR v.at >= $1) AND ($2::timestamptz IS NULL OR v.at < $2)
    AND ($3::timestamptz IS NOT NULL) AND ($4::text IS NOT NULL)
    AND (cardinality($6::text[]) = 0 OR t.priority = ANY($6::text[]))
    AND (cardinality($7::text[]) = 0 OR t.customer = ANY($7::text[]))
    AND (cardinality($8::text[]) = 0 OR t.service = ANY($8::text[]))
"""
