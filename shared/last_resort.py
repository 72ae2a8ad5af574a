"""The end of a process that was asked to end and does not (ADR 0021)."""

import asyncio
import os
import threading
from typing import Final

import structlog

END_SECONDS_MAX: Final = 20.0  # less than the 30 s after which Kubernetes kills
EXIT_CODE: Final = 70
_log = structlog.get_logger()


def end_within(seconds: float, loop: asyncio.AbstractEventLoop) -> None:
    """End this process after so many seconds if it still runs then, and log what it was doing.

    From a thread, since what hangs may be the loop itself, or its end. Nothing is lost by it that
    a kill would not lose; an embedded PostgreSQL ends, in order, with the process that started it.
    """

    def end() -> None:
        tasks = sorted(f"{each.get_name()}: {each.get_coro()}" for each in asyncio.all_tasks(loop))
        _log.error("ended_by_force", seconds=seconds, tasks=tasks)
        os._exit(EXIT_CODE)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
