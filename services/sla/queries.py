"""What sla's clocks and rules answer."""

from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec

from services.sla.domain.availability import (
    MaintenanceView,
    Outage,
    OutageView,
    Promise,
    Question,
    Reading,
    ServiceReadings,
    failures_of,
    joined,
    measure,
    reading,
    service_time,
)
from services.sla.domain.defaults import STANDARD_POLICY
from services.sla.domain.explain import ClockReading
from services.sla.domain.facts import PEAKS, Peaks, facts_of
from services.sla.domain.history import Fact, in_order
from services.sla.domain.periods import Span
from services.sla.domain.published import Publication, Rules, calendar_names, rules_of
from services.sla.domain.voice import hear
from shared.calendar import WorkingCalendar, instant, microseconds
from shared.contracts.availability import ServiceEvent
from shared.contracts.registry import decode_event
from shared.contracts.sla import SlaCalendarPublished
from shared.errors import NotFoundError
from shared.journal.journal import Journal
from shared.postgres.pool import Connection, Pool
from shared.runtime.read_model import read_histories

_TICKETS_AT_ONCE: Final = 500
_FIELDS: Final = """
    ticket_id, target, cycle, generation, kind, started_at, goal, calendar, policy_id,
    policy_version, CASE WHEN outcome IS NOT NULL THEN outcome WHEN is_paused THEN 'paused'
         WHEN breached_at IS NOT NULL THEN 'breached' ELSE 'open' END,
    due_at, pause_reason, warned, breached_at, stopped_at, source_system
"""


class ClockView(msgspec.Struct, frozen=True):
    """One clock; `state` is open, paused, breached (and still running), met, missed, cancelled.

    `warned` is the rule of the last warning.
    """

    ticket_id: UUID
    target: str
    cycle: int
    generation: int
    kind: str | None
    started_at: datetime | None
    goal: dict[str, Any] | None
    calendar: str | None
    policy_id: str | None
    policy_version: int | None
    state: str
    due_at: datetime | None
    pause_reason: str | None
    warned: dict[str, Any] | None
    breached_at: datetime | None
    stopped_at: datetime | None
    source_system: str | None


