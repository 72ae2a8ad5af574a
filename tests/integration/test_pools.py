"""Callers who wait take nothing from the loops, nor from other callers (R15)."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from services.sla.queries import clocks

WAIT_SECONDS = 20


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path, services=("intake", "sla")) as running:
        await running.settle()
        yield running


async def until(connection: Any, sql: str, *arguments: Any) -> None:
    """Wait until a question is answered with true, asked over a connection of our own."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await connection.fetchval(sql, *arguments):
            await asyncio.sleep(0.05)


async def test_however_many_callers_wait_leases_are_renewed_and_events_applied(
    desk: InProcessDesk,
) -> None:
    service = desk.rooms["sla"].service
    own = await asyncpg.connect(desk.dsns["sla"])
    callers = [await service.pool.acquire() for _ in range(service.around.pool_size)]
    try:
        ends = await own.fetchval("SELECT max(expires_at) FROM kernel.lease")
        await until(own, "SELECT min(expires_at) > $1 FROM kernel.lease", ends)
        ticket = await desk.report(1)
        await until(own, "SELECT true FROM read.ticket WHERE ticket_id = $1::text::uuid", ticket)
        await until(own, "SELECT NOT EXISTS (SELECT FROM kernel.outbox)")
        async with asyncio.timeout(WAIT_SECONDS):
            while (await desk.clients["sla"].get("/health/ready")).status_code != 200:
                await asyncio.sleep(0.05)
    finally:
        for caller in callers:
            await service.pool.release(caller)
        await own.close()


async def test_who_waits_for_a_forecast_keeps_no_connection_from_others(
    desk: InProcessDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt, learning = asyncio.Event(), asyncio.Event()

    async def slowly(*_: Any) -> list[Any]:
        learning.set()
        await learnt.wait()
        return []

    monkeypatch.setattr(clocks, "_past", slowly)
    client = desk.clients["sla"]
    waiting = [asyncio.create_task(client.get("/at-risk")) for _ in range(12)]
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await learning.wait()
            assert (await client.get("/clocks")).status_code == 200
        assert not any(task.done() for task in waiting)
    finally:
        learnt.set()
        answers = await asyncio.gather(*waiting)
    assert {answer.status_code for answer in answers} == {200}
