"""What reporting answers: KPIs, a ticket's timeline, the audit of the archive."""

import heapq
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any, Final, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from services.reporting.domain.flow import Passages
from services.reporting.domain.kpi import GroupBy, KpiReport, Period
from services.reporting.domain.merkle import Tree, append, leaf, root
from services.reporting.domain.reading import Reading, ReportQuestion
from services.reporting.domain.rollup import NO_CALENDAR
from services.reporting.domain.tally import TicketRow
from shared.buckets import BucketSpan
from shared.calendar import WorkingCalendar, instant, microseconds
from shared.contracts.envelope import Envelope
from shared.contracts.intake import TicketCreated, TicketHeld
from shared.contracts.registry import EVENTS, UndecodableError, decode_data, decode_envelope
from shared.contracts.sla import SlaCalendarPublished
from shared.errors import InvalidInputError, NotFoundError
from shared.postgres.pool import Connection, Pool
from shared.runtime.rollups import OUTDATED

_REASONS: Final = ("reasons", "reason", "note", "code")
_PREFETCH: Final = 200
_TIMES: Final = 6
_COLUMNS: Final[Mapping[GroupBy | None, str]] = {
    None: "whole",
    "month": "whole",
    "priority": "priority",
    "group": "assigned_group",
    "category": "category",
}
WRITERS: Final = tuple(sorted(EVENTS))
_HAPPENED: Final = """
SELECT w.writer, r.sequence, r.value FROM unnest($2::text[], $3::int[]) w(writer, after), LATERAL (
    SELECT DISTINCT ON (sequence) sequence, value FROM archive.record
    WHERE subject = $1 AND writer = w.writer AND sequence > w.after ORDER BY sequence LIMIT $4
) r
"""
_CALENDARS: Final = """
SELECT string_agg(calendar_id, ', ') FROM (
    SELECT calendar_id FROM read.hours ORDER BY calendar_id LIMIT 50
) few
"""
_ENDS: Final = """
SELECT min(created_at) AS first, max(created_at) AS last FROM read.ticket
HAVING min(created_at) IS NOT NULL
"""
_CELLS: Final = """
SELECT r.* FROM unnest($2::int[], $3::bigint[], $4::bigint[]) s(size, first, last), LATERAL (
    SELECT size, number, {column} AS cells FROM read.rollup b
    WHERE b.size = s.size AND b.number BETWEEN s.first AND s.last AND calendar = ANY($1::text[])
    OFFSET 0
) r
"""
_TICKETS: Final = """
SELECT m.* FROM unnest($1::timestamptz[], $2::timestamptz[]) r(first, after), LATERAL (
    SELECT created_at, resolved_at, closed_at, cancelled_at, merged_at, first_reply_at,
        priority, category, assigned_group, reopen_count, reassignment_count, sla_verdict, score
    FROM read.measured WHERE created_at >= r.first AND created_at < r.after OFFSET 0
) m
"""
_PASSED: Final = " UNION ".join(
    "SELECT ticket_id, created_at, resolved_at, closed_at, cancelled_at, merged_at"
    " FROM read.ticket"
    f" WHERE {name} >= $1 AND {name} < $2 AND birth_seq IS NOT NULL"
    for name in ("created_at", "resolved_at", "closed_at", "cancelled_at", "merged_at")
)
_PASSAGES: Final = f"""
SELECT count(*) FILTER (WHERE created_at >= $1 AND created_at < $2),
    count(*) FILTER (WHERE resolved_at >= $1 AND resolved_at < $2 AND merged_at IS NULL),
    count(*) FILTER (WHERE closed_at >= $1 AND closed_at < $2),
    count(*) FILTER (WHERE cancelled_at >= $1 AND cancelled_at < $2),
    count(*) FILTER (WHERE merged_at >= $1 AND merged_at < $2),
    count(*) FILTER (WHERE least(closed_at, cancelled_at, merged_at) < $2
        AND greatest(created_at, least(closed_at, cancelled_at, merged_at)) >= $1
        AND created_at < $2)
FROM ({_PASSED}) passed
"""


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure: tickets created in [start, end), grouped, in whose months and hours."""

    start: datetime | None
    end: datetime | None
    by: GroupBy | None
    zone: ZoneInfo
    calendar: str


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One event in a ticket's life: what, when, who, why, and which event caused it.

    `caused_by_type` is known where the cause is on the same page.
    """

    event_id: str
    type: str
    time: datetime | None
    recorded_at: datetime | None
    writer: str
    sequence: int
    who: str | None
    what: dict[str, Any]
    why: list[str]
    caused_by: str | None
    caused_by_type: str | None
    imported: bool


