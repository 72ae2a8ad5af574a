"""Waiting for others' code no longer than it deserves (ADR 0021)."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")
_left_behind: Final[set[asyncio.Task[Any]]] = set()  # asyncio itself holds tasks weakly


class HungError(TimeoutError):
    """What was waited for was not done in time, and goes on, or not, without us."""


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns. Raises: HungError when it is not done in time.

    Not `asyncio.timeout`, which cancels what it wraps and then waits for it: code that loses
    cancellations (`asyncio.wait_for` of Python 3.11 does) would be waited for all the same. What
    is not done in time, or whose caller is cancelled, is cancelled and left behind.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise HungError(f"not done in {seconds:g} s")
    finally:
        leave(task)
    if task.cancelled():  # from inside; our caller was not, and must not seem to be
        raise ConnectionAbortedError("it was given up where it was being done")
    return task.result()


def leave(task: "asyncio.Task[Any]") -> None:
    """Cancel a task and go on without it; whatever becomes of it is looked at by nobody."""
    if not task.done():
        task.cancel()
        _left_behind.add(task)
        task.add_done_callback(_forget)


def _forget(task: "asyncio.Task[Any]") -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it as lost
