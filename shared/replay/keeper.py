"""Sees to it that the live read model is this program's, or says why it is not (R13)."""

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from shared.log.port import Log
from shared.postgres.pool import Pool, open_pool
from shared.replay.claim import may_claim, note_leave, note_run
from shared.replay.progress import Pace
from shared.replay.rebuild import ensure
from shared.replay.schema import live_fingerprint
from shared.runtime.fence import superseded
from shared.runtime.read_model import ReadModel

_AT_ONCE_SECONDS: Final = 1.0
_LOG_EVERY_SECONDS: Final = 5.0
_log = structlog.get_logger()


class ModelKeeper:
    """One replica's view of the read model; `trouble` says what is wrong with it, if anything.

    `holder` names the replica, `service` the service in connections and logs.
    """

    def __init__(self, model: ReadModel, log: Log, dsn: str, *, service: str, holder: str) -> None:
        self._model = model
        self._log = log
        self._dsn = dsn
        self._service = service
        self._holder = holder
        self._building: asyncio.Task[None] | None = None
        self.trouble: str | None = "the read model was not looked at yet"

    async def look(self, pool: Pool) -> bool:
        """Return whether the live model is this program's; have it built where that is right.

        Building goes on between calls; one that takes no longer than a moment is waited for.
        Raises: whatever stopped it; the next call tries again.
        """
        if await self._is_live(pool):
            return True
        async with pool.acquire() as connection:
            live = await live_fingerprint(connection)
            fingerprint = self._model.fingerprint
            if self._building is None:
                if not await may_claim(connection, self._holder, fingerprint):
                    self.trouble = superseded(live, fingerprint)
                    return False
                self.trouble = "rebuilding: waits for its turn"
                self._building = asyncio.create_task(self._build())
        await asyncio.wait({self._building}, timeout=_AT_ONCE_SECONDS)
        if not self._building.done():
            return False
        built, self._building = self._building, None
        built.result()
        return await self._is_live(pool)

    async def close(self, pool: Pool) -> None:
        """Give up building, and keep nobody else from switching."""
        if self._building is not None:
            self._building.cancel()
            with suppress(asyncio.CancelledError):
                await self._building
        await note_leave(pool, self._holder)

    async def _is_live(self, pool: Pool) -> bool:
        async with pool.acquire() as connection:
            if await live_fingerprint(connection) != self._model.fingerprint:
                return False
            await note_run(connection, self._holder, self._model.fingerprint)
        self.trouble = None
        return True

    async def _build(self) -> None:
        pool = await open_pool(
            self._dsn, role="desk_replay", name=f"{self._service} replay", size_max=2
        )
        loop = asyncio.get_running_loop()
        pace = Pace(loop.time())
        told_at = loop.time()

        def progress(done: int, total: int) -> None:
            nonlocal told_at
            now = loop.time()
            self.trouble = f"rebuilding, {pace.tell(done, total, now)}"
            if now - told_at >= _LOG_EVERY_SECONDS:
                told_at = now
                _log.info("read_model_rebuilding", service=self._service, progress=self.trouble)

        try:
            if await ensure(self._model, self._log, pool, progress, holder=self._holder):
                _log.info("read_model_rebuilt", service=self._service)
        finally:
            await pool.close()