class PartitionAudit(msgspec.Struct, frozen=True, kw_only=True):
    """One partition's archive against the root that was kept while it grew."""

    topic: str
    partition: int
    size: int
    root: str
    is_intact: bool
    detail: str | None = None


class Timeline(TypedDict):
    """A page of what happened."""

    timeline: list[Moment]


class Audit(TypedDict):
    """Every partition of the archive."""

    partitions: list[PartitionAudit]


async def kpis(pool: Pool, measures: Measures) -> KpiReport:
    """Return the KPIs. Raises: InvalidInputError for an unknown calendar.

    Whole buckets come from rollups; tickets of hours that are out of date, or only partly in the
    period, are read one by one. All is seen at one instant, so the answer is never stale.
    """
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        hours = await connection.fetchrow(
            "SELECT document, digest FROM read.hours WHERE calendar_id = $1", measures.calendar
        )
        if hours is None:
            known = await connection.fetchval(_CALENDARS)
            raise InvalidInputError(
                f"no calendar is called {measures.calendar!r}; there are {known or 'none'}",
                field="calendar",
            )
        question = ReportQuestion(
            Period(measures.start, measures.end),
            measures.by,
            measures.zone,
            _working_calendar(hours["document"]),
        )
        reading = await _read(connection, question, hours["digest"])
        flow = reading.flow()
        known: dict[int, Passages] = {}
        for at_us, from_us in flow.cuts.items():
            row = await connection.fetchrow(_PASSAGES, instant(from_us), instant(at_us))
            known[at_us] = Passages(*(row or ()))
        return reading.report(flow, known)


async def _read(connection: Connection, question: ReportQuestion, digest: str) -> Reading:
    """Return all that was counted of the tickets."""
    ends = await connection.fetchrow(_ENDS)
    if ends is None:
        return Reading(question, (0, -1), ())
    reading = Reading(
        question,
        (microseconds(ends["first"]), microseconds(ends["last"])),
        [row["hour"] for row in await connection.fetch(OUTDATED)],
        [tuple(row) for row in await connection.fetch("SELECT size, number FROM read.unmade")],
    )
    for _, _, flow in await _cells(connection, "flow", [NO_CALENDAR], reading.flow_spans):
        reading.take_flow(flow)
    column = _COLUMNS[question.by]
    for row in await _cells(connection, column, [NO_CALENDAR, digest], reading.spans):
        reading.take(*row)
    async for ticket in read_tickets(connection, reading.ranges):
        reading.add(ticket)
    return reading


async def _cells(
    connection: Connection, column: str, calendars: Sequence[str], spans: Sequence[BucketSpan]
) -> list[asyncpg.Record]:
    sizes, firsts, lasts = ([span[place] for span in spans] for place in (0, 1, 2))
    return await connection.fetch(_CELLS.format(column=column), calendars, sizes, firsts, lasts)


async def read_hours(connection: Connection) -> dict[str, WorkingCalendar]:
    """Return all published calendars that make sense, by the digest of their documents."""
    found: dict[str, WorkingCalendar] = {}
    for row in await connection.fetch("SELECT document, digest FROM read.hours"):
        with suppress(InvalidInputError, msgspec.ValidationError):
            found[row["digest"]] = _working_calendar(row["document"])
    return found


def _working_calendar(document: object) -> WorkingCalendar:
    return WorkingCalendar.published(msgspec.convert(document, SlaCalendarPublished))


async def read_tickets(
    connection: Connection, ranges: Sequence[tuple[int, int]]
) -> AsyncIterator[TicketRow]:
    """Yield the tickets created in any of these intervals of microseconds, a few at a time."""
    starts, ends = ([instant(pair[side]) for pair in ranges] for side in (0, 1))
    async for row in connection.cursor(_TICKETS, starts, ends, prefetch=_PREFETCH):
        values: list[Any] = list(row)
        values[:_TIMES] = [None if at is None else microseconds(at) for at in values[:_TIMES]]
        yield TicketRow(*values)


