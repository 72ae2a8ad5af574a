"""Waiting until the read model shows everything that had been told by now."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from shared.errors import UnavailableError
from shared.postgres.pool import Pool
from shared.runtime.service import Service
from shared.runtime.timers import Watermark

_SECONDS_MAX: Final = 10
_PAUSE_SECONDS: Final = 0.05
_NEWEST: Final = "SELECT max(id) FROM kernel.outbox"
_IS_SENT: Final = "SELECT NOT EXISTS (SELECT FROM kernel.outbox WHERE id <= $1)"


async def catch_up(service: Service, pool: "Pool | None" = None) -> None:
    """Wait until what the service wrote by now is in the log, and what the log held is applied.

    It asks `pool`, by default that of the API, now and then; it holds no connection meanwhile.
    Raises: UnavailableError if it takes longer than 10 s.
    """
    pool = pool or service.pool
    newest: int = await pool.fetchval(_NEWEST) or 0
    watermark = Watermark(service.around.log, pool, service.spec.topics, service.clock)

    async def is_sent() -> bool:
        return bool(await pool.fetchval(_IS_SENT, newest))

    async def is_read() -> bool:
        return await watermark.advance() is not None

    try:
        async with asyncio.timeout(_SECONDS_MAX):
            await _until(is_sent)
            await _until(is_read)
    except TimeoutError as late:
        raise UnavailableError("what was told last is not read yet; try again") from late


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():  # noqa: ASYNC110 a log does not call back
        await asyncio.sleep(_PAUSE_SECONDS)
