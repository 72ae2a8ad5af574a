"""What sla's clocks and rules answer."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

from services.sla.domain.agreements import Versions
from services.sla.domain.attainment import Asked, Attainment
from services.sla.domain.availability import (
    Outage,
    Promise,
    Question,
    ServiceReadings,
    Told,
    failures_of,
    joined,
    reading,
)
from services.sla.domain.defaults import STANDARD_POLICY
from services.sla.domain.explain import ClockReading
from services.sla.domain.facts import PEAKS, Peaks, facts_of
from services.sla.domain.history import Fact, in_order
from services.sla.domain.periods import Span
from services.sla.domain.published import Publication, Rules, calendar_names, rules_of
from services.sla.domain.survival import AtRisk, Curves, Lifetime, at_risk, lifetimes
from services.sla.domain.views import (
    AtRiskAsked,
    ClockView,
    MaintenanceView,
    OutageView,
    versions_of,
)
from services.sla.domain.voice import hear
from services.sla.tables import ATTAINMENT, DIMENSIONS, JUDGED, VERDICTS
from shared.calendar import SECOND_US, WorkingCalendar, instant, microseconds
from shared.contracts.registry import decode_event
from shared.contracts.sla import SlaCalendarPublished
from shared.errors import NotFoundError
from shared.journal.journal import Journal
from shared.postgres.pool import Connection, Pool
from shared.runtime.read_model import read_histories

_TICKETS_AT_ONCE: Final = 100
_LEARN_EVERY_US: Final = 3_600 * SECOND_US
_LEARN_FROM_MAX: Final = 5_000
_ENDED_LAST: Final = """
SELECT ticket_id::text FROM read.clock WHERE outcome IS NOT NULL
GROUP BY ticket_id ORDER BY max(stopped_at) DESC NULLS LAST, ticket_id LIMIT $1
"""
_RUNNING: Final = """
SELECT c.ticket_id::text, c.target FROM read.clock c LEFT JOIN read.ticket t USING (ticket_id)
WHERE c.outcome IS NULL AND {when} AND ($3::text IS NULL OR t.assigned_group = $3)
    AND ($4::text IS NULL OR t.priority = $4)
ORDER BY c.due_at, c.ticket_id LIMIT $2
"""
_UPCOMING: Final = _RUNNING.format(when="c.due_at >= $1")
_OVERDUE: Final = _RUNNING.format(when="c.due_at < $1")
_FIELDS: Final = """
    ticket_id, target, cycle, generation, kind, started_at, goal, calendar, policy_id,
    policy_version, CASE WHEN outcome IS NOT NULL THEN outcome WHEN is_paused THEN 'paused'
         WHEN breached_at IS NOT NULL THEN 'breached' ELSE 'open' END,
    due_at, pause_reason, warned, breached_at, stopped_at, source_system
"""


async def list_running(pool: Pool, *, limit: int) -> list[ClockView]:
    """Return running clocks, the one due first first."""
    rows = await pool.fetch(
        f"SELECT {_FIELDS} FROM read.clock WHERE outcome IS NULL AND due_at IS NOT NULL"
        " ORDER BY due_at LIMIT $1",
        limit,
    )
    return [ClockView(*row) for row in rows]


async def read_attainment(connection: Connection, asked: Asked, at: datetime) -> list[Attainment]:
    """Return the verdicts as of `at`, by target, who judged, and the dimensions asked for."""
    columns = [DIMENSIONS[name] for name in asked.by]
    keys = "".join(f", {column} AS key_{place}" for place, column in enumerate(columns))
    groups = ", ".join(["v.target", "v.kind", "v.source_system", *columns])
    rows = await connection.fetch(
        f"{VERDICTS} {ATTAINMENT} {keys} {JUDGED} GROUP BY {groups} ORDER BY {groups}",
        asked.start,
        asked.end,
        at,
        asked.zone,
        list(asked.targets),
        list(asked.priorities),
        list(asked.customers),
        list(asked.services),
    )
    return [
        Attainment(
            target=row["target"],
            kind=row["kind"],
            source_system=row["source_system"],
            key={name: row[f"key_{place}"] for place, name in enumerate(asked.by)},
            judged=row["met"] + row["missed"],
            met=row["met"],
            missed=row["missed"],
            share=row["met"] / (row["met"] + row["missed"]),
            late_seconds=row["late_seconds"],
        )
        for row in rows
    ]


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
    """Yield each ticket under way with its facts in order."""
    tickets = await tickets_under_way(connection)
    async for one in _facts_of_each(connection, tickets, peaks):
        yield one


async def _facts_of_each(
    connection: Connection, tickets: Sequence[str], peaks: Peaks
) -> AsyncIterator[tuple[str, list[Fact]]]:
    """Yield tickets with their facts in order; between two reads others get their turn."""
    for start in range(0, len(tickets), _TICKETS_AT_ONCE):
        chunk = tickets[start : start + _TICKETS_AT_ONCE]
        for ticket_id, events in (await read_histories(connection, chunk)).items():
            yield ticket_id, in_order(facts_of(events, peaks))


class Forecast:
    """Curves of how long clocks ran, learnt from what ended last, under the rules of today."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._learnt: tuple[int, Curves] | None = None

    async def curves(self, connection: Connection, rules: Rules, at_us: int) -> Curves:
        """Return the curves, learnt again once an hour."""
        async with self._lock:
            if self._learnt is None or at_us - self._learnt[0] > _LEARN_EVERY_US:
                self._learnt = at_us, Curves(await self._past(connection, rules, at_us))
            return self._learnt[1]

    async def _past(self, connection: Connection, rules: Rules, at_us: int) -> list[Lifetime]:
        rows = await connection.fetch(_ENDED_LAST, _LEARN_FROM_MAX)
        tickets = [row["ticket_id"] for row in rows]
        found: list[Lifetime] = []
        async for _, facts in _facts_of_each(connection, tickets, rules.peaks):
            found.extend(lifetimes(facts, rules.rulebook, at_us))
        return found


