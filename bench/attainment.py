"""Promises kept over a long past: how long the question takes, and what its rollups cost to keep.

The rows are made in the database itself: two promises to each ticket, five years, 900 combinations
of policy, group, priority, customer, service and category.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final

from bench.figures import Figure, rate
from bench.tables import tables_of
from services.sla.chores import add_up_verdicts, count_verdicts
from services.sla.domain.clocks.attainment import AttainmentQuery
from services.sla.projections import READ_MODEL
from services.sla.queries import read_attainment
from shared.postgres.pool import Pool
from shared.runtime.rollups import Rollups

_BUDGET_MS: Final = 200
_READS: Final = 40
_CLOCKS: Final = """
INSERT INTO read.clock (ticket_id, target, cycle, generation, promise_seq, kind, policy_id, due_at,
    outcome_seq, outcome, stopped_at, breach_seq, breached_at)
SELECT md5(n::text)::uuid, target, 1, 1, 1, 'sla', 'policy ' || n % 3, due,
    3, CASE WHEN NOT is_open THEN CASE WHEN is_late THEN 'missed' ELSE 'met' END END,
    CASE WHEN NOT is_open THEN due + CASE WHEN is_late THEN spread ELSE -spread END END,
    2, CASE WHEN is_late THEN due END
FROM generate_series(1, $1::bigint) n, unnest(ARRAY['response', 'resolution']) target, LATERAL (
    SELECT n % 20 = 0 AND n > $1::bigint - 20000 AS is_open, n % 7 = 0 AS is_late,
        interval '1 minute' * (1 + n * 7919 % 240) AS spread,
        timestamptz '2021-01-01Z' + n * (interval '1826 days' / $1::bigint) AS due
) made
"""
_TICKETS: Final = """
INSERT INTO read.ticket (ticket_id, is_over, priority, assigned_group, customer, service, category)
SELECT md5(n::text)::uuid, true, 'P' || 1 + n % 4, 'group ' || n % 12, 'customer ' || n % 25,
    'service ' || n % 6, 'category ' || n % 9
FROM generate_series(1, $1::bigint) n
"""
_NOW: Final = datetime(2026, 1, 5, tzinfo=UTC)
_YEAR: Final = {
    "start": datetime(2024, 2, 3, 4, 5, tzinfo=UTC),
    "end": datetime(2025, 2, 5, 6, 7, tzinfo=UTC),
}
_CASES: Final[dict[str, dict[str, Any]]] = {
    "over all history": {},
    "by group and priority": {"by": ("group", "priority")},
    "of one customer": {"customers": ("customer 7",)},
    "by month of Berlin": {"by": ("month",), "zone": "Europe/Berlin"},
    "of a year to the minute": _YEAR,
    "of a year to the minute, of one customer": {**_YEAR, "customers": ("customer 7",)},
    "of a day": {
        "start": datetime(2024, 2, 3, tzinfo=UTC),
        "end": datetime(2024, 2, 4, tzinfo=UTC),
    },
}


def of_attainment(tickets: int) -> list[Figure]:
    """Measure the verdicts of so many tickets."""
    return asyncio.run(_measure(tickets))


async def _measure(tickets: int) -> list[Figure]:
    async with tables_of("sla", READ_MODEL) as pool:
        await _fill(pool, tickets)
        return await _figures(pool, tickets)


async def _fill(pool: Pool, tickets: int) -> None:
    """Fill the tables as a rebuild does: what is derived comes behind, and all is touched."""
    async with pool.acquire() as connection:
        await connection.execute(_CLOCKS, tickets)
        await connection.execute(_TICKETS, tickets)
        await connection.execute("TRUNCATE read.touched")
        await connection.execute("INSERT INTO read.touched VALUES (NULL, NULL)")
        await connection.execute("VACUUM ANALYZE")


async def _figures(pool: Pool, tickets: int) -> list[Figure]:
    name = f"{tickets:,} tickets"
    began = time.perf_counter()
    await _ask(pool, AttainmentQuery())
    scan = time.perf_counter() - began
    began = time.perf_counter()
    chore = Rollups(READ_MODEL.fingerprint, count_verdicts, add_up_verdicts)
    while await chore.refresh(pool):
        pass
    took = time.perf_counter() - began
    await pool.execute("VACUUM ANALYZE read.rollup, read.stale, read.touched")
    size = await pool.fetchval("SELECT pg_total_relation_size('read.rollup')")
    return [
        Figure(f"{name}: promises kept before there are rollups", "–", f"{scan:.2f} s"),
        Figure(
            f"{name}: all rollups",
            "–",
            f"{took:.0f} s, {rate(2 * tickets / took, ' verdicts/s')}, {size / 2**20:,.0f} MB",
        ),
        *[
            await _timed(pool, f"{name}: {case}", AttainmentQuery(**more))
            for case, more in _CASES.items()
        ],
    ]


async def _timed(pool: Pool, path: str, asked: AttainmentQuery) -> Figure:
    taken_ms: list[float] = []
    for _ in range(_READS + 3):
        began = time.perf_counter()
        await _ask(pool, asked)
        taken_ms.append((time.perf_counter() - began) * 1000)
    ordered = sorted(taken_ms[3:])
    median, worst = ordered[len(ordered) // 2], ordered[-1]
    measured = f"median {median:.1f} ms, worst {worst:.1f} ms"
    return Figure(path, f"< {_BUDGET_MS} ms", measured, is_met=worst < _BUDGET_MS)


async def _ask(pool: Pool, asked: AttainmentQuery) -> None:
    async with pool.acquire() as connection:
        await read_attainment(connection, asked, _NOW)
