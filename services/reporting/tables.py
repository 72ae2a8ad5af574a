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
    indexes=("created_at", "number", "USING brin (resolved_at, closed_at, cancelled_at)"),
)
REPLIES: Final = Table("reply", {"ticket_id": UUID, "comment_id": UUID}, (Reply,))
VERDICTS: Final = Table(
    "verdict",
    {"ticket_id": UUID, "target": str, "cycle": int, "generation": int},
    (Verdict,),
)
CALENDARS: Final = Table("calendar", {"calendar_id": str}, (CalendarDocument,))
TABLES: Final = (TICKETS, REPLIES, VERDICTS, CALENDARS)

ROLLUP_LOCK: Final = 0x726F6C6C
"""Advisory: who refreshes rollups, or changes of which calendars there are any, is alone in it."""
HOUR: Final = "floor(extract(epoch FROM created_at) / 3600)::bigint"
_MEASURED: Final = """CREATE VIEW measured AS
    SELECT t.ticket_id, t.created_at, t.resolved_at, t.closed_at, t.cancelled_at, t.priority,
        t.category, t.assigned_group,
        (SELECT min(replied_at) FROM reply r WHERE r.ticket_id = t.ticket_id) AS first_reply_at,
        coalesce(t.reopen_count, 0) AS reopen_count,
        coalesce(t.reassignment_count, 0) AS reassignment_count,
        (SELECT CASE WHEN bool_or(outcome = 'missed') THEN 'missed'
                     WHEN bool_or(outcome = 'met') THEN 'met' END
         FROM verdict v WHERE v.ticket_id = t.ticket_id AND v.kind = 'sla') AS sla_verdict,
        t.score
    FROM ticket t WHERE t.birth_seq IS NOT NULL"""
_HOURS: Final = """CREATE VIEW hours AS
    SELECT calendar_id, document, md5(document::text) AS digest FROM calendar"""
_ROLLUP: Final = """CREATE TABLE rollup (
    calendar text NOT NULL, size integer NOT NULL, number bigint NOT NULL,
    whole bytea NOT NULL, priority bytea NOT NULL, assigned_group bytea NOT NULL,
    category bytea NOT NULL, flow bytea,
    PRIMARY KEY (calendar, size, number)
)"""
_MARK: Final = """CREATE TABLE mark (
    size integer NOT NULL, number bigint, calendar text NOT NULL, ticket_id uuid
)"""
_MARK_ALL: Final = f"""INSERT INTO mark (size, number, calendar)
    SELECT DISTINCT 1, {HOUR}, '' FROM ticket WHERE birth_seq IS NOT NULL"""  # noqa: S608 text of ours
_MARK_TICKETS: Final = f"""CREATE FUNCTION mark_tickets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($sql$ INSERT INTO %I.mark (size, number, calendar)
        SELECT DISTINCT 1, {HOUR}, '' FROM changed WHERE birth_seq IS NOT NULL
    $sql$, TG_TABLE_SCHEMA);
    RETURN NULL;
END $$"""  # noqa: S608
_MARK_PARTS: Final = f"""CREATE FUNCTION mark_parts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format($sql$ INSERT INTO %1$I.mark (size, number, calendar, ticket_id)
        SELECT DISTINCT 1, {HOUR}, '', CASE WHEN birth_seq IS NULL THEN ticket_id END
        FROM changed LEFT JOIN %1$I.ticket USING (ticket_id)
    $sql$, TG_TABLE_SCHEMA);
    RETURN NULL;
END $$"""  # noqa: S608
_MARK_CALENDARS: Final = f"""CREATE FUNCTION mark_calendars() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock({ROLLUP_LOCK});
    EXECUTE format($sql$ DELETE FROM %1$I.rollup
        WHERE calendar <> '' AND calendar NOT IN (SELECT digest FROM %1$I.hours)
    $sql$, TG_TABLE_SCHEMA);
    EXECUTE format($sql$ DELETE FROM %1$I.mark
        WHERE calendar <> '' AND calendar NOT IN (SELECT digest FROM %1$I.hours)
    $sql$, TG_TABLE_SCHEMA);
    EXECUTE format($sql$ INSERT INTO %1$I.mark (size, number, calendar)
        SELECT 1, r.number, h.digest
        FROM changed JOIN %1$I.hours h USING (calendar_id)
        JOIN %1$I.rollup r ON r.calendar = '' AND r.size = 1
        WHERE NOT EXISTS (SELECT FROM %1$I.rollup o WHERE o.calendar = h.digest AND o.size = 1)
    $sql$, TG_TABLE_SCHEMA);
    RETURN NULL;
END $$"""  # noqa: S608


def _triggers(table: str, function: str) -> tuple[str, ...]:
    return tuple(
        f"CREATE TRIGGER mark_{verb.lower()} AFTER {verb} ON {table}"
        f" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        for verb in ("INSERT", "UPDATE")
    )


VIEWS: Final = (
    _MEASURED,
    _HOURS,
    _ROLLUP,
    _MARK,
    _MARK_ALL,
    "CREATE INDEX ON mark (size, number)",
    _MARK_TICKETS,
    _MARK_PARTS,
    _MARK_CALENDARS,
    *_triggers("ticket", "mark_tickets"),
    *_triggers("reply", "mark_parts"),
    *_triggers("verdict", "mark_parts"),
    *_triggers("calendar", "mark_calendars"),
)
"""All that is derived. A row of `rollup` is a function of the rows of its bucket's tickets, and of
a calendar where it has one; a `mark` says that it is out of date (ADR 0012)."""
