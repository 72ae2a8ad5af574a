"""What PostgreSQL looked at to answer a statement: counts, not times."""

import json
from collections.abc import Iterator
from typing import Any

from shared.postgres.pool import Connection

_REMOVED = (
    "Rows Removed by Filter",
    "Rows Removed by Index Recheck",
    "Rows Removed by Join Filter",
)


async def rows_looked_at(connection: Connection, sql: str, *arguments: Any) -> int:
    """Run `sql` and return how many rows its scans have read; as a plan made for any arguments.

    Undone afterwards. A bitmap's rows count once, where their table is read.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        rows = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments)
    finally:
        await transaction.rollback()
    (plan,) = json.loads(rows)
    scans = (node for node in _nodes(plan["Plan"]) if node["Node Type"].endswith("Scan"))
    return sum(_read(node) for node in scans if "Relation Name" in node)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _read(node: dict[str, Any]) -> int:
    rows = node["Actual Rows"] + sum(node.get(name, 0) for name in _REMOVED)
    return round(rows * node["Actual Loops"])
