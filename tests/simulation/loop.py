"""An event loop in which time is a number, and waiting costs nothing."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _NothingOutside(selectors.DefaultSelector):
    """Never waits: where a real loop would sleep, virtual time goes on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("every task waits for another: the simulation is stuck")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs tasks in virtual seconds, in an order that depends on nothing outside."""

    def __init__(self) -> None:
        self._virtual = _NothingOutside()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._virtual.now


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
