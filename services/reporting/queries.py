"""What reporting answers: KPIs, a ticket's timeline, the audit of the archive."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from services.reporting.domain.buckets import Broken, Bucket, Span, joined, ranges_us
from services.reporting.domain.flow import Flow, FlowReport, Months, Passages
from services.reporting.domain.kpi import EXACT_TICKETS_MAX, GroupBy, KpiReport, Period, report
from services.reporting.domain.merkle import Tree, append, leaf, root
from services.reporting.domain.tally import Tallies, TicketRow
from services.reporting.domain.times import HOUR_US
from services.reporting.tables import HOUR
from shared.calendar import WorkingCalendar, instant, microseconds
from shared.contracts.envelope import Envelope
from shared.contracts.registry import UndecodableError, decode_envelope
from shared.contracts.sla import SlaCalendarPublished
from shared.errors import InvalidInputError, NotFoundError
from shared.postgres.pool import Connection, Pool

_REASONS: Final = ("reasons", "reason", "note", "code")
_PREFETCH: Final = 1_000
_TIMES: Final = 5
_COLUMNS: Final[Mapping[GroupBy | None, str]] = {
    None: "whole",
    "month": "whole",
    "priority": "priority",
    "group": "assigned_group",
    "category": "category",
}
_ENDS: Final = """
SELECT min(created_at) AS first, max(created_at) AS last FROM read.ticket
HAVING min(created_at) IS NOT NULL
"""
_STALE: Final = f"""
SELECT DISTINCT size, number, calendar FROM read.mark
WHERE calendar IN ('', $1) AND ticket_id IS NULL
UNION
SELECT 1, {HOUR}, '' FROM read.mark JOIN read.ticket USING (ticket_id) WHERE birth_seq IS NOT NULL
"""
_CELLS: Final = """
SELECT r.size, r.number, r.{column} AS cells
FROM unnest($2::int[], $3::bigint[], $4::bigint[]) s(size, first, last)
JOIN read.rollup r ON r.calendar = $1 AND r.size = s.size AND r.number BETWEEN s.first AND s.last
"""
_TICKETS: Final = """
SELECT m.* FROM unnest($1::timestamptz[], $2::timestamptz[]) r(first, after), LATERAL (
    SELECT created_at, resolved_at, closed_at, cancelled_at, first_reply_at,
        priority, category, assigned_group, reopen_count, reassignment_count, sla_verdict, score
    FROM read.measured WHERE created_at >= r.first AND created_at < r.after OFFSET 0
) m
"""
_PASSAGES: Final = """
SELECT count(*) FILTER (WHERE created_at >= $1 AND created_at < $2),
    count(*) FILTER (WHERE resolved_at >= $1 AND resolved_at < $2),
    count(*) FILTER (WHERE closed_at >= $1 AND closed_at < $2),
    count(*) FILTER (WHERE least(closed_at, cancelled_at) < $2
        AND greatest(created_at, least(closed_at, cancelled_at)) >= $1
        AND created_at < $2)
FROM read.ticket WHERE birth_seq IS NOT NULL AND (
    created_at >= $1 AND created_at < $2 OR resolved_at >= $1 AND resolved_at < $2
    OR closed_at >= $1 AND closed_at < $2 OR cancelled_at >= $1 AND cancelled_at < $2)
"""


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure: tickets created in [start, end), grouped, in whose months and hours."""

    start: datetime | None
    end: datetime | None
    by: GroupBy | None
    zone: ZoneInfo
    calendar: str


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One event in a ticket's life: what, when, who, why, and which event caused it."""

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


async def kpis(pool: Pool, measures: Measures) -> KpiReport:
    """Return the KPIs. Raises: NotFoundError for an unknown calendar.

    Whole buckets come from rollups; tickets of buckets that are out of date, or only partly in the
    period, are read one by one. All is seen at one instant, so the answer is never stale.
    """
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        return await _Reading(connection, measures).report()


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


