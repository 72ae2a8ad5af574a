"""How many promises were kept, counted from every clock there is: slow, and easy to follow."""

from datetime import datetime
from typing import Any

from services.sla.domain.clocks.attainment import AttainmentQuery, Dimension
from shared.postgres.pool import Connection

COLUMNS: dict[Dimension, str] = {
    "policy": "v.policy_id",
    "group": "t.assigned_group",
    "month": "to_char(v.at AT TIME ZONE $4, 'YYYY-MM')",
    "priority": "t.priority",
    "customer": "t.customer",
    "site": "t.site",
    "service": "t.service",
    "category": "t.category",
}
VERDICTS = """
WITH cycle AS (
    SELECT k.ticket_id, k.target, k.cycle, max(kind) AS kind, max(source_system) AS source_system,
        (array_agg(policy_id ORDER BY generation DESC))[1] AS policy_id,
        bool_or(breached_at IS NOT NULL OR outcome = 'missed') AS missed,
        bool_or(outcome = 'met') AS met, min(breached_at) AS breached_at,
        bool_or(outcome IS NULL) AS running, max(stopped_at) AS stopped_at
    FROM read.clock k WHERE cardinality($5::text[]) = 0 OR k.target = ANY($5::text[])
    GROUP BY k.ticket_id, k.target, k.cycle
), verdict AS (
    SELECT *, CASE WHEN missed THEN coalesce(breached_at, stopped_at) ELSE stopped_at END AS at,
        CASE WHEN running THEN $3 ELSE coalesce(stopped_at, breached_at) END AS until
    FROM cycle WHERE missed OR met
)
"""
COUNTED = """
SELECT v.target, v.kind, v.source_system, count(*) FILTER (WHERE NOT v.missed) AS met,
    count(*) FILTER (WHERE v.missed) AS missed,
    coalesce(sum(extract(epoch FROM least(v.until, $2, $3) - v.breached_at))
        FILTER (WHERE v.missed AND v.until > v.breached_at), 0)::bigint AS late_seconds
"""
JUDGED = """
FROM verdict v LEFT JOIN read.ticket t USING (ticket_id)
WHERE ($1::timestamptz IS NULL OR v.at >= $1) AND ($2::timestamptz IS NULL OR v.at < $2)
    AND ($3::timestamptz IS NOT NULL) AND ($4::text IS NOT NULL)
    AND (cardinality($6::text[]) = 0 OR t.priority = ANY($6::text[]))
    AND (cardinality($7::text[]) = 0 OR t.customer = ANY($7::text[]))
    AND (cardinality($8::text[]) = 0 OR t.service = ANY($8::text[]))
"""


async def scanned(
    connection: Connection, asked: AttainmentQuery, at: datetime
) -> list[tuple[Any, ...]]:
    """Return target, kind, source, met, missed, seconds late, and the dimensions asked for."""
    columns = [COLUMNS[name] for name in asked.by]
    keys = "".join(f", {column} AS key_{place}" for place, column in enumerate(columns))
    groups = ", ".join(["v.target", "v.kind", "v.source_system", *columns])
    rows = await connection.fetch(
        f"{VERDICTS} {COUNTED} {keys} {JUDGED} GROUP BY {groups} ORDER BY {groups}",
        asked.start,
        asked.end,
        at,
        asked.zone,
        list(asked.targets),
        list(asked.priorities),
        list(asked.customers),
        list(asked.services),
    )
    return [tuple(row) for row in rows]
