"""Hearing of news by LISTEN, on a connection whose loss is noticed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import asyncpg

CHECK_SECONDS: Final = 10
ANSWER_SECONDS: Final = 5
_GONE: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Listener:
    """Calls `on_news` with what is said on a channel, and with None when some may have been missed.

    It does nothing by itself: who waits for news calls `ensure` before each wait.
    """

    def __init__(
        self, dsn: str, *, name: str, channel: str, on_news: Callable[[str | None], None]
    ) -> None:
        self._dsn = dsn
        self._name = name
        self._channel = channel
        self._on_news = on_news
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._check_at = 0.0
        self._lock = asyncio.Lock()

    async def ensure(self) -> None:
        """Listen, on a new connection if the last one is closed, or silent when it is asked.

        Raises: OSError, TimeoutError or an asyncpg error where no connection can be had.
        """
        async with self._lock:
            if self._connection is not None and await self._is_heard(self._connection):
                return
            self.close()
            self._connection = await asyncpg.connect(
                self._dsn, server_settings={"application_name": self._name}
            )
            self._connection.add_termination_listener(lambda _: self._on_news(None))
            await self._connection.add_listener(self._channel, self._hear)
            self._check_at = asyncio.get_running_loop().time() + CHECK_SECONDS
            self._on_news(None)

    def close(self) -> None:
        """Listen no more."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._on_news(str(payload))

    async def _is_heard(self, connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
        now = asyncio.get_running_loop().time()
        if connection.is_closed() or now < self._check_at:
            return not connection.is_closed()
        self._check_at = now + CHECK_SECONDS
        with suppress(*_GONE):
            await connection.execute("SELECT 1", timeout=ANSWER_SECONDS)
            return True
        return False
