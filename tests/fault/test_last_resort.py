"""A process that was asked to end, and cannot, ends all the same and says what it was doing."""

import signal
import subprocess
import sys

import pytest

from shared.last_resort import EXIT_CODE

HANGING = """
import asyncio
import uvloop
from services.host import stop_on_signals

async def lose_every_cancellation():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

async def main():
    stop = asyncio.Event()
    with stop_on_signals(stop.set, end_seconds_max=0.5):
        hanging = asyncio.create_task(lose_every_cancellation(), name="a client of Kafka")
        print("runs", flush=True)
        await stop.wait()
        {after}

uvloop.run(main())
"""


@pytest.mark.parametrize(
    "after",
    [
        pytest.param("await hanging", id="stopping hangs"),
        pytest.param("pass", id="the end of the loop hangs"),
        pytest.param("import time; time.sleep(60)", id="the loop hangs"),
    ],
)
def test_a_process_that_cannot_end_is_ended(after: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING.format(after=after)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        process.send_signal(signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == EXIT_CODE
    assert "ended_by_force" in output
    assert "a client of Kafka" in output
