"""The machine's clock steps while tickets come in and promises run out.

What may differ: an event's `time` and a promise's due instant are those of the clock as it was when
they were made, so a ticket that came while the clock was an hour ahead is due an hour later, and is
found overdue once the clock has come that far. Nothing that was stored depends on it afterwards.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import asyncpg
import msgspec
import pytest
from support.bent_log import fault_seed, measured
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import promise, publish, told

from shared.clock import SystemClock

GOAL_SECONDS = 1
PROMISE = promise(GOAL_SECONDS)


class SteppedClock(SystemClock):
    """The machine's clock, off by what the test says."""

    def __init__(self) -> None:
        self.off = timedelta(hours=-3)

    def now(self) -> datetime:
        return super().now() + self.off


async def reported(desk: InProcessDesk, first: int, count: int) -> set[str]:
    tickets: set[str] = set()
    for number in range(first, first + count):
        tickets.add(await desk.report(number))
        await asyncio.sleep(0.01)
    return tickets


async def breaches(desk: InProcessDesk) -> list[tuple[str, datetime, datetime]]:
    """Return ticket, `time` and due instant of every breach in sla's journal."""
    connection = await asyncpg.connect(desk.dsns["sla"])
    rows = await connection.fetch("SELECT value FROM kernel.journal WHERE type = 'sla.breached'")
    await connection.close()
    events = [msgspec.json.decode(row["value"]) for row in rows]
    return [
        (
            event["subject"],
            datetime.fromisoformat(event["time"]),
            datetime.fromisoformat(event["data"]["due_at"]),
        )
        for event in events
    ]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([timedelta(hours=1), timedelta(hours=-1)], id="an_hour_on_and_back"),
        pytest.param([timedelta(hours=-1), timedelta(hours=1)], id="an_hour_back_and_on"),
        pytest.param([timedelta(milliseconds=50), timedelta(milliseconds=-50)] * 5, id="50_ms"),
    ],
)
async def test_a_clock_that_steps_loses_nothing_and_every_promise_is_broken_once(
    steps: list[timedelta], make_database: Callable[[str], str], tmp_path: Path
) -> None:
    chance = Random(fault_seed())
    clock = SteppedClock()
    services = ("intake", "routing", "sla", "reporting")
    async with in_process_desk(make_database, tmp_path, services=services, clock=clock) as desk:
        clock.off = timedelta(hours=-2)  # the policy is in force whatever the clock says later
        answer = await desk.clients["sla"].put("/policies/standard", json={"targets": [PROMISE]})
        assert answer.is_success, answer.text
        await desk.settle()
        clock.off = timedelta()
        tickets = await reported(desk, 0, 5)
        for place, step in enumerate(steps, 1):
            clock.off += step
            measured(f"off by {clock.off}")
            tickets |= await reported(desk, place * 10, chance.randrange(3, 8))
            await desk.settle()
        clock.off = 2 * max(*steps, timedelta())  # until all that was promised is due
        async with asyncio.timeout(20):
            while len(found := await breaches(desk)) < len(tickets):
                await asyncio.sleep(0.1)
        await desk.settle()
        assert Counter(ticket for ticket, _, _ in found) == Counter(tickets)
        assert all(time == due for _, time, due in found), "a breach is true when it was due"
        await desk.check(tickets)


async def test_a_clock_set_back_takes_no_breach_back(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    clock = SteppedClock()
    services = ("intake", "routing", "sla")
    async with in_process_desk(make_database, tmp_path, services=services, clock=clock) as desk:
        await publish(desk, promise(60))
        ticket = await desk.report(1)
        await told(desk, ticket, "started")
        clock.off += timedelta(hours=1)
        await told(desk, ticket, "started", "breached")
        clock.off -= timedelta(hours=1)
        comment = {"text": "Well?"}
        said = await desk.clients["intake"].post(f"/tickets/{ticket}/comments", json=comment)
        assert said.is_success, said.text
        await desk.settle()
        await told(desk, ticket, "started", "breached")
