"""Doing something one at a time, whichever replica is asked (ADR 0018).

Nothing is locked. Who has a turn holds the number under which he read; what he decides is appended
only if the number is still the same, and moves it in the same transaction. So no lost connection
and no long wait can put two at it unnoticed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from shared.errors import TurnLostError, UnavailableError
from shared.postgres.pool import Connection, Pool

T = TypeVar("T")
_TRIES: Final = 5
_READ: Final = "SELECT token FROM kernel.turn WHERE name = $1"
_MOVE: Final = """
WITH moved AS (
    UPDATE kernel.turn SET token = token + 1 WHERE name = $1 AND token = $2 RETURNING token
), begun AS (
    INSERT INTO kernel.turn (name, token) SELECT $1, 1 WHERE $2::bigint = 0
    ON CONFLICT DO NOTHING RETURNING token
)
SELECT token FROM moved UNION ALL SELECT token FROM begun
"""


class HeldTurn:
    """One taking of a turn. No two are alike, also those of the same number."""

    def __init__(self, name: str, token: int) -> None:
        self.name = name
        self._token = token

    async def move(self, connection: Connection) -> bool:
        """Use the turn, once, in the caller's transaction; False if another was used meanwhile."""
        return await connection.fetchval(_MOVE, self.name, self._token) is not None


class Turn:
    """The turn of that name. Those of one process wait for one another, to spare them trying."""

    def __init__(self, pool: Pool, name: str) -> None:
        self._pool = pool
        self._name = name
        self._lock = asyncio.Lock()

    async def run(self, work: Callable[[HeldTurn], Awaitable[T]]) -> T:
        """Have `work` read, decide, and append what it decided with the turn it is given.

        It is done again, from its reading on, when somebody else had his turn meanwhile. Raises:
        what `work` raises; UnavailableError if that happens again and again: nothing was stored.
        """
        async with self._lock:
            for _ in range(_TRIES):
                token = await self._pool.fetchval(_READ, self._name) or 0
                try:
                    return await work(HeldTurn(self._name, token))
                except TurnLostError:
                    continue
        raise UnavailableError("others kept getting in between; nothing was stored; try again")
