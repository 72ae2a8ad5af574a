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
    """How the ticket ended, if it did: closed, cancelled, or merged into another."""

    closed_at: datetime | None = None
    cancelled_at: datetime | None = None
    merged_at: datetime | None = None


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


class Breach(Facet, frozen=True):
    """Whether one clock of the ticket broke its promise; false again where that was taken back.

    It stays broken whatever becomes of the clock: merging, cancelling or a new priority ends it,
    but keeps no promise.
    """

    target: str
    cycle: int
    generation: int
    is_breached: bool


class CalendarDocument(Facet, frozen=True):
    """The newest version of a published calendar, whole."""

    document: dict[str, Any]


TICKETS: Final = Table(
    "ticket",
    {"ticket_id": UUID},
    (Birth, Label, Resolution, Closing, Reopening, Rating, Ranking, Assignment),
    indexes=(
        "created_at",
        "number",
        "USING brin (resolved_at, closed_at)",
        "cancelled_at WHERE cancelled_at IS NOT NULL",
        "merged_at WHERE merged_at IS NOT NULL",
    ),
)
REPLIES: Final = Table("reply", {"ticket_id": UUID, "comment_id": UUID}, (Reply,))
VERDICTS: Final = Table(
    "verdict",
    {"ticket_id": UUID, "target": str, "cycle": int, "generation": int},
    (Verdict, Breach),
)
CALENDARS: Final = Table("calendar", {"calendar_id": str}, (CalendarDocument,))
TABLES: Final = (TICKETS, REPLIES, VERDICTS, CALENDARS)

_HOUR: Final = "floor(extract(epoch FROM created_at) / 3600)::bigint"
_MEASURED: Final = """CREATE VIEW measured AS
    SELECT t.ticket_id, t.created_at, t.resolved_at, t.closed_at, t.cancelled_at, t.merged_at,
        t.priority, t.category, t.assigned_group,
        (SELECT min(replied_at) FROM reply r WHERE r.ticket_id = t.ticket_id) AS first_reply_at,
        coalesce(t.reopen_count, 0) AS reopen_count,
        coalesce(t.reassignment_count, 0) AS reassignment_count,
        (SELECT CASE WHEN bool_or(is_breached OR outcome = 'missed') THEN 'missed'
                     WHEN bool_or(outcome = 'met') THEN 'met' END
         FROM verdict v WHERE v.ticket_id = t.ticket_id AND v.kind = 'sla') AS sla_verdict,
        t.score
    FROM ticket t WHERE t.birth_seq IS NOT NULL"""
_HOURS: Final = """CREATE VIEW hours AS
    SELECT calendar_id, document, md5(document::text) AS digest FROM calendar"""
_ROLLUP: Final = """CREATE TABLE rollup (
    size integer NOT NULL, number bigint NOT NULL, calendar text NOT NULL,
    whole bytea NOT NULL, priority bytea NOT NULL, assigned_group bytea NOT NULL,
    category bytea NOT NULL, flow bytea,
    PRIMARY KEY (size, number, calendar)
)"""
_UNCOMPRESSED: Final = """ALTER TABLE rollup
    ALTER whole SET STORAGE EXTERNAL, ALTER priority SET STORAGE EXTERNAL,
    ALTER assigned_group SET STORAGE EXTERNAL, ALTER category SET STORAGE EXTERNAL"""
"""Packed times hardly shrink further, and undoing it took most of a report's time."""
_TOUCHED_HOUR: Final = f"""CREATE VIEW touched_hour (hour) AS
    SELECT {_HOUR} FROM touched o, LATERAL (
        SELECT created_at FROM ticket t
        WHERE t.ticket_id = o.ticket_id AND birth_seq IS NOT NULL OFFSET 0
    ) t
    UNION
    SELECT {_HOUR} FROM ticket
    WHERE birth_seq IS NOT NULL AND EXISTS (SELECT FROM touched WHERE ticket_id IS NULL)"""  # noqa: S608 text of ours


_TOUCH: Final = """CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO %I.touched SELECT %s FROM changed', TG_TABLE_SCHEMA, TG_ARGV[0]);
    RETURN NULL;
END $$"""
_ANY: Final = "NULL::uuid"


def _triggers(table: str, what: str) -> tuple[str, ...]:
    """Return what has `touch` note the rows written, in whatever schema the table then is."""
    return tuple(
        f"CREATE TRIGGER touch_{verb.lower()} AFTER {verb} ON {table}"
        f" REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION touch('{what}')"
        for verb in ("INSERT", "UPDATE")
    )


VIEWS: Final = (
    _MEASURED,
    _HOURS,
    _ROLLUP,
    _UNCOMPRESSED,
    "CREATE TABLE touched (ticket_id uuid)",
    "INSERT INTO touched VALUES (NULL)",
    "CREATE TABLE stale (hour bigint PRIMARY KEY)",
    """CREATE TABLE unmade (
        size integer, number bigint, touched_at timestamptz NOT NULL, PRIMARY KEY (size, number)
    )""",
    _TOUCHED_HOUR,
    _TOUCH,
    *_triggers("ticket", "ticket_id"),
    *_triggers("reply", "ticket_id"),
    *_triggers("verdict", "ticket_id"),
    *_triggers("calendar", _ANY),
)
"""All that is derived (ADR 0012).

A row of `rollup` is a function of the rows of its bucket's tickets, and of a calendar if it names
one. `touched` are the tickets that changed since anyone looked, null for all of them; `stale` the
hours to count anew. Buckets that hold an hour of either must not be used, nor those in `unmade`,
which have no row while what is in them changes often.
"""
