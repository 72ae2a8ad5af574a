"""Two reports, one truth: what sla judges is what reporting counts, whatever becomes of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import promise, publish, told

HOUR = 3600


async def command(desk: InProcessDesk, ticket: str, verb: str, **body: Any) -> None:
    answer = await desk.clients["intake"].post(f"/tickets/{ticket}/{verb}", json=body)
    assert answer.is_success, answer.text


async def counted(desk: InProcessDesk) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return what was judged, and kept of it, as sla has it and as reporting has it."""
    await desk.settle()
    kept = (await desk.clients["sla"].get("/attainment")).json()["attainment"]
    kpi = (await desk.clients["reporting"].get("/kpi")).json()["overall"]["sla"]
    judged = sum(one["judged"] for one in kept), sum(one["met"] for one in kept)
    return judged, (kpi["judged"], kpi["made"])


@pytest.mark.timeout(120)
async def test_a_breach_stays_in_every_report_whatever_becomes_of_the_ticket(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    services = ("intake", "routing", "sla", "reporting")
    async with in_process_desk(make_database, tmp_path, services=services) as desk:
        await desk.settle()
        await publish(desk, promise(1))
        resolved, merged, cancelled, superseded, survivor = [await desk.report(n) for n in range(5)]
        for ticket in (resolved, merged, cancelled, superseded, survivor):
            await told(desk, ticket, "started", "breached")
        assert await counted(desk) == ((5, 0), (5, 0))  # at once, while the clocks still run
        await command(desk, resolved, "resolve", resolution="late")
        await command(desk, merged, "merge", into=survivor)
        await command(desk, cancelled, "cancel", reason="not needed")
        await publish(desk, promise(HOUR), applies_to="running")
        await told(desk, superseded, "started", "breached", "cancelled", "started")
        kept = await desk.report(9)
        await told(desk, kept, "started")
        for ticket in (superseded, survivor, kept):
            await command(desk, ticket, "resolve", resolution="ok")
        await told(desk, kept, "started", "met")
        assert await counted(desk) == ((6, 1), (6, 1))
        await desk.check()
