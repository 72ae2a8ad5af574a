"""Timers: rows that ask a stream's rules again when their instant has come (R7).

Nothing is decided before the service has read its inputs up to the timer's instant plus a grace:
the watermark is an instant such that everything the log held then has been applied here.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from shared.clock import Clock
from shared.journal.journal import Journal
from shared.log.port import Log, TopicPartition
from shared.postgres.pool import Pool
from shared.runtime.consumer import applied_offsets
from shared.runtime.crash import crash_point
from shared.runtime.fence import hold_fold
from shared.runtime.unit import Timer, Unit
from shared.telemetry.metrics import ServiceMetrics

GRACE: Final = timedelta(milliseconds=500)
BATCH_SIZE_MAX: Final = 500
OnDue = Callable[[Sequence[Timer], Unit], Awaitable[None]]

# Both read the index `timer_ready`, so a look costs what is due, however many timers are armed.
NEXT_DUE: Final = """
SELECT min(greatest(due_at, armed_at)) FROM kernel.timer WHERE greatest(due_at, armed_at) <= $1
"""
_CLAIM: Final = """
DELETE FROM kernel.timer WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM kernel.timer WHERE greatest(due_at, armed_at) <= $1
    ORDER BY greatest(due_at, armed_at) LIMIT $2 FOR UPDATE SKIP LOCKED
)) RETURNING stream_id, name, due_at
"""  # by their places: the planner, who does not know $2, might look for their keys in all rows
# A timer set anew between look and lock has another place; it is found at the next look.


class Watermark:
    """Up to when this service has read its inputs."""

    def __init__(self, log: Log, pool: Pool, topics: Sequence[str], clock: Clock) -> None:
        self._log = log
        self._pool = pool
        self._topics = topics
        self._clock = clock
        self._sought: tuple[datetime, dict[TopicPartition, int]] | None = None

    async def advance(self) -> datetime | None:
        """Return the newest instant up to which all inputs are known to be applied, if any.

        Asks the log for its ends, then waits, over several calls, until they are reached.
        """
        if self._sought is None:
            asked_at = self._clock.now()
            self._sought = asked_at, await self._log.end_offsets(self._topics)
        instant, ends = self._sought
        applied = await applied_offsets(self._pool)
        if any(applied.get(place, 0) < end for place, end in ends.items()):
            return None
        self._sought = None
        return instant


class Timers:
    """Fires what is due. Several replicas may; each timer is claimed by one of them."""

    def __init__(  # noqa: PLR0913 the parts it ties together, named by its one caller
        self,
        *,
        pool: Pool,
        journal: Journal,
        watermark: Watermark,
        on_due: OnDue,
        clock: Clock,
        metrics: ServiceMetrics,
        fold: str,
    ) -> None:
        self._pool = pool
        self._fold = fold
        self._journal = journal
        self._watermark = watermark
        self._on_due = on_due
        self._clock = clock
        self._metrics = metrics

    async def step(self) -> int:
        """Fire up to one batch; return how many. 0 means: nothing due, or inputs not read yet."""
        next_due = await self._pool.fetchval(NEXT_DUE, self._clock.now() - GRACE)
        if next_due is None:
            return 0
        read_until = await self._watermark.advance()
        if read_until is None:
            return 0
        return await self.fire(read_until - GRACE)

    async def fire(self, until: datetime) -> int:
        """Fire timers due and armed by `until`, in one transaction with what they decide.

        Raises: SupersededError when the fold whose rows they are decided by is not live.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await hold_fold(connection, self._fold)
            rows = await connection.fetch(_CLAIM, until, BATCH_SIZE_MAX)
            if rows:
                unit = Unit(connection, self._journal, self._clock.now(), fire_until=until)
                await self._on_due([Timer(*row) for row in rows], unit)
                await unit.flush()
                crash_point("timer.before_commit")
        now = self._clock.now()
        for row in rows:
            lateness = (now - row["due_at"]).total_seconds()
            self._metrics.timer_fired(row["name"].partition(":")[0], lateness)
        return len(rows)
