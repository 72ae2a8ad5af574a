"""What sla's clocks and rules answer."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import msgspec

from services.sla.domain.defaults import STANDARD_POLICY
from services.sla.domain.explain import ClockReading
from services.sla.domain.facts import PEAKS, Peaks, facts_of
from services.sla.domain.history import Fact, in_order
from services.sla.domain.published import Publication, Rules, calendar_names, rules_of
from services.sla.domain.voice import hear
from shared.calendar import microseconds
from shared.contracts.registry import decode_event
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
