"""Doing something in one place at a time, whichever replica is asked."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from shared.postgres.pool import Pool

_TAKE: Final = "SELECT pg_advisory_xact_lock($1)"


class Turn:
    """A lock of the whole database, named by a number.

    A process waits for its own turn first, so that those who wait hold one connection in all.
    """

    def __init__(self, pool: Pool, number: int) -> None:
        self._pool = pool
        self._number = number
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def taken(self) -> AsyncGenerator[None]:
        """Wait for the turn, and keep it; a lost connection gives it up."""
        async with (
            self._lock,
            self._pool.acquire() as connection,
            connection.transaction(),
        ):
            await connection.execute(_TAKE, self._number)
            yield
