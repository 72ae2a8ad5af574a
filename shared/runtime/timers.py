"""Timers: rows that ask a stream's rules again when their instant has come (R7).

Nothing is decided before the service has read its inputs up to the timer's instant plus a grace:
the watermark is an instant such that everything the log held then has been applied here.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final, Protocol

import structlog

from shared.clock import Clock
from shared.journal.journal import Journal
from shared.log.port import Log, TopicPartition
from shared.postgres.pool import Pool
from shared.runtime.consumer import applied_offsets
from shared.runtime.crash import crash_point
from shared.runtime.fence import hold_fold
from shared.runtime.unit import Timer, Unit
from shared.runtime.weather import RETRY_AT_ONCE, WEATHER, blamed, cause_of, is_hopeless
from shared.telemetry.metrics import ServiceMetrics

_log = structlog.get_logger()

GRACE: Final = timedelta(milliseconds=500)
BATCH_SIZE_MAX: Final = 500


class OnDue(Protocol):
    """Decides what timers that are due call for, inside the transaction that claims them.

    May be called again with the same timers, alone or among others, after a crash; what it decides
    must not depend on which came together, and a stream may have several. Must not await anything
    but `unit.connection`; 5 s at most. Raises: UnavailableError to be called again later. Anything
    else is a fault, and so is a time-out: fewer are claimed until the guilty one stands alone,
    which is set aside (at once for a DeskError, else after TRIES_MAX tries) until it is redriven or
    its stream's timers are set anew.
    """

    async def __call__(self, due: Sequence[Timer], unit: Unit, /) -> None:
        """Collect in `unit` what they call for, `unit.fire_until` being the instant asked for."""
        ...


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
_IN_TIME: Final = attrgetter("due_at", "stream_id", "name")
"""What was due first is decided first, whatever places the rows have."""
# A timer set anew between look and lock has another place; it is found at the next look.
_SET_ASIDE: Final = """
WITH due AS (
    DELETE FROM kernel.timer WHERE (stream_id, name, due_at) = ($1, $2, $3)
    RETURNING stream_id, name, due_at
)
INSERT INTO kernel.parked_timer (stream_id, name, due_at, reason, detail, parked_at)
SELECT stream_id, name, due_at, $4, $5, $6 FROM due
ON CONFLICT (stream_id, name) DO UPDATE SET due_at = EXCLUDED.due_at, reason = EXCLUDED.reason,
    detail = EXCLUDED.detail, parked_at = EXCLUDED.parked_at
"""
_REDRIVE: Final = """
WITH parked AS (DELETE FROM kernel.parked_timer WHERE id = $1 RETURNING stream_id, name, due_at)
INSERT INTO kernel.timer (stream_id, name, due_at, armed_at)
SELECT stream_id, name, due_at, $2 FROM parked
ON CONFLICT (stream_id, name) DO UPDATE SET armed_at = EXCLUDED.armed_at
"""


async def redrive_timer(pool: Pool, number: int, now: datetime) -> bool:
    """Arm a timer again that was set aside; say whether there is one of that number."""
    return await pool.execute(_REDRIVE, number, now) == "INSERT 0 1"


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
        self._size_max = BATCH_SIZE_MAX
        self._tries: Counter[Timer] = Counter()

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
        due: list[Timer] = []
        began = asyncio.get_running_loop().time()
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await hold_fold(connection, self._fold)
                rows = await connection.fetch(_CLAIM, until, self._size_max)
                due = sorted((Timer(*row) for row in rows), key=_IN_TIME)
                if due:
                    unit = Unit(connection, self._journal, self._clock.now(), fire_until=until)
                    await self._on_due(due, unit)
                    await unit.flush()
                    crash_point("timer.before_commit")
        except Exception as raised:  # noqa: BLE001 raised again unless set aside
            error = blamed(raised, asyncio.get_running_loop().time() - began)
            passes = isinstance(error, (*WEATHER, *RETRY_AT_ONCE))
            if passes or not await self._set_aside(due, error):
                raise error from raised.__cause__
        else:
            self._note_fired(due)
        return len(due)

    def _note_fired(self, due: Sequence[Timer]) -> None:
        self._size_max = min(2 * self._size_max, BATCH_SIZE_MAX)
        now = self._clock.now()
        for timer in due:
            self._tries.pop(timer, 0)
            lateness = (now - timer.due_at).total_seconds()
            self._metrics.timer_fired(timer.name.partition(":")[0], lateness)

    async def _set_aside(self, due: Sequence[Timer], error: Exception) -> bool:
        """Claim fewer next time; say whether a timer that stood alone was set aside."""
        self._size_max = max(1, len(due) // 2)
        if len(due) != 1:
            return False
        (timer,) = due
        self._tries[timer] += 1
        if not is_hopeless(error, self._tries[timer]):
            return False
        reason = type(error).__name__
        await self._pool.execute(
            _SET_ASIDE,
            timer.stream_id,
            timer.name,
            timer.due_at,
            reason,
            cause_of(error).replace("\0", "\\0"),
            self._clock.now(),
        )
        self._tries.pop(timer)
        self._metrics.quarantined("timer", reason)
        _log.error("timer_set_aside", stream_id=timer.stream_id, name=timer.name, exc_info=error)
        return True
