"""What routing answers, from its read model and from the state that it decides by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypedDict
from uuid import UUID

import msgspec

from services.routing.queries.state import LIVE
from shared.errors import NotFoundError
from shared.postgres.pool import Connection, Pool

_ROSTER: Final = """
SELECT agent_id, name, "group", line, skills, workload_max, is_available, workload
FROM desk.agent ORDER BY agent_id
"""
_QUEUES: Final = """
SELECT "group", sum(n)::int, sum(nobody)::int, jsonb_object_agg(priority, n) FROM (
    SELECT "group", coalesce(priority, 'none') AS priority, count(*)::int AS n,
        count(*) FILTER (WHERE agent_id IS NULL)::int AS nobody
    FROM desk.ticket WHERE is_open AND "group" IS NOT NULL GROUP BY 1, 2
) g GROUP BY 1 ORDER BY 1
"""


class AgentView(msgspec.Struct, frozen=True):
    """An agent on the roster; `workload` counts their open tickets."""

    agent_id: str
    name: str
    group: str
    line: int
    skills: list[str]
    workload_max: int
    available: bool
    workload: int


class RoutingView(msgspec.Struct, frozen=True):
    """One ticket as routing sees it, with the reasons for everything."""

    ticket_id: UUID
    priority: str | None
    impact: str | None
    urgency: str | None
    ranking_reasons: list[str] | None
    group: str | None
    agent_id: str | None
    line: int | None
    reassignment_count: int | None
    assignment_reasons: list[str] | None
    assigned_at: datetime | None
    escalation_count: int | None
    escalation_reasons: list[str] | None
    escalated_at: datetime | None


class QueueView(msgspec.Struct, frozen=True):
    """Open tickets of a group: how many, how many of them nobody has, and by priority."""

    group: str
    open: int
    unassigned: int
    by_priority: dict[str, int]


class Roster(TypedDict):
    """Every agent."""

    agents: list[AgentView]


class Queues(TypedDict):
    """The groups that have open tickets."""

    queues: list[QueueView]


async def list_agents(pool: Pool) -> list[AgentView]:
    """Return the roster."""
    return [AgentView(*row) for row in await pool.fetch(_ROSTER)]


async def read_ticket(pool: Pool, ticket_id: UUID) -> RoutingView:
    """Return one ticket. Raises: NotFoundError when routing has not heard of it."""
    row = await pool.fetchrow(
        "SELECT ticket_id, priority, impact, urgency, ranking_reasons, assigned_group, agent_id,"
        " line, reassignment_count, assignment_reasons, assigned_at, escalation_count,"
        " escalation_reasons, escalated_at FROM read.ticket WHERE ticket_id = $1",
        ticket_id,
    )
    if row is None:
        raise NotFoundError(f"no ticket {ticket_id}")
    return RoutingView(*row)


async def list_queues(pool: Pool) -> list[QueueView]:
    """Return the groups that have open tickets."""
    return [QueueView(*row) for row in await pool.fetch(_QUEUES)]


async def live_tickets(connection: Connection, ticket_ids: Sequence[str]) -> set[str]:
    """Return which of these tickets are this desk's own work."""
    return {row[0] for row in await connection.fetch(LIVE, list(ticket_ids))}
