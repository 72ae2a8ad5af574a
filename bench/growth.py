"""How cost grows with the number of tickets: the log's size, rebuilds, and what is read."""

import asyncio
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import asyncpg

from bench.client import Connection, request
from bench.desk import Desk, a_desk
from bench.figures import Figure, rate
from bench.history import Past, fill_log, ticket_id, title
from services.host import ROOMS
from services.reporting.reactions import KpiRollups
from shared.log.embedded import EmbeddedLog
from shared.postgres.pool import Pool, open_pool
from shared.replay.rebuild import rebuild

_PARTITIONS: Final = 6
_SERVICES: Final = ("intake", "reporting")
_READS: Final = 200


def of_growth(tickets: int) -> list[Figure]:
    """Measure a desk that has had so many tickets."""
    with a_desk(None, _SERVICES, "api") as desk:
        desk.start()
        figures = asyncio.run(_grow(desk, tickets))
        return figures + asyncio.run(_reads(desk, tickets))


async def _grow(desk: Desk, tickets: int) -> list[Figure]:
    records = await fill_log(desk.postgres_dsn("log"), Past(tickets), _PARTITIONS)
    log = await EmbeddedLog(desk.postgres_dsn("log")).open()
    size = await log.pool.fetchval("SELECT pg_total_relation_size('record')")
    figures = [
        Figure(
            f"{tickets:,} tickets: the log",
            "–",
            f"{records:,} events, {size / 2**20:,.0f} MB, {size / records:,.0f} bytes each",
        )
    ]
    for name in _SERVICES:
        model = ROOMS[name]().spec.read_model
        dsn = desk.postgres_dsn(name)
        connection = await asyncpg.connect(dsn)
        ends = await log.end_offsets(ROOMS[name]().spec.topics)
        await connection.executemany(
            "INSERT INTO kernel.consumer_offset VALUES ($1, $2, $3) ON CONFLICT (topic, partition)"
            " DO UPDATE SET next_offset = EXCLUDED.next_offset",
            [(*place, end) for place, end in ends.items()],
        )
        pool = await open_pool(dsn, role="desk_replay", name="bench", size_max=1)
        began = time.perf_counter()
        total = sum((await rebuild(model, log, pool)).values())
        took = time.perf_counter() - began
        figures.append(
            Figure(
                f"{tickets:,} tickets: rebuild of {name}",
                "–",
                f"{took:.1f} s, {rate(total / took, ' records/s')}",
            )
        )
        if name == "reporting":
            figures.append(await _settle(pool, tickets))
        await pool.close()
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
    await log.close()
    return figures


async def _settle(pool: Pool, tickets: int) -> Figure:
    """Count all rollups, as the chore does behind a desk's back; this desk answers only."""
    rollups = KpiRollups()
    began = time.perf_counter()
    while await rollups.refresh(pool):
        pass
    took = time.perf_counter() - began
    return Figure(f"{tickets:,} tickets: all rollups of the KPIs", "–", f"{took:.1f} s")


async def _reads(desk: Desk, tickets: int) -> list[Figure]:
    def one(number: int) -> str:
        return f"/intake/tickets/{ticket_id(number * 7_919 % tickets)}"

    def page(_: int) -> str:
        return "/intake/tickets?open=true&sort=priority&limit=50"

    def search(number: int) -> str:
        return f"/intake/tickets?limit=20&q={quote(title(number * 7_919 % tickets))}"

    def common_word(number: int) -> str:
        return f"/intake/tickets?limit=20&q={title(number * 7_919 % tickets).split()[0]}"

    def report(_: int) -> str:
        return "/reporting/kpi?by=priority"

    return [
        await _read(desk, f"{tickets:,} tickets: one ticket", one, 20),
        await _read(desk, f"{tickets:,} tickets: 50 open ones by priority and age", page, 20),
        await _read(desk, f"{tickets:,} tickets: full-text search, four words", search, 50),
        await _read(desk, f"{tickets:,} tickets: full-text search, one word", common_word, 50),
        await _read(desk, f"{tickets:,} tickets: KPI report over all history", report, 200),
    ]


async def _read(
    desk: Desk, path: str, url: Callable[[int], str], budget_ms: int, count: int = _READS
) -> Figure:
    connection = await Connection.open(*desk.address)
    seconds: list[float] = []
    for number in range(count + 3):
        began = time.perf_counter()
        status, body = await connection.send(request("GET", url(number), desk.token))
        seconds.append(time.perf_counter() - began)
        if status != 200:
            raise RuntimeError(f"{url(number)}: {status} {body[:200]!r}")
    await connection.close()
    ordered = sorted(seconds[3:])
    worst, median = (ordered[int(len(ordered) * share)] * 1000 for share in (0.99, 0.5))
    return Figure(
        path,
        f"p99 < {budget_ms} ms",
        f"p99 {worst:.1f} ms, median {median:.1f} ms",
        is_met=worst < budget_ms,
    )