class _Reading:
    """One report being made, in one snapshot. Instants are microseconds since 1970."""

    def __init__(self, connection: Connection, measures: Measures) -> None:
        self._connection = connection
        self._measures = measures
        start, end = measures.start, measures.end
        self._bounds = (
            None if start is None else microseconds(start),
            None if end is None else microseconds(end),
        )
        self._flow = Flow()
        self._tallies = Tallies()
        self._months: Months | None = None

    async def report(self) -> KpiReport:
        """Return the figures."""
        measures = self._measures
        hours = await self._connection.fetchrow(
            "SELECT document, digest FROM read.hours WHERE calendar_id = $1", measures.calendar
        )
        if hours is None:
            raise NotFoundError(f"no calendar is called {measures.calendar!r}", field="calendar")
        calendar = _working_calendar(hours["document"])
        ends = await self._connection.fetchrow(_ENDS)
        if ends is not None:
            ends = microseconds(ends["first"]), microseconds(ends["last"])
            await self._count(ends, calendar, hours["digest"])
        flow = FlowReport(self._flow, measures.zone, *self._bounds)
        known: dict[int, Passages] = {}
        for at_us, from_us in flow.cuts.items():
            row = await self._connection.fetchrow(_PASSAGES, instant(from_us), instant(at_us))
            known[at_us] = Passages(*(row or ()))
        period = Period(measures.start, measures.end)
        return report(self._tallies, flow.months(known), period=period, by=measures.by)

    async def _count(self, ends: tuple[int, int], calendar: WorkingCalendar, digest: str) -> None:
        """Count all there is, created between these instants, in flow and tallies."""
        broken, broken_working = await self._stale(digest)
        for row in await self._cells("flow", "", broken.whole(*ends)):
            self._flow.take_packed(row["cells"])
        start, end = self._bounds
        period = max(ends[0], start or ends[0]), min(ends[1], (end or ends[1] + 1) - 1)
        stale = frozenset(broken.hours)
        ranges = ranges_us(stale)
        is_small = False
        if period[0] <= period[1]:
            for edge_us in self._edges(period):
                broken.cut(edge_us)
                broken_working.cut(edge_us)
            await self._take_cells("", broken.whole(*period))
            is_small = self._tallies.tickets <= EXACT_TICKETS_MAX
            if is_small:
                self._tallies = Tallies()
                ranges = joined([*ranges, (period[0], period[1] + 1)])
            else:
                await self._take_cells(digest, broken_working.whole(*period))
                ranges = ranges_us(stale | broken_working.hours)
        async for ticket in read_tickets(self._connection, ranges):
            created_us = ticket.created_us
            hour = created_us // HOUR_US
            if hour in stale:
                self._flow.add(ticket)
            if period[0] <= created_us <= period[1]:
                tally = self._tallies.at(self._key(ticket))
                if is_small or hour in broken.hours:
                    tally.add(ticket)
                if is_small or hour in broken_working.hours:
                    tally.add_working(ticket.worked_us(calendar))

    async def _stale(self, digest: str) -> tuple[Broken, Broken]:
        """Return the buckets out of date, and those whose working times are, which are more."""
        stale, stale_working = Broken(), Broken()
        for size, number, calendar in await self._connection.fetch(_STALE, digest):
            stale_working.add(Bucket(size, number))
            if not calendar:
                stale.add(Bucket(size, number))
        return stale, stale_working

    def _edges(self, period: tuple[int, int]) -> list[int]:
        edges = [bound for bound in self._bounds if bound is not None]
        if self._measures.by == "month":
            self._months = Months(self._measures.zone, *period)
            edges += self._months.starts_us
        return edges

    async def _take_cells(self, calendar: str, spans: Sequence[Span]) -> None:
        for size, number, cells in await self._cells(_COLUMNS[self._measures.by], calendar, spans):
            if self._months is None:
                self._tallies.take_cells(cells)
            else:
                month = self._months.name(Bucket(size, number).start_us)
                self._tallies.take_cells_as(month, cells)

    async def _cells(
        self, column: str, calendar: str, spans: Sequence[Span]
    ) -> list[asyncpg.Record]:
        sizes, firsts, lasts = ([span[place] for span in spans] for place in (0, 1, 2))
        return await self._connection.fetch(
            _CELLS.format(column=column), calendar, sizes, firsts, lasts
        )

    def _key(self, ticket: TicketRow) -> str | None:
        match self._measures.by:
            case "month":
                return None if self._months is None else self._months.name(ticket.created_us)
            case "priority":
                return ticket.priority
            case "group":
                return ticket.group
            case "category":
                return ticket.category
            case None:
                return None


async def timeline(pool: Pool, ticket_id: UUID) -> list[Moment]:
    """Return everything that happened to a ticket, by time (NotFoundError if nothing did)."""
    rows = await pool.fetch(
        "SELECT value FROM archive.record WHERE subject = $1 AND sequence IS NOT NULL",
        str(ticket_id),
    )
    events = {envelope.id: envelope for row in rows if (envelope := _readable(row["value"]))}
    if not events:
        raise NotFoundError(f"no ticket {ticket_id}")
    moments = [_moment(event, events) for event in events.values()]
    return sorted(moments, key=lambda m: (str(m.time), m.writer, m.sequence))


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