async def list_running(pool: Pool, *, limit: int) -> list[ClockView]:
    """Return running clocks, the one due first first."""
    rows = await pool.fetch(
        f"SELECT {_FIELDS} FROM read.clock WHERE outcome IS NULL AND due_at IS NOT NULL"
        " ORDER BY due_at LIMIT $1",
        limit,
    )
    return [ClockView(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class TicketFacts:
    """What sla knows of a ticket: its facts in order, and whether another system judged it."""

    facts: list[Fact]
    is_foreign: bool


async def read_facts(
    connection: Connection, journal: Journal, ticket_id: str, rules: Rules, at: datetime
) -> TicketFacts:
    """Return what had been recorded by `at`. Raises: NotFoundError for an unknown ticket."""
    events = (await read_histories(connection, [ticket_id]))[ticket_id]
    known = [event for event in events if event.recorded_at <= at]
    if not known:
        raise NotFoundError(f"no ticket {ticket_id} was known at {at.isoformat()}")
    heard = hear(event for event in known if event.writer == journal.writer)
    return TicketFacts(in_order(facts_of(known, rules.peaks)), heard.is_foreign)


async def read_foreign(connection: Connection, ticket_id: UUID) -> list[ClockReading]:
    """Return the clocks that another system judged, as it did."""
    rows = await connection.fetch(
        "SELECT * FROM read.clock WHERE ticket_id = $1 ORDER BY target, cycle, generation",
        ticket_id,
    )
    return [
        ClockReading(
            **{name: row[name] for name in _TOLD_NAMES},
            kind=row["kind"] or "sla",
            goal=None,
            due_at=row["due_at"],
            outcome=row["outcome"] or "open",
            elapsed_seconds=None,
            paused_seconds=None,
        )
        for row in rows
    ]


_TOLD_NAMES: Final = (
    *("target", "cycle", "generation", "policy_id", "policy_version", "calendar"),
    *("started_at", "stopped_at", "breached_at", "source_system"),
)


async def open_tickets(
    connection: Connection, peaks: Peaks
) -> AsyncIterator[tuple[str, list[Fact]]]:
    """Yield each ticket that has a running clock, with its facts in order."""
    tickets = await tickets_with_running_clocks(connection)
    for start in range(0, len(tickets), _TICKETS_AT_ONCE):
        chunk = tickets[start : start + _TICKETS_AT_ONCE]
        for ticket_id, events in (await read_histories(connection, chunk)).items():
            yield ticket_id, in_order(facts_of(events, peaks))


async def load_rules(connection: Connection, journal: Journal) -> Rules:
    """Return all rules that tickets are judged by, as the journal has them."""
    policies = await _policies(connection, journal)
    calendars = await journal.read_values(connection, _calendars_named(policies))
    return _prepared((*policies, *calendars))


async def read_publications(connection: Connection, journal: Journal) -> list[Publication]:
    """Return every version of every rule, of each stream in sequence."""
    policies = await _policies(connection, journal)
    rows = await connection.fetch("SELECT calendar_id FROM read.calendar")
    names = _calendars_named(policies).union(row["calendar_id"] for row in rows)
    calendars = await journal.read_values(connection, names)
    return [_decoded(*one) for one in (*policies, *calendars)]


async def tickets_with_running_clocks(connection: Connection) -> list[str]:
    """Return the tickets that have a clock which has not ended."""
    rows = await connection.fetch(
        "SELECT DISTINCT ticket_id::text FROM read.clock WHERE outcome IS NULL"
    )
    return [row["ticket_id"] for row in rows]


_Published = tuple[tuple[str, bytes], ...]
"""Types and bytes of events that publish rules."""


async def _policies(connection: Connection, journal: Journal) -> _Published:
    """Return every version of every policy, and the declared peaks."""
    rows = await connection.fetch("SELECT policy_id FROM read.policy")
    names = {STANDARD_POLICY, PEAKS, *(row["policy_id"] for row in rows)}
    return await journal.read_values(connection, names)


def _decoded(event_type: str, value: bytes) -> Publication:
    event = decode_event(event_type, value)
    return Publication(event.data, microseconds(event.time))


@lru_cache(maxsize=8)
def _calendars_named(published: _Published) -> frozenset[str]:
    return frozenset(calendar_names(_decoded(*one).data for one in published))


@lru_cache(maxsize=8)
def _prepared(published: _Published) -> Rules:
    """Kept between batches, because a calendar learns the days it is asked about."""
    return rules_of(_decoded(*one) for one in published)


# --- Availability ----------------------------------------------------------------------------


_SHOWN: Final = {
    "service.outage_recorded": "SELECT outage_seq FROM read.outage WHERE outage_id = $1",
    "service.maintenance_scheduled": "SELECT maintenance_seq FROM read.maintenance"
    " WHERE maintenance_id = $1",
    "service.availability_promised": "SELECT max(version) FROM read.availability"
    " WHERE service = $1",
}


async def shown(pool: Pool, document: ServiceEvent) -> int:
    """Return up to which sequence the read model knows the stream of such a document."""
    return await pool.fetchval(_SHOWN[document.TYPE], document.stream_id) or 0


async def list_outages(pool: Pool, asked: Question, *, limit: int) -> list[OutageView]:
    """Return outages that touch the time, also those withdrawn, the one that began last first."""
    rows = await pool.fetch(
        "SELECT outage_id, service, started_at, ended_at, source, ticket_id, is_withdrawn"
        " FROM read.outage WHERE ($1::text IS NULL OR service = $1) AND started_at < $3"
        " AND coalesce(ended_at >= $2, true) ORDER BY started_at DESC, outage_id LIMIT $4",
        *(asked.service, *asked.instants(), limit),
    )
    return [OutageView(*row) for row in rows]


async def list_maintenance(pool: Pool, asked: Question, *, limit: int) -> list[MaintenanceView]:
    """Return maintenance that touches the time, also what is cancelled, the last first."""
    rows = await pool.fetch(
        "SELECT maintenance_id, service, starts_at, ends_at, is_cancelled"
        " FROM read.maintenance WHERE ($1::text IS NULL OR service = $1) AND starts_at < $3"
        " AND ends_at > $2 ORDER BY starts_at DESC, maintenance_id LIMIT $4",
        *(asked.service, *asked.instants(), limit),
    )
    return [MaintenanceView(*row) for row in rows]


async def read_availability(
    connection: Connection, journal: Journal, question: Question, at_us: int
) -> list[ServiceReadings]:
    """Return how available services were, as far as the periods had come by `at_us`.

    Raises: NotFoundError for a service of which nothing was ever told.
    """
    rows = await connection.fetch(
        "SELECT service FROM read.outage UNION SELECT service FROM read.maintenance"
        " UNION SELECT service FROM read.availability ORDER BY 1"
    )
    services = [row["service"] for row in rows]
    if question.service is not None:
        if question.service not in services:
            raise NotFoundError(f"nothing was ever told of the service {question.service!r}")
        services = [question.service]
    return [
        ServiceReadings(name, await _readings(connection, journal, name, question, at_us))
        for name in services
    ]


async def _readings(
    connection: Connection, journal: Journal, service: str, question: Question, at_us: int
) -> list[Reading]:
    rows = await connection.fetch(
        "SELECT promised_at, share_min, calendar FROM read.availability WHERE service = $1"
        " ORDER BY version",
        service,
    )
    promises = [Promise(microseconds(at), share, name) for at, share, name in rows]
    calendars = await published_calendars(connection, journal, {p.calendar_id for p in promises})
    rows = await connection.fetch(
        "SELECT started_at, ended_at FROM read.outage WHERE service = $1 AND NOT is_withdrawn"
        " AND coalesce(ended_at >= $2, true)",
        *(service, instant(question.whole.start_us)),
    )
    failures = failures_of((Outage(microseconds(s), _us(e)) for s, e in rows), at_us)
    since_us = min([question.whole.start_us, *(failure.start_us for failure in failures)])
    rows = await connection.fetch(
        "SELECT starts_at, ends_at FROM read.maintenance WHERE service = $1 AND NOT is_cancelled"
        " AND ends_at > $2 AND starts_at < $3",
        *(service, instant(since_us), instant(question.whole.end_us)),
    )
    maintenance = joined(Span(microseconds(start), microseconds(end)) for start, end in rows)
    return [
        reading(
            measure(
                period,
                service_time(promises, calendars, period.end_us),
                failures,
                maintenance,
                at_us,
            )
        )
        for period in question.periods()
    ]


def _us(at: datetime | None) -> int | None:
    return None if at is None else microseconds(at)


async def published_calendars(
    connection: Connection, journal: Journal, names: Collection[str]
) -> dict[str, list[tuple[int, WorkingCalendar]]]:
    """Return the versions of calendars by name, each with its publication, in order."""
    found: dict[str, list[tuple[int, WorkingCalendar]]] = {name: [] for name in names}
    for event_type, value in await journal.read_values(connection, names):
        if event_type == SlaCalendarPublished.TYPE:
            name, since_us, calendar = _calendar(event_type, value)
            found[name].append((since_us, calendar))
    return found


@lru_cache(maxsize=64)
def _calendar(event_type: str, value: bytes) -> tuple[str, int, WorkingCalendar]:
    """Kept, because a calendar learns the days it is asked about."""
    published = _decoded(event_type, value)
    if not isinstance(published.data, SlaCalendarPublished):
        raise TypeError(event_type)
    calendar = WorkingCalendar.published(published.data)
    return published.data.calendar_id, published.time_us, calendar
