"""How cost grows with the number of tickets: the disk, rebuilds, verification, every read route."""

import asyncio
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

import asyncpg

from bench.client import Connection, request
from bench.desk import Desk, a_desk
from bench.figures import Figure, rate
from bench.history import Past, an_agreement, fill_log
from bench.reading import examples_of, read
from services.host import ROOMS
from services.reporting.chores import KpiRollups
from services.sla.chores import add_up_verdicts, count_verdicts
from shared.log.embedded import EmbeddedLog
from shared.postgres.pool import open_pool
from shared.runtime.rollups import Rollups

_PARTITIONS: Final = 6
_ASK_EVERY_SECONDS: Final = 0.25
_LIGHT: Final = {
    "intake": "/intake/tickets?open=true&sort=priority&limit=50",
    "routing": "/routing/queues",
    "sla": "/sla/clocks",
    "knowledge": "/knowledge/articles",
    "reporting": "/reporting/kpi?from=2024-01-02&to=2024-01-03",
}
"""What is asked of a service while its model is made again."""
_TROUBLES: Final = """
INSERT INTO kernel.delivery (id, target, body, state, next_at, stream_id, sequence)
SELECT md5(n::text)::uuid, 'https://example.org/' || n, '', 'dead', now(), n::text, 1
FROM generate_series(1, $1::int) n
"""
_PARKED: Final = """
INSERT INTO kernel.quarantine (topic, partition, record_offset, timestamp_ms, reason, detail,
    parked_at)
SELECT 'ticket.created', 0, n, 0, 'InvalidInputError', 'bench', now()
FROM generate_series(1, $1::int) n
"""


def of_growth(tickets: int) -> list[Figure]:
    """Measure a desk that has had so many tickets; what is done is told on the way."""
    figures: list[Figure] = []
    with a_desk(None, tuple(ROOMS), "api") as desk:
        desk.start()
        addresses = examples_of(desk)
        asyncio.run(_grow(desk, tickets, addresses, figures))
    return figures


def side_by_side(sizes: Sequence[int], figures: Sequence[Figure]) -> Iterator[list[str]]:
    """Yield each path with what it took at each size, and how the last compares with the first.

    The figures are those of one size after those of another.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for figure in figures:
        found[figure.path].append(figure.measured)
    for path, measured in found.items():
        if len(measured) == len(sizes):
            first, last = (_number(measured[place]) for place in (0, -1))
            yield [path, *measured, f"{last / first:.1f}" if first else "–"]


def _number(measured: str) -> float:
    """Return the first number of a figure."""
    number = re.search(r"[\d,]+(\.\d+)?", measured)
    return float(number[0].replace(",", "")) if number else 0.0


async def _grow(desk: Desk, tickets: int, addresses: list[str], figures: list[Figure]) -> None:
    def tell(path: str, measured: str) -> None:
        figures.append(Figure(path, "–", measured))
        sys.stderr.write(f"{tickets:,} tickets: {path}: {measured}\n")

    began = time.perf_counter()
    dsns = {name: desk.postgres_dsn(name) for name in (*ROOMS, "log")}
    past = Past(tickets)
    records = await fill_log(dsns["log"], past, _PARTITIONS, dsns["reporting"])
    tell("the past", f"{records:,} events, made in {time.perf_counter() - began:.0f} s")
    for name in ROOMS:
        await _be_read(dsns, name, tickets)
        tell(f"rebuild of {name}", await _rebuilt(desk, "rebuild", name, dsns))
    of_sla = Rollups(ROOMS["sla"]().spec.read_model.fingerprint, count_verdicts, add_up_verdicts)
    tell("rollups of verdicts", await _settle(of_sla, dsns["sla"]))
    tell("rollups of KPIs", await _settle(KpiRollups(timedelta()), dsns["reporting"]))
    for name, dsn in dsns.items():
        tell(f"disk of {name}", await _tidied(dsn))
    for address in addresses:
        figure = await read(desk, address, tickets)
        tell(figure.path, figure.measured)
    for name in ("sla", "reporting", "intake", "routing", "knowledge"):
        tell(f"verify {name}", await _rebuilt(desk, "verify", name, dsns))


async def _be_read(dsns: dict[str, str], name: str, tickets: int) -> None:
    """Say that all is read, and leave some troubles behind."""
    log = await EmbeddedLog(dsns["log"]).open()
    ends = await log.end_offsets(ROOMS[name]().spec.topics)
    await log.close()
    connection = await asyncpg.connect(dsns[name])
    await connection.executemany(
        "INSERT INTO kernel.consumer_offset VALUES ($1, $2, $3) ON CONFLICT (topic, partition)"
        " DO UPDATE SET next_offset = EXCLUDED.next_offset",
        [(*place, end) for place, end in ends.items()],
    )
    if name == "sla":
        stream = enumerate(an_agreement(), 1)
        await connection.executemany(
            "INSERT INTO kernel.journal VALUES ($1, $2, $3, $4)",
            [(out.key.decode(), sequence, out.topic, out.value) for sequence, out in stream],
        )
    await connection.execute(_TROUBLES, tickets // 100)
    await connection.execute(_PARKED, tickets // 100)
    await connection.close()


async def _rebuilt(desk: Desk, work: str, name: str, dsns: dict[str, str]) -> str:
    """Rebuild or verify in a process of its own, while the desk answers."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.rebuilding", work, name, dsns[name], dsns["log"]),
        stdout=asyncio.subprocess.PIPE,
    )
    taken_ms: list[float] = []
    asking = asyncio.create_task(_ask(desk, _LIGHT[name], taken_ms))
    output, _ = await process.communicate()
    if asking.done():
        asking.result()
    asking.cancel()
    if process.returncode:
        raise RuntimeError(f"{work} of {name} failed")
    found: dict[str, Any] = json.loads(output)
    if found["differing"]:
        raise RuntimeError(f"{name} is not what its past makes: {found['differing']}")
    return (
        f"{found['seconds']:.1f} s, {rate(found['records'] / found['seconds'], ' records/s')},"
        f" peak {found['peak_mb']:.0f} MB; {len(taken_ms)} answers meanwhile, the slowest after"
        f" {max(taken_ms, default=0):.0f} ms"
    )


async def _ask(desk: Desk, path: str, taken_ms: list[float]) -> None:
    connection = await Connection.open(*desk.address)
    while True:
        began = time.perf_counter()
        status, body = await connection.send(request("GET", path, desk.token))
        if status not in {200, 404}:  # of an empty model there may be nothing
            raise RuntimeError(f"{path}: {status} {body[:200]!r}")
        taken_ms.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(_ASK_EVERY_SECONDS)


async def _settle(rollups: Rollups, dsn: str) -> str:
    """Count all rollups, as the chore does behind a desk's back; this desk answers only."""
    pool = await open_pool(dsn, role="desk_app", name="bench", size_max=1)
    began = time.perf_counter()
    while await rollups.refresh(pool):
        pass
    while isinstance(rollups, KpiRollups) and await rollups.make(pool):
        pass
    took = time.perf_counter() - began
    await pool.close()
    return f"{took:.1f} s"


async def _tidied(dsn: str) -> str:
    """Do what autovacuum would, and return how large the database is."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("VACUUM ANALYZE")
    size = await connection.fetchval("SELECT pg_database_size(current_database())")
    await connection.close()
    return f"{size / 2**20:,.0f} MB"
