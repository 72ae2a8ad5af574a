"""What the clocks of tickets answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast
from uuid import UUID

import msgspec

from services.sla.domain.announcements.events import is_past, read_announcements
from services.sla.domain.clocks.explain import ClockReading
from services.sla.domain.clocks.facts import Peaks, facts_of
from services.sla.domain.clocks.history import Fact, in_order
from services.sla.domain.clocks.views import AtRiskAsked, ClockView
from services.sla.domain.outlook.survival import AtRisk, Curves, Lifetime, at_risk, lifetimes
from services.sla.domain.rules.published import Rules
from services.sla.queries.histories import read_created
from shared.calendar import SECOND_US, microseconds
from shared.errors import NotFoundError
from shared.http.access import Grant
from shared.journal.journal import Journal
from shared.people import is_same, person
from shared.postgres.pool import Connection, Pool
from shared.runtime.read_model import read_histories

if TYPE_CHECKING:
    from shared.contracts.intake import TicketCreated

_TICKETS_AT_ONCE: Final = 100
_LEARN_EVERY_US: Final = 3_600 * SECOND_US
_LEARN_FROM_MAX: Final = 5_000
_LEARN_FROM_CLOCKS_MAX: Final = 8 * _LEARN_FROM_MAX
_ENDED_LAST: Final = """
SELECT ticket_id::text FROM (
    SELECT ticket_id, stopped_at FROM read.clock WHERE outcome IS NOT NULL
    ORDER BY stopped_at DESC NULLS LAST LIMIT $2
) ended GROUP BY ticket_id ORDER BY max(stopped_at) DESC NULLS LAST, ticket_id LIMIT $1
"""  # a ticket's last end comes first, so the tickets of the clocks that ended last ended last
_UNDER_WAY: Final = """
(SELECT ticket_id FROM read.ticket WHERE is_over IS NOT TRUE AND ticket_id >= $1
ORDER BY ticket_id LIMIT $2)
UNION (SELECT DISTINCT ticket_id FROM read.clock WHERE outcome IS NULL AND ticket_id >= $1
ORDER BY ticket_id LIMIT $2)
ORDER BY ticket_id LIMIT $2
"""
"""Of each kind the first few, for the first few of both."""
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
         WHEN breached_at IS NOT NULL THEN 'breached' ELSE 'open' END AS state,
    due_at, pause_reason, warned, breached_at, stopped_at, source_system
"""


async def list_running(connection: Connection, *, limit: int) -> list[ClockView]:
    """Return running clocks, the one due first first."""
    rows = await connection.fetch(
        f"SELECT {_FIELDS} FROM read.clock WHERE outcome IS NULL AND due_at IS NOT NULL"
        " ORDER BY due_at LIMIT $1",
        limit,
    )
    return [msgspec.convert(dict(row), ClockView) for row in rows]


async def tickets_under_way(connection: Connection, first: UUID, limit: int) -> list[UUID]:
    """Return tickets whose work is not over, or that have a clock which runs on.

    They come in the order of their ids, `first` being the lowest there may be.
    """
    rows = await connection.fetch(_UNDER_WAY, first, limit)
    return [row["ticket_id"] for row in rows]


@dataclass(frozen=True, slots=True)
class TicketFacts:
    """What sla knew of a ticket at an instant: facts in order, whether another system judged it."""

    ticket_id: str
    at: datetime
    facts: list[Fact]
    is_foreign: bool


async def require_seen(connection: Connection, ticket_id: UUID, grant: Grant, subject: str) -> None:
    """Raise NotFoundError, as for an unknown ticket, unless the caller may see this one.

    Asked of its creation alone: who may not see a ticket must not have its whole past read.
    """
    if grant.is_whole:
        return
    name = str(ticket_id)
    for event in (await read_created(connection, [name])).get(name, ()):
        created = cast("TicketCreated", event.data)
        holds = {
            "own": is_same(created.requester.id, subject),
            "reported": not event.history and is_same(event.actor, subject),
        }
        if grant.covers([relation for relation, is_so in holds.items() if is_so]):
            return
    if not grant.covers({"survivor"}) or not await _is_survivor(connection, ticket_id, subject):
        raise NotFoundError(f"no ticket {ticket_id}")


_IS_SURVIVOR: Final = """
WITH RECURSIVE goes (ticket_id) AS (
    SELECT merged_into FROM read.ticket WHERE requester_id = $2 AND merged_into IS NOT NULL UNION
    SELECT merged_into FROM goes JOIN read.ticket USING (ticket_id) WHERE merged_into IS NOT NULL
)
SELECT EXISTS (SELECT FROM goes WHERE ticket_id = $1)
"""


async def _is_survivor(connection: Connection, ticket_id: UUID, requester: str) -> bool:
    """Say whether a ticket of this requester was merged into this one, over however many others."""
    return await connection.fetchval(_IS_SURVIVOR, ticket_id, person(requester))


def _unknown(ticket_id: str, at: datetime) -> NotFoundError:
    return NotFoundError(f"no ticket {ticket_id} was known at {at.isoformat()}")


async def read_facts(
    connection: Connection, journal: Journal, ticket_id: str, rules: Rules, at: datetime
) -> TicketFacts:
    """Return what had been recorded by `at`. Raises: NotFoundError for an unknown ticket."""
    events = (await read_histories(connection, [ticket_id]))[ticket_id]
    known = [event for event in events if event.recorded_at <= at]
    if not known:
        raise _unknown(ticket_id, at)
    said = read_announcements(event for event in known if event.writer == journal.writer)
    is_foreign = said.has_foreign and any(map(is_past, known))
    facts = in_order(facts_of(known, rules.peaks))
    return TicketFacts(ticket_id, at, facts, is_foreign)


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
    first: UUID | None = UUID(int=0)
    while first is not None:
        tickets = await tickets_under_way(connection, first, _TICKETS_AT_ONCE + 1)
        first = next(iter(tickets[_TICKETS_AT_ONCE:]), None)
        names = [str(ticket_id) for ticket_id in tickets[:_TICKETS_AT_ONCE]]
        async for one in _facts_of_each(connection, names, peaks):
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
    """Curves of how long clocks ran, learnt from what ended last, under the rules of today.

    Who waits while somebody learns holds no connection meanwhile.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lock = asyncio.Lock()
        self._learnt: tuple[int, Curves] | None = None

    async def curves(self, rules: Rules, at_us: int) -> Curves:
        """Return the curves, learnt again once an hour."""
        async with self._lock:
            if self._learnt is None or at_us - self._learnt[0] > _LEARN_EVERY_US:
                async with self._pool.acquire() as connection:
                    past = await _past(connection, rules, at_us)
                self._learnt = at_us, Curves(past)
            return self._learnt[1]


async def _past(connection: Connection, rules: Rules, at_us: int) -> list[Lifetime]:
    rows = await connection.fetch(_ENDED_LAST, _LEARN_FROM_MAX, _LEARN_FROM_CLOCKS_MAX)
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
