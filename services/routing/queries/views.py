"""What routing's read model answers."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from services.routing.domain.triage import Agent, Roster
from shared.errors import NotFoundError
from shared.postgres.pool import Connection, Pool

_ROSTER: Final = """
SELECT agent_id, name, agent_group, line, skills, workload_max, available, workload
FROM read.roster ORDER BY agent_id
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


async def list_agents(pool: Pool) -> list[AgentView]:
    """Return the roster."""
    return [AgentView(*row) for row in await pool.fetch(_ROSTER)]


async def read_roster(connection: Connection) -> Roster:
    """Return the roster as assignment needs it."""
    return {
        row["agent_id"]: Agent(
            agent_id=row["agent_id"],
            group=row["agent_group"],
            skills=frozenset(row["skills"]),
            is_available=row["available"],
            workload=row["workload"],
            workload_max=row["workload_max"],
        )
        for row in await connection.fetch(_ROSTER)
    }


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
    rows = await pool.fetch(
        "SELECT assigned_group, sum(n)::int, sum(nobody)::int, jsonb_object_agg(priority, n)"
        " FROM (SELECT assigned_group, coalesce(priority, 'none') AS priority, count(*)::int AS n,"
        "       count(*) FILTER (WHERE agent_id IS NULL)::int AS nobody"
        "       FROM read.ticket WHERE is_open AND assigned_group IS NOT NULL GROUP BY 1, 2) g"
        " GROUP BY 1 ORDER BY 1"
    )
    return [QueueView(*row) for row in rows]
