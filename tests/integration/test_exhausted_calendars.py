"""A calendar that runs out of working time costs its own clocks, and no others."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.clock import SetClock
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import clocks, promise, publish, told

NOON = datetime(2026, 3, 20, 12, tzinfo=UTC)
HOUR = 3600
FAIR: dict[str, Any] = {
    "zone": "UTC",
    "weekly": {},
    "special_days": {"2026-03-20": [["09:00", "17:00"]], "2026-03-21": [["09:00", "13:00"]]},
}
"""Open on two days, and never again."""


@pytest.fixture
def clock() -> SetClock:
    clock = SetClock()
    clock.set(NOON)
    return clock


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path, clock: SetClock
) -> AsyncGenerator[InProcessDesk]:
    services = ("intake", "routing", "sla")
    async with in_process_desk(make_database, tmp_path, services=services, clock=clock) as running:
        await running.settle()
        answer = await running.clients["sla"].put("/calendars/fair", json=FAIR)
        assert answer.is_success, answer.text
        await publish(
            running,
            promise(50 * HOUR),
            promise(6 * HOUR) | {"name": "at the fair", "calendar": "fair"},
        )
        yield running


async def asked(desk: InProcessDesk, path: str) -> Any:
    answer = await desk.clients["sla"].get(path)
    assert answer.is_success, answer.text
    return answer.json()


async def test_a_clock_without_a_deadline_leaves_the_others_running(
    desk: InProcessDesk, clock: SetClock
) -> None:
    early = await desk.report(1)
    await told(desk, early, "started", "started")
    clock.set(datetime(2026, 3, 21, 10, tzinfo=UTC))
    late = await desk.report(2)
    await told(desk, late, "started")

    found = await asked(desk, f"/tickets/{late}")
    assert [one["target"] for one in found["clocks"]] == ["resolution"]
    (without,) = found["without_deadline"]
    assert (without["target"], without["cycle"], without["calendar"]) == ("at the fair", 1, "fair")
    assert without["reason"] == ("the calendar does not hold so much working time within 20 years")
    explained = await asked(desk, f"/tickets/{late}/explain")
    assert explained["without_deadline"] == [without]
    exported = await asked(desk, f"/tickets/{late}/scenario")
    assert "clocks" not in exported["expect"]
    assert "'at the fair' of policy 'standard'" in exported["note"]
    await desk.settle()
    at_risk = (await asked(desk, "/at-risk"))["clocks"]
    assert {one["ticket_id"] for one in at_risk if one["target"] == "resolution"} == {early, late}

    await desk.clients["intake"].post(f"/tickets/{late}/resolve", json={"resolution": "ok"})
    await told(desk, late, "started", "met")


async def test_a_clock_that_loses_its_deadline_is_withdrawn(
    desk: InProcessDesk, clock: SetClock
) -> None:
    ticket = await desk.report(1)
    await told(desk, ticket, "started", "started")
    held = await desk.clients["intake"].post(f"/tickets/{ticket}/hold", json={"reason": "vendor"})
    assert held.is_success, held.text
    await told(desk, ticket, "started", "started", "paused", "paused")
    clock.set(datetime(2026, 3, 21, 12, tzinfo=UTC))
    resumed = await desk.clients["intake"].post(f"/tickets/{ticket}/resume", json={})
    assert resumed.is_success, resumed.text
    said = await told(
        desk, ticket, "started", "started", "paused", "paused", "resumed", "cancelled"
    )
    assert msgspec.to_builtins(said[-1].data)["reason"] == "withdrawn"
    assert [one["target"] for one in await clocks(desk, ticket)] == ["resolution"]