async def timeline(
    pool: Pool, ticket_id: UUID, *, limit: int, after: Sequence[int]
) -> tuple[list[Moment], tuple[int, ...] | None]:
    """Return a page of what happened to a ticket by time, and where to go on, None at the end.

    `after` has the last sequence seen of each writer, in the order of WRITERS. What a writer
    recorded late stands where it recorded it, as far as pages go; a page is in the order of time.
    Raises: NotFoundError if nothing happened at all.
    """
    rows = await pool.fetch(_HAPPENED, str(ticket_id), list(WRITERS), list(after), limit + 1)
    lines: dict[str, list[tuple[int, Envelope | None]]] = {writer: [] for writer in WRITERS}
    for row in rows:
        lines[row["writer"]].append((row["sequence"], _readable(row["value"])))
    if not rows and not any(after):
        raise NotFoundError(f"no ticket {ticket_id}")
    merged = heapq.merge(
        *([(writer, *one) for one in line] for writer, line in lines.items()),
        key=lambda happened: "" if happened[2] is None else str(happened[2].time),
    )
    page = list(islice(merged, limit))
    seen = dict(zip(WRITERS, after, strict=True)) | {writer: last for writer, last, _ in page}
    events = {event.id: event for _, _, event in page if event is not None}
    moments = [_moment(event, events) for event in events.values()]
    moments.sort(key=lambda moment: (str(moment.time), moment.writer, moment.sequence))
    return moments, tuple(seen.values()) if len(rows) > len(page) else None


async def requester_of(pool: Pool, ticket_id: UUID) -> str | None:
    """Return whose ticket it is, None if the archive does not say."""
    rows = await pool.fetch(_HAPPENED, str(ticket_id), ["intake"], [0], 1)
    for row in rows:
        event = _readable(row["value"])
        if event is not None and event.type == TicketCreated.TYPE:
            created = decode_data(event.type, row["value"])
            return created.requester.id if isinstance(created, TicketCreated) else None
    return None


def public_part(moment: Moment) -> Moment | None:
    """Return what a ticket's requester sees of a moment, None if nothing.

    Intake's events are theirs but for internal comments; what is noted on a hold is for agents.
    """
    if moment.writer != "intake" or moment.what.get("visibility") == "internal":
        return None
    if moment.type == TicketHeld.TYPE:
        return msgspec.structs.replace(moment, why=moment.why[:1])
    return moment


def _readable(value: bytes) -> Envelope | None:
    try:
        return decode_envelope(value)
    except UndecodableError:
        return None


def _moment(event: Envelope, events: dict[str, Envelope]) -> Moment:
    what = msgspec.json.decode(event.data, type=dict[str, Any])
    what.pop("ticket_id", None)
    why: list[str] = []
    for name in _REASONS:
        reason = what.pop(name, None)
        why += reason if isinstance(reason, list) else [reason] if reason else []
    cause = events.get(event.causationid or "")
    return Moment(
        event_id=event.id,
        type=event.type,
        time=event.time,
        recorded_at=event.recordedtime,
        writer=event.source.removeprefix("/desk/"),
        sequence=int(event.sequence or 0),
        who=event.actor,
        what=what,
        why=why,
        caused_by=event.causationid,
        caused_by_type=None if cause is None else cause.type,
        imported=event.history,
    )


async def audit(connection: Connection) -> list[PartitionAudit]:
    """Hash the whole archive again and compare with the trees and with published checkpoints.

    The caller's transaction should be a snapshot, so that a growing archive is seen at one instant.
    """
    kept = {
        (row["topic"], row["partition"]): Tree(row["size"], tuple(row["peaks"]))
        for row in await connection.fetch("SELECT * FROM archive.tree ORDER BY topic, partition")
    }
    audits: list[PartitionAudit] = []
    async for place, hashed in _rehashed(connection):
        expected = kept.pop(place, Tree())
        is_intact = hashed == expected
        audits.append(
            PartitionAudit(
                topic=place[0],
                partition=place[1],
                size=hashed.size,
                root=root(hashed).hex(),
                is_intact=is_intact,
                detail=None if is_intact else f"the tree kept has root {root(expected).hex()}",
            )
        )
    for (topic, partition), tree in kept.items():
        audits.append(
            PartitionAudit(
                topic=topic,
                partition=partition,
                size=0,
                root=root(Tree()).hex(),
                is_intact=False,
                detail=f"all {tree.size} records are gone",
            )
        )
    return audits


async def _rehashed(connection: Connection) -> AsyncIterator[tuple[tuple[str, int], Tree]]:
    place: tuple[str, int] | None = None
    tree = Tree()
    cursor = connection.cursor(
        "SELECT topic, partition, record_offset, key, value FROM archive.record"
        " ORDER BY topic, partition, record_offset",
        prefetch=2_000,
    )
    async for topic, partition, offset, key, value in cursor:
        if place != (topic, partition):
            if place is not None:
                yield place, tree
            place, tree = (topic, partition), Tree()
        tree = append(tree, [leaf(offset, key, value)])
    if place is not None:
        yield place, tree
