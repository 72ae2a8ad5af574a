"""The KPI report over a long past: how long it takes, and what its rollups cost to keep.

The rows are made in the database itself: five years, 70 groups, times that spread over weeks.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from bench.figures import Figure, rate
from bench.tables import tables_of
from services.reporting.chores import KpiRollups
from services.reporting.projections import READ_MODEL
from services.reporting.queries import Measures, kpis
from services.sla.domain.rules.defaults import default_calendars
from shared.postgres.pool import Pool

_BUDGET_MS: Final = 200
_READS: Final = 100
_TICKETS: Final = """
INSERT INTO read.ticket (ticket_id, birth_seq, number, kind, channel, created_at, label_seq, title,
    category, resolution_seq, resolved_at, closing_seq, closed_at, reopening_seq, reopen_count,
    rating_seq, score, ranking_seq, priority, assignment_seq, assigned_group, reassignment_count)
SELECT md5(n::text)::uuid, 1, 'INC-' || n, 'incident', 'portal', at, 1, 'title',
    'category ' || n % 9, 2, at + spent, 3, at + spent + interval '3 days', 3, (n % 40 = 0)::int,
    4, 1 + n % 5, 1, 'P' || 1 + n % 4, 1, 'group ' || n * 7 % 71, n % 3
FROM generate_series(1, $1::bigint) n, LATERAL (
    SELECT timestamptz '2021-01-01Z' + n * (interval '1826 days' / $1::bigint) AS at,
        CASE WHEN n % 20 > 0 THEN interval '1 minute' * exp(3 + n * 7919 % 1000 / 150.0) END
            AS spent
) made
"""
_VERDICTS: Final = """
INSERT INTO read.verdict (ticket_id, target, cycle, generation, verdict_seq, kind, outcome)
SELECT ticket_id, 'resolution', 1, 1, 2, 'sla', CASE WHEN length(number) % 3 > 0 THEN 'met' ELSE
    'missed' END FROM read.ticket
"""
_REPLIES: Final = """
INSERT INTO read.reply (ticket_id, comment_id, reply_seq, replied_at)
SELECT ticket_id, ticket_id, 2, created_at + interval '20 minutes' FROM read.ticket
"""


def of_reports(tickets: int) -> list[Figure]:
    """Measure reports of so many tickets."""
    return asyncio.run(_measure(tickets))


async def _measure(tickets: int) -> list[Figure]:
    async with tables_of("reporting", READ_MODEL) as pool:
        await _fill(pool, tickets)
        return await _figures(pool, tickets)


async def _fill(pool: Pool, tickets: int) -> None:
    async with pool.acquire() as connection:
        await connection.execute(_TICKETS, tickets)
        await connection.execute(_VERDICTS)
        await connection.execute(_REPLIES)
        for calendar in default_calendars("Europe/Berlin"):
            await connection.execute(
                "INSERT INTO read.calendar VALUES ($1, 1, $2)",
                calendar.calendar_id,
                msgspec.to_builtins(calendar),
            )
        await connection.execute("TRUNCATE read.touched")
        await connection.execute("INSERT INTO read.touched VALUES (NULL)")
        await connection.execute("VACUUM ANALYZE")


async def _figures(pool: Pool, tickets: int) -> list[Figure]:
    name = f"{tickets:,} tickets"
    rollups = KpiRollups(timedelta())
    began = time.perf_counter()
    await kpis(pool, _measures())
    scan = time.perf_counter() - began
    began = time.perf_counter()
    while await rollups.refresh(pool) or await rollups.make(pool):
        pass
    took = time.perf_counter() - began
    await pool.execute("VACUUM ANALYZE read.rollup, read.stale, read.touched")
    size = await pool.fetchval("SELECT pg_total_relation_size('read.rollup')")
    figures = [
        Figure(f"{name}: KPI report before there are rollups", "–", f"{scan:.2f} s"),
        Figure(
            f"{name}: all rollups, alone",
            "–",
            f"{took:.0f} s, {rate(tickets / took, ' tickets/s')}, {size / 2**20:,.0f} MB",
        ),
    ]
    for case, more in _CASES.items():
        measures = _measures(**more)
        figures.append(await _timed(f"{name}: KPI report {case}", lambda: kpis(pool, measures)))  # noqa: B023 called at once
    figures.append(await _while_it_changes(pool, name, rollups))
    return figures


_YEAR: Final = datetime(2024, 2, 3, 4, 5, tzinfo=UTC), datetime(2025, 2, 5, 6, 7, tzinfo=UTC)
_CASES: Final[dict[str, dict[str, Any]]] = {
    "over all history": {},
    "by priority": {"by": "priority"},
    "by 71 groups": {"by": "group"},
    "by month of Berlin": {"by": "month"},
    "by month of Kathmandu": {"by": "month", "zone": ZoneInfo("Asia/Kathmandu")},
    "of a year to the minute": {"start": _YEAR[0], "end": _YEAR[1]},
    "of a year by group": {"start": _YEAR[0], "end": _YEAR[1], "by": "group"},
    "of a day": {"start": _YEAR[0], "end": datetime(2024, 2, 4, 6, tzinfo=UTC)},
    "of a week": {"start": _YEAR[0], "end": datetime(2024, 2, 10, 6, tzinfo=UTC)},
}


def _measures(**more: Any) -> Measures:  # noqa: ANN401 what a question has
    asked = {"start": None, "end": None, "by": None, "zone": ZoneInfo("Europe/Berlin")} | more
    return Measures(calendar="office", **asked)


async def _timed(path: str, ask: Callable[[], Awaitable[object]]) -> Figure:
    seconds: list[float] = []
    for _ in range(_READS + 3):
        began = time.perf_counter()
        await ask()
        seconds.append(time.perf_counter() - began)
    ordered = sorted(seconds[3:])
    worst, median = (ordered[int(len(ordered) * share)] * 1000 for share in (0.99, 0.5))
    return Figure(
        path,
        f"p99 < {_BUDGET_MS} ms",
        f"p99 {worst:.0f} ms, median {median:.0f} ms",
        is_met=worst < _BUDGET_MS,
    )


async def _while_it_changes(pool: Pool, name: str, rollups: KpiRollups) -> Figure:
    """Ask by priority after some hundred tickets of all times have changed; then count anew."""
    await pool.execute("UPDATE read.ticket SET score = 5 WHERE number LIKE '%777'")
    changed = await pool.fetchval("SELECT count(*) FROM read.touched_hour")
    path = f"{name}: KPI report by priority with {changed:,} hours out of date"
    measures = _measures(by="priority")
    figure = await _timed(path, lambda: kpis(pool, measures))
    while await rollups.refresh(pool) or await rollups.make(pool):
        pass
    return figure
