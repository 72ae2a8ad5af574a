"""Group commit: appends of concurrent requests share one transaction (R5)."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from shared.coalesce import Coalescer
from shared.errors import TooBusyError, UnavailableError
from shared.journal.journal import Append, Fate, Journal, TornTurnError
from shared.postgres.pool import Pool
from shared.runtime.crash import crash_point
from shared.telemetry.metrics import ServiceMetrics

BATCH_SIZE_MAX: Final = 256
PENDING_MAX: Final = 8_192
_ATTEMPTS: Final = 5


class Committer:
    """Commits appends in groups; each caller learns the fate of its own appends only."""

    def __init__(
        self, journal: Journal, pool: Pool, metrics: ServiceMetrics, *, outbox_max: int
    ) -> None:
        self._journal = journal
        self._pool = pool
        self._metrics = metrics
        self._outbox_max = outbox_max
        self.outbox_length = 0
        self._coalescer = Coalescer[Sequence[Append], list[Fate]](
            self._flush, batch_size_max=BATCH_SIZE_MAX, pending_max=PENDING_MAX
        )

    async def append(self, appends: Sequence[Append]) -> list[Fate]:
        """Return, once durable, what became of each append; only those in time changed anything.

        Raises: TooBusyError when too much waits for the log or for the disk.
        """
        self.require_room()
        return await self._coalescer.submit(appends)

    def require_room(self) -> None:
        """Raise TooBusyError when too much waits for the log."""
        if self.outbox_length > self._outbox_max:
            raise TooBusyError(
                f"{self.outbox_length} events wait for the log", retry_after_seconds=5
            )

    async def _flush(self, groups: Sequence[Sequence[Append]]) -> list[list[Fate] | Exception]:
        appends = [append for group in groups for append in group]
        fates = await self._commit(appends)
        appended = sum(
            len(a.drafts) for a, fits in zip(appends, fates, strict=True) if fits is True
        )
        self.outbox_length += appended  # at most: until it is measured again
        self._metrics.group_committed(len(groups))
        self._metrics.journal_appended(appended)
        in_time = iter(fates)
        return [[next(in_time) for _ in group] for group in groups]

    async def _commit(self, appends: Sequence[Append]) -> list[Fate]:
        for _ in range(_ATTEMPTS):
            try:
                async with self._pool.acquire() as connection:
                    async with connection.transaction():
                        in_time = await self._journal.append(connection, appends)
                        crash_point("writer.before_commit")
                    crash_point("writer.after_commit")
                    return in_time
            except (asyncpg.DeadlockDetectedError, TornTurnError):
                continue  # other writers and we waited for one another; one had to give way
        raise UnavailableError("other writers kept getting in the way; nothing was stored")
