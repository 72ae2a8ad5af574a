"""Many callers, one round trip: what arrives while a flush runs goes into the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from shared.errors import TooBusyError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Coalescer(Generic[Item, Result]):
    """Gathers items submitted by concurrent callers and hands them to `flush` together.

    `flush` returns one result per item, in order; a result that is an exception is raised to the
    caller of that item. If `flush` itself raises, every caller of the batch gets that. At most
    `pending_max` items wait; the next caller gets TooBusyError. `on_idle` is told when nothing
    waits any more.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        batch_size_max: int,
        pending_max: int,
        on_idle: Callable[[], object] | None = None,
    ) -> None:
        self._flush = flush
        self._batch_size_max = batch_size_max
        self._pending_max = pending_max
        self._on_idle = on_idle
        self._pending: list[tuple[Item, asyncio.Future[Result]]] = []
        self._task: asyncio.Task[None] | None = None

    async def submit(self, item: Item) -> Result:
        """Return the item's own result once the batch it went with is flushed."""
        if len(self._pending) >= self._pending_max:
            raise TooBusyError(f"{self._pending_max} writes are waiting")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._pending.append((item, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drain())
        return await future

    async def _drain(self) -> None:
        try:
            while self._pending:
                batch = self._pending[: self._batch_size_max]
                del self._pending[: self._batch_size_max]
                await self._flush_batch(batch)
        finally:
            self._task = None
            if self._on_idle is not None:
                self._on_idle()

    async def _flush_batch(self, batch: list[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 handed to every caller, who raises it
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
