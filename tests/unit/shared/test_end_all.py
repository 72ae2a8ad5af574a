"""Loops that a service ends."""

import asyncio

from shared.runtime.loops import end_all


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    lost: list[int] = []

    async def deaf() -> None:
        while len(lost) < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append(1)
        await asyncio.sleep(60)

    tasks = [asyncio.create_task(deaf()), asyncio.create_task(asyncio.sleep(60))]
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await end_all(tasks, again_seconds=0.01)
    assert all(task.cancelled() for task in tasks)
    assert len(lost) == 2


async def test_there_may_be_nothing_to_end() -> None:
    await end_all([])
