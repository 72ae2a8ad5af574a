"""The statements that read and write the state that routing decides by (ADR 0016).

Each that searches names the order of the index that it is to walk, so that it reads no more rows
than it returns, whatever the planner believes of a group.
"""

from typing import Final

import msgspec
from msgspec.structs import fields

from services.routing.domain.agents import Agent
from services.routing.domain.state import ClockBreach, RoutedTicket


def _columns(of: type[msgspec.Struct]) -> str:
    return ", ".join(f'"{field.name}"' for field in fields(of))


def _upsert(of: type[msgspec.Struct], table: str, key: str) -> str:
    names = _columns(of)
    news = ", ".join(f'EXCLUDED."{field.name}"' for field in fields(of))
    return (
        f"INSERT INTO desk.{table} ({names}) SELECT {names}"
        f" FROM json_populate_recordset(NULL::desk.{table}, $1::text::json)"
        f" ON CONFLICT ({key}) DO UPDATE SET ({names}) = ROW({news})"
    )


TURN: Final = "SELECT pg_advisory_xact_lock(1919905909)"
POLICY: Final = """
SELECT type, value FROM kernel.journal WHERE stream_id = $1 AND type = $2
ORDER BY sequence DESC LIMIT 1
"""
TICKETS: Final = (
    f"SELECT {_columns(RoutedTicket)} FROM desk.ticket WHERE ticket_id = ANY($1::text[])"
)
LIVE: Final = """
SELECT ticket_id FROM desk.ticket
WHERE ticket_id = ANY($1::text[]) AND is_live AND created_at IS NOT NULL
"""
AGENTS: Final = f"SELECT {_columns(Agent)} FROM desk.agent WHERE agent_id = ANY($1::text[])"
PENDING: Final = f"""
SELECT {_columns(ClockBreach)} FROM desk.breach WHERE is_pending AND ticket_id = ANY($1::text[])
"""
CLOCKS: Final = f"""
SELECT {_columns(ClockBreach)} FROM desk.breach
JOIN unnest($1::text[], $2::text[], $3::int[], $4::int[])
    c(ticket_id, target, cycle, generation) USING (ticket_id, target, cycle, generation)
"""
SEATS: Final = """
SELECT workload, agent_id FROM desk.seat WHERE "group" = $1 AND skill = $2
    AND (workload, agent_id) > ($3, $4)
ORDER BY workload, agent_id LIMIT $5
"""
IS_ANYONE_WAITING: Final = """
SELECT true FROM desk.ticket WHERE is_waiting AND "group" = $1
ORDER BY skill, priority, created_at, ticket_id LIMIT 1
"""
FIRST_WAITING: Final = """
SELECT t.ticket_id FROM unnest($2::text[]) s(name) CROSS JOIN LATERAL (
    SELECT ticket_id, priority, created_at FROM desk.ticket
    WHERE is_waiting AND "group" = $1 AND skill = s.name AND ticket_id <> $3
    ORDER BY priority, created_at, ticket_id LIMIT 1
) t ORDER BY t.priority, t.created_at, t.ticket_id LIMIT 1
"""
HAS_PEOPLE: Final = 'SELECT true FROM desk.agent WHERE "group" = $1 ORDER BY agent_id LIMIT 1'
SAVE_TICKETS: Final = _upsert(RoutedTicket, "ticket", "ticket_id")
SAVE_AGENTS: Final = _upsert(Agent, "agent", "agent_id")
SAVE_BREACHES: Final = _upsert(ClockBreach, "breach", "ticket_id, target, cycle, generation")
FREE_SEATS: Final = "DELETE FROM desk.seat WHERE agent_id = ANY($1::text[])"
TAKE_SEATS: Final = """
INSERT INTO desk.seat ("group", skill, workload, agent_id)
SELECT DISTINCT "group", s.name, workload, agent_id
FROM desk.agent CROSS JOIN LATERAL unnest(skills || ''::text) s(name)
WHERE agent_id = ANY($1::text[]) AND is_available AND workload < workload_max AND NOT is_asking
"""
