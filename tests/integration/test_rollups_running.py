"""The chore that keeps rollups, in a running desk."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from support.inprocess import in_process_desk


async def test_a_running_desk_counts_its_tickets_by_itself(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(
        make_database, tmp_path, services=("intake", "sla", "reporting")
    ) as desk:
        await desk.report(1)
        await desk.settle()
        pool = desk.rooms["reporting"].service.pool
        async with asyncio.timeout(20):
            while not await pool.fetchval("SELECT count(*) FROM read.rollup WHERE size = 12288"):
                await asyncio.sleep(0.1)
        answer = await desk.clients["reporting"].get("/kpi")
        assert answer.json()["overall"]["tickets"] == 1
        assert answer.json()["percentiles"] == {"method": "exact", "relative_error_max": 0}
