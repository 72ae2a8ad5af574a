"""The chores that keep rollups, in a running desk."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from support.inprocess import InProcessDesk, in_process_desk
from support.promises import promise, publish, told

ALL_HOURS = "SELECT count(*) FROM read.rollup WHERE size = 24"


async def counted(desk: InProcessDesk, service: str) -> None:
    pool = desk.rooms[service].service.pool
    async with asyncio.timeout(20):
        while not await pool.fetchval(ALL_HOURS):
            await asyncio.sleep(0.1)


async def test_a_running_desk_counts_its_tickets_by_itself(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(
        make_database, tmp_path, services=("intake", "sla", "reporting")
    ) as desk:
        await desk.report(1)
        await desk.settle()
        await counted(desk, "reporting")
        answer = await desk.clients["reporting"].get("/kpi")
        assert answer.json()["overall"]["tickets"] == 1
        assert answer.json()["percentiles"]["method"] == "exact"


async def test_a_running_desk_counts_its_verdicts_by_itself(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(
        make_database, tmp_path, services=("intake", "routing", "sla")
    ) as desk:
        await desk.settle()
        await publish(desk, promise(1))
        await told(desk, await desk.report(1), "started", "breached")
        await counted(desk, "sla")
        (found,) = (await desk.clients["sla"].get("/attainment")).json()["attainment"]
        assert (found["met"], found["missed"]) == (0, 1)
