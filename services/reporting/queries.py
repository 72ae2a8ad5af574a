"""What reporting answers: KPIs, a ticket's timeline, the audit of the archive."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from services.reporting.domain.kpi import GroupBy, KpiReport, TicketRow, report
from services.reporting.domain.merkle import Tree, append, leaf, root
from shared.calendar import WorkingCalendar
from shared.contracts.envelope import Envelope
from shared.contracts.registry import UndecodableError, decode_envelope
from shared.contracts.sla import SlaCalendarPublished
from shared.errors import NotFoundError
from shared.postgres.pool import Connection, Pool

_MEASURED: Final = """
SELECT ticket_id::text, created_at, resolved_at, closed_at, cancelled_at, priority, category,
       assigned_group, first_reply_at, reopen_count, reassignment_count, sla_verdict, score
FROM read.measured ORDER BY ticket_id
"""
_REASONS: Final = ("reasons", "reason", "note", "code")


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


async def calendar_called(pool: Pool, name: str) -> WorkingCalendar:
    """Return a published calendar. Raises: NotFoundError."""
    document = await pool.fetchval(
        "SELECT document FROM read.calendar WHERE calendar_id = $1", name
    )
    if document is None:
        raise NotFoundError(f"no calendar is called {name!r}", field="calendar")
    return WorkingCalendar.published(msgspec.convert(document, SlaCalendarPublished))


async def kpis(pool: Pool, measures: Measures) -> KpiReport:
    """Return the KPIs. Raises: NotFoundError for an unknown calendar."""
    calendar = await calendar_called(pool, measures.calendar)
    rows = await pool.fetch(_MEASURED)
    tickets = (_ticket_row(tuple(row), calendar) for row in rows)
    return report(
        tickets, period=(measures.start, measures.end), by=measures.by, zone=measures.zone
    )


def _ticket_row(row: tuple[Any, ...], calendar: WorkingCalendar) -> TicketRow:
    (ticket_id, created_at, resolved_at, closed_at, cancelled_at, priority, category, group) = row[
        :8
    ]
    first_reply_at, reopen_count, reassignment_count, verdict, score = row[8:]
    working_seconds = None
    if resolved_at is not None:
        working_seconds = calendar.working_seconds(created_at, resolved_at)
    return TicketRow(
        ticket_id=ticket_id,
        created_at=created_at,
        resolved_at=resolved_at,
        closed_at=closed_at,
        cancelled_at=cancelled_at,
        priority=priority,
        category=category,
        group=group,
        first_reply_at=first_reply_at,
        reopen_count=reopen_count,
        reassignment_count=reassignment_count,
        sla_verdict=verdict,
        csat_score=score,
        ttr_working_seconds=working_seconds,
    )


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