async def list_at_risk(
    connection: Connection, asked: AtRiskAsked, rules: Rules, curves: Curves
) -> list[AtRisk]:
    """Return the clocks due next, or those overdue, the one due first first."""
    sql = _OVERDUE if asked.is_overdue else _UPCOMING
    rows = await connection.fetch(sql, asked.at, asked.limit, asked.group, asked.priority)
    wanted = {(row["ticket_id"], row["target"]) for row in rows}
    at_us = microseconds(asked.at)
    found: list[AtRisk] = []
    tickets = list(dict.fromkeys(row["ticket_id"] for row in rows))
    async for ticket_id, facts in _facts_of_each(connection, tickets, rules.peaks):
        clocks = at_risk(ticket_id, facts, rules.rulebook, curves, at_us)
        found.extend(clock for clock in clocks if (clock.ticket_id, clock.target) in wanted)
    return sorted(found, key=lambda one: (one.due_at, one.ticket_id, one.target))


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


async def tickets_under_way(connection: Connection) -> list[str]:
    """Return the tickets whose work is not over, and those that have a clock which runs on."""
    rows = await connection.fetch(
        "SELECT ticket_id::text FROM read.ticket WHERE NOT is_over"
        " UNION SELECT ticket_id::text FROM read.clock WHERE outcome IS NULL"
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
    found: list[ServiceReadings] = []
    for name in services:
        told = await read_told(connection, journal, name, question.whole, at_us)
        periods = [reading(told.measure(period, at_us)) for period in question.periods()]
        found.append(ServiceReadings(name, periods))
    return found


async def read_told(
    connection: Connection, journal: Journal, service: str, whole: Span, at_us: int
) -> Told:
    """Return what was told of a service, as far as it matters for a span read at an instant."""
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
        *(service, instant(whole.start_us)),
    )
    failures = failures_of((Outage.of(*row) for row in rows), at_us)
    since_us = min([whole.start_us, *(failure.start_us for failure in failures)])
    rows = await connection.fetch(
        "SELECT starts_at, ends_at FROM read.maintenance WHERE service = $1 AND NOT is_cancelled"
        " AND ends_at > $2 AND starts_at < $3",
        *(service, instant(since_us), instant(whole.end_us)),
    )
    maintenance = joined(Span.of(*row) for row in rows)
    return Told(promises, calendars, failures, maintenance)


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


# --- Agreements ------------------------------------------------------------------------------


async def read_versions(pool: Pool) -> Mapping[str, Versions]:
    """Return the versions of every agreement, by its id."""
    rows = await pool.fetch(
        "SELECT agreement_id, version, document, customer_signatory, customer_signed_at,"
        " provider_signatory, provider_signed_at FROM read.agreement"
        " WHERE document IS NOT NULL ORDER BY agreement_id, version"
    )
    return versions_of(rows)


async def reviewed_periods(pool: Pool) -> dict[str, set[datetime]]:
    """Return the starts of the periods that were reviewed, by agreement."""
    found: defaultdict[str, set[datetime]] = defaultdict(set)
    for agreement_id, start in await pool.fetch(
        "SELECT agreement_id, period_start FROM read.remedy WHERE revision = 1"
    ):
        found[agreement_id].add(start)
    return found


async def list_remedies(
    pool: Pool, agreement_id: str, *, is_every_revision: bool, limit: int
) -> list[object]:
    """Return the reviews of an agreement, the last period first; its highest revision, or all."""
    rows = await pool.fetch(
        "SELECT document FROM read.remedy r WHERE agreement_id = $1 AND ($2 OR NOT EXISTS ("
        "   SELECT FROM read.remedy later WHERE later.agreement_id = r.agreement_id"
        "   AND later.period_start = r.period_start AND later.revision > r.revision))"
        " ORDER BY period_start DESC, revision DESC LIMIT $3",
        *(agreement_id, is_every_revision, limit),
    )
    return [row["document"] for row in rows]
