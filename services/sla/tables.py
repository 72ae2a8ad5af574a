"""Sla's read model: clocks, the tickets they belong to, published rules, every fact of a ticket."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

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
    requester_id: str


class Merger(Facet, frozen=True):
    """The ticket in which its work goes on."""

    merged_into: UUID


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
    (Record, Merger, Details, Closure, Rank, Holder),
    indexes=(
        "ticket_id WHERE is_over IS NOT TRUE",
        "number",
        "requester_id WHERE merged_into IS NOT NULL",
    ),
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

# --- Verdicts, derived from the clocks, and what they come to by the hour (ADR 0012) -------------

_VERDICT: Final = """CREATE VIEW verdict AS
    SELECT c.ticket_id, c.target, c.cycle, c.kind, c.source_system, c.policy_id, t.priority,
        t.assigned_group, t.customer, t.site, t.service, t.category, c.is_missed, c.is_running,
        CASE WHEN is_missed THEN coalesce(breached_at, stopped_at) ELSE stopped_at END AS at,
        c.breached_at, coalesce(stopped_at, breached_at) AS ended_at
    FROM (
        SELECT ticket_id, target, cycle, max(kind) AS kind, max(source_system) AS source_system,
            (array_agg(policy_id ORDER BY generation DESC))[1] AS policy_id,
            bool_or(breached_at IS NOT NULL OR outcome = 'missed') AS is_missed,
            bool_or(outcome = 'met') AS is_met, bool_or(outcome IS NULL) AS is_running,
            min(breached_at) AS breached_at, max(stopped_at) AS stopped_at
        FROM clock GROUP BY ticket_id, target, cycle
    ) c LEFT JOIN ticket t USING (ticket_id) WHERE is_missed OR is_met"""
_ROLLUP: Final = """CREATE TABLE rollup (
    size integer NOT NULL, number bigint NOT NULL, is_total boolean NOT NULL,
    target text NOT NULL, kind text, source_system text, policy_id text, assigned_group text,
    priority text, customer text, site text, service text, category text,
    met bigint NOT NULL, missed bigint NOT NULL, late_us numeric NOT NULL,
    overdue bigint NOT NULL, overdue_us numeric NOT NULL, until timestamptz
)"""
_HOUR: Final = "floor(extract(epoch FROM at) / 3600)::bigint"
_TOUCHED_HOUR: Final = f"""CREATE VIEW touched_hour (hour) AS
    SELECT {_HOUR} FROM touched o, LATERAL (
        SELECT breached_at, stopped_at FROM clock c WHERE c.ticket_id = o.ticket_id OFFSET 0
    ) c, unnest(ARRAY[breached_at, stopped_at]) at WHERE at IS NOT NULL
    UNION SELECT {_HOUR} FROM touched, unnest(ARRAY[was_at]) at WHERE at IS NOT NULL
    UNION SELECT {_HOUR} FROM clock, unnest(ARRAY[breached_at, stopped_at]) at
    WHERE at IS NOT NULL
        AND EXISTS (SELECT FROM touched WHERE ticket_id IS NULL AND was_at IS NULL)"""  # noqa: S608 text of ours
_TOUCH: Final = """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.touched (ticket_id) SELECT ticket_id FROM now_so',
        TG_TABLE_SCHEMA);
    IF TG_ARGV[0] = 'moves' THEN
        EXECUTE format('INSERT INTO %I.touched (was_at) SELECT at FROM once_so,
            unnest(ARRAY[breached_at, stopped_at]) at WHERE at IS NOT NULL', TG_TABLE_SCHEMA);
    END IF;
    RETURN NULL;
END $$"""


def _trigger(table: str, verb: str, more: str = "", what: str = "") -> str:
    """Return what has `touch` note the rows written, in whatever schema the table then is."""
    return (
        f"CREATE TRIGGER touch_{verb.lower()} AFTER {verb} ON {table}"
        f" REFERENCING {more} NEW TABLE AS now_so FOR EACH STATEMENT"
        f" EXECUTE FUNCTION touch('{what}')"
    )


VIEWS: Final = (
    """CREATE VIEW history AS
    SELECT stream_id, writer, sequence, type, time, value FROM fact UNION ALL
    SELECT stream_id, writer, sequence, type, time, value FROM said""",
    _VERDICT,
    _ROLLUP,
    "CREATE INDEX ON rollup (size, number, is_total)",
    "CREATE TABLE touched (ticket_id uuid, was_at timestamptz)",
    "INSERT INTO touched VALUES (NULL, NULL)",
    "CREATE TABLE stale (hour bigint PRIMARY KEY)",
    _TOUCHED_HOUR,
    _TOUCH,
    _trigger("ticket", "INSERT"),
    _trigger("ticket", "UPDATE"),
    _trigger("clock", "INSERT"),
    _trigger("clock", "UPDATE", "OLD TABLE AS once_so", "moves"),
)
"""All that is derived.

Rows of `rollup` are what the verdicts come to that fell in some hours, by all that is counted
apart, and again by target alone (`is_total`): `late_us` of those that ended; of those that run on,
how many are `overdue` and the sum of their breaches since 1970; `until` is the last end, or breach
of one that runs on. `touched` are tickets that changed since anyone looked, and instants that
verdicts may have had before; a row of nulls is all there is. `stale` are the hours to count anew.
Buckets that hold an hour of either must not be used.
"""
