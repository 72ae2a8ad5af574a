"""From the log to committed rows: projectors, replicas, rebuilds."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import asyncpg

from bench.desk import Desk, a_desk
from bench.figures import Figure, rate
from bench.history import Past, fill_log
from services.host import ROOMS
from shared.log.archived import ArchivedLog
from shared.log.port import Outgoing
from shared.postgres.pool import open_pool
from shared.replay.rebuild import rebuild

_PARTITIONS: Final = 6
_SEND_SIZE: Final = 5_000
_PATIENCE_SECONDS: Final = 300


def of_projectors(kafka: str | None, tickets: int, replicas: Sequence[int]) -> list[Figure]:
    """Measure how fast workers catch up with a log that is there already, and rebuilds of it."""
    with a_desk(kafka, ["intake", "reporting"], "api") as desk:
        desk.start()
        asyncio.run(fill(desk, Past(tickets)))
        figures: list[Figure] = []
        first = 0.0
        for count in replicas:
            asyncio.run(_forget(desk.postgres_dsn("intake")))
            records, per_second, peak_mb = _catch_up(desk, "intake", count)
            first = first or per_second
            figures.append(
                Figure(
                    f"projector of intake's board, {count} replica{'s' if count > 1 else ''}",
                    "≥ 30,000 records/s" if count == 1 else "–",
                    f"{rate(per_second, ' records/s')} of {records:,}, peak {peak_mb:.0f} MB"
                    + (f", × {per_second / first:.2f}" if count > 1 else ""),
                    is_met=per_second >= 30_000 if count == 1 else None,
                )
            )
        records, per_second, peak_mb = _catch_up(desk, "reporting", 1)
        figures.append(
            Figure(
                "projector of reporting: archive, Merkle trees and KPI rows",
                "–",
                f"{rate(per_second, ' records/s')} of {records:,}, peak {peak_mb:.0f} MB",
            )
        )
        source = "Kafka" if kafka else "the embedded log"
        return [
            *figures,
            asyncio.run(_rebuild(desk, "intake", f"from {source}", 50_000)),
            asyncio.run(_rebuild(desk, "reporting", f"from {source}", 50_000)),
            asyncio.run(_rebuild(desk, "reporting", "from the archive", 150_000)),
        ]


async def fill(desk: Desk, past: Past) -> None:
    """Put a past into the desk's log."""
    if desk.kafka is None:
        await fill_log(desk.postgres_dsn("log"), past, _PARTITIONS)
        return
    log = await desk.open_log()
    writer = log.writer("bench")
    batch: list[Outgoing] = []
    for out in past.outgoing():
        batch.append(out)
        if len(batch) == _SEND_SIZE:
            await writer.send(batch)
            batch = []
    await writer.send(batch)
    await writer.close()
    await log.close()


async def _forget(dsn: str) -> None:
    """Make a service as if it had read nothing yet."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE kernel.consumer_offset SET next_offset = 0")
    for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'read'"):
        await connection.execute(f"TRUNCATE read.{row['tablename']}")
    await connection.close()


def _catch_up(desk: Desk, service: str, replicas: int) -> tuple[int, float, float]:
    """Return how many records there were, how many a second were applied once it ran, peak MB."""
    for number in range(replicas):
        desk.add_replica(service, f"worker-{number}")
    try:
        total, per_second = asyncio.run(_watch(desk, service))
        return total, per_second, desk.replica_peak_mb()
    finally:
        desk.stop_replicas()


async def _watch(desk: Desk, service: str) -> tuple[int, float]:
    """Time the way from a tenth of the records to nearly all of them."""
    log = await desk.open_log()
    total = sum((await log.end_offsets(ROOMS[service]().spec.topics)).values())
    await log.close()
    connection = await asyncpg.connect(desk.postgres_dsn(service))
    marks: list[tuple[float, int]] = []
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    while not marks or marks[-1][1] < total:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{service} does not catch up: {marks[-1]} of {total}")
        done = await connection.fetchval(
            "SELECT coalesce(sum(next_offset), 0)::bigint FROM kernel.consumer_offset"
        )
        marks.append((time.perf_counter(), done))
        await asyncio.sleep(0.02)
    await connection.close()
    began, before = next(mark for mark in marks if mark[1] > total * 0.1)
    ended, after = next(mark for mark in marks if mark[1] >= total * 0.95)
    return total, (after - before) / (ended - began)


async def _rebuild(desk: Desk, service: str, source: str, budget: int) -> Figure:
    pool = await open_pool(desk.postgres_dsn(service), role="desk_replay", name="bench", size_max=2)
    log = await desk.open_log()
    model = ROOMS[service]().spec.read_model
    archive = ArchivedLog(pool) if source == "from the archive" else None
    began = time.perf_counter()
    positions = await rebuild(model, log, pool, archive=archive)
    took = time.perf_counter() - began
    await log.close()
    await pool.close()
    records = sum(positions.values())
    return Figure(
        f"rebuild of {service} {source}",
        f"≥ {budget:,} records/s",
        f"{rate(records / took, ' records/s')} ({records:,} in {took:.1f} s)",
        is_met=records / took >= budget,
    )
