"""The embedded desk as a user has it: start, memory, how soon things are seen, breaches in time."""

import asyncio
import json
import time

import asyncpg
import msgspec

from bench.client import Connection, request
from bench.desk import Desk, a_desk
from bench.doors import batch, of_the_whole_desk, ticket
from bench.figures import Figure
from shared.contracts.envelope import Envelope


def of_an_embedded_desk(kafka: str | None, seconds: float, due: int) -> list[Figure]:
    """Measure the whole desk in one process, PostgreSQL included."""
    with a_desk(kafka) as desk:
        cold = desk.start()
        desk.stop()
        warm = desk.start()
        time.sleep(3)
        memory = desk.memory_mb()
        return [
            Figure(
                "start to first answer",
                "< 5 s",
                f"{warm:.1f} s (first time {cold:.1f} s)",
                is_met=warm < 5,
            ),
            Figure("memory at rest", "< 400 MB", f"{memory:.0f} MB", is_met=memory < 400),
            asyncio.run(_visible(desk, 200, seconds)),
            _breaches(desk, due),
            *asyncio.run(of_the_whole_desk(desk, seconds)),
        ]


async def _visible(desk: Desk, per_second: int, seconds: float) -> Figure:
    """Follow every tenth ticket until routing has assigned it and sla runs its clocks."""
    delays: list[float] = []
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(64):
        free.put_nowait(await Connection.open(*desk.address))

    async def get(path: str) -> dict[str, object]:
        connection = await free.get()
        status, body = await connection.send(request("GET", path, desk.token))
        free.put_nowait(connection)
        return json.loads(body) if status == 200 else {}

    async def one(number: int) -> None:
        began = time.perf_counter()
        connection = await free.get()
        _, body = await connection.send(
            request("POST", "/intake/tickets", desk.token, ticket(number))
        )
        free.put_nowait(connection)
        if number % 10:
            return
        ident = json.loads(body)["ticket_id"]
        while time.perf_counter() - began < 10:
            routed = await get(f"/routing/tickets/{ident}")
            if routed.get("group") and (await get(f"/sla/tickets/{ident}")).get("clocks"):
                delays.append(time.perf_counter() - began)
                return
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        began = time.perf_counter()
        for number in range(int(per_second * seconds)):
            if (wait := began + number / per_second - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(one(number))
    delays.sort()
    worst, median = (delays[int(len(delays) * share)] * 1000 for share in (0.99, 0.5))
    return Figure(
        f"created → prioritised, assigned, clock running, over HTTP, at {per_second}/s",
        "p99 < 300 ms",
        f"p99 {worst:.0f} ms, median {median:.0f} ms over {len(delays)} tickets",
        is_met=worst < 300,
    )


def _breaches(desk: Desk, due: int) -> Figure:
    """Let so many clocks come due within the same minute; compare detection with due instant."""
    promise = {
        "name": "resolution",
        "kind": "sla",
        "goal": {"working_seconds": 45},
        "start": ["created"],
        "stop": ["resolved", "closed"],
    }
    usual = desk.ask("GET", "/sla/policies/standard")["targets"]
    desk.ask("PUT", "/sla/policies/standard", {"targets": [promise]})
    for _ in range(due // 100):
        desk.ask("POST", "/intake/tickets:batch", json.loads(batch()))
    desk.ask("PUT", "/sla/policies/standard", {"targets": usual})
    time.sleep(48)
    desk.settle()
    lateness = sorted(asyncio.run(_lateness(desk.postgres_dsn("sla"))))
    worst = lateness[int(len(lateness) * 0.99)] if lateness else float("nan")
    return Figure(
        f"breach detected after due, {due:,} due in the same minute",
        "p99 < 1 s",
        f"p99 {worst:.2f} s over {len(lateness):,} breaches",
        is_met=worst < 1 and len(lateness) == due,
    )


async def _lateness(dsn: str) -> list[float]:
    connection = await asyncpg.connect(dsn)
    rows = await connection.fetch("SELECT value FROM kernel.journal WHERE type = 'sla.breached'")
    await connection.close()
    events = [msgspec.json.decode(row["value"], type=Envelope) for row in rows]
    return [
        (event.recordedtime - event.time).total_seconds()
        for event in events
        if event.recordedtime is not None and event.time is not None
    ]
