"""Commands decided inside the transaction that writes them.

For what rests on more than one stream: load, quotas, who is free. What the decision needs is state
of the service's own, read under a lock and moved with the events (R15). A command that needs its
own stream only is a `CommandHandler`'s, which commits many at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from shared.clock import Clock
from shared.errors import UnavailableError
from shared.journal.committer import Committer
from shared.journal.journal import Journal
from shared.postgres.pool import Pool
from shared.runtime.unit import Unit
from shared.runtime.weather import RETRY_AT_ONCE

T = TypeVar("T")
_ATTEMPTS: Final = 5


class Decisions:
    """Makes decisions of one kind, one at a time in a process: who waits holds no connection."""

    def __init__(self, pool: Pool, journal: Journal, committer: Committer, clock: Clock) -> None:
        self._pool = pool
        self._journal = journal
        self._committer = committer
        self._clock = clock
        self._turn = asyncio.Lock()

    async def make(self, decide: Callable[[Unit], Awaitable[T]]) -> T:
        """Return what `decide` returned once all it collected is durable.

        `decide` may be called again from the start when another writer was quicker; it must not
        await anything but the unit's connection. An error it raises undoes everything.
        Raises: TooBusyError when too much waits for the log; UnavailableError.
        """
        self._committer.require_room()
        async with self._turn:
            for _ in range(_ATTEMPTS):
                try:
                    async with self._pool.acquire() as connection, connection.transaction():
                        unit = Unit(connection, self._journal, self._clock.now())
                        result = await decide(unit)
                        await unit.flush()
                except RETRY_AT_ONCE:
                    continue
                return result
        raise UnavailableError("other writers kept getting in first; nothing was stored")
