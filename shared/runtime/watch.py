"""Watching positions: how far a service is behind its log, and whether anything stands still."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from shared.log.port import Log, TopicPartition
from shared.postgres.pool import Pool
from shared.runtime.consumer import applied_offsets
from shared.runtime.loops import SILENCE_SECONDS_MAX
from shared.telemetry.metrics import ServiceMetrics

STANDSTILL_SECONDS_MAX: Final = 300
"""How long records of one partition may wait while others move on, or while weather lasts."""
_LOOK_AT_LOG_EVERY: Final = 10
_log = structlog.get_logger()


class Watch:
    """Compares the positions of all replicas with the log's ends, whoever moves them.

    `behind` counts the records not applied yet, `rounds` how often that was measured; `partitions`
    is what the desk was started with.
    """

    def __init__(
        self,
        service: str,
        log: Log,
        pool: Pool,
        topics: Sequence[str],
        partitions: int,
        metrics: ServiceMetrics,
    ) -> None:
        self._service = service
        self._log = log
        self._pool = pool
        self._topics = topics
        self._partitions = partitions
        self._metrics = metrics
        self._waiting: dict[TopicPartition, tuple[int, float]] = {}
        self._complaints = 0
        self._alarm: str | None = None
        self.behind = 0
        self.rounds = 0

    async def look(self) -> None:
        """Measure once. Raises: LogUnavailableError, asyncpg errors; what was measured stands."""
        self._complain()
        applied = await applied_offsets(self._pool)
        now = asyncio.get_running_loop().time()
        behind = 0
        for place, end in (await self._log.end_offsets(self._topics)).items():
            at = applied.get(place, 0)
            lag = max(0, end - at)
            behind += lag
            if lag == 0:
                self._waiting.pop(place, None)
            elif place not in self._waiting or self._waiting[place][0] != at:
                self._waiting[place] = at, now
            self._metrics.consumer_lag(place.topic, place.partition, lag)
        if self._alarm is not None or self.rounds % _LOOK_AT_LOG_EVERY == 0:
            self._alarm = await self._find_recount() or await self.find_gap(applied)
        self.behind = behind
        self.rounds += 1

    async def find_gap(self, applied: Mapping[TopicPartition, int]) -> str | None:
        """Say which records were deleted from the log before this service had read them."""
        begins = await self._log.begin_offsets(self._topics)
        for place, position in sorted(applied.items()):
            begin = begins.get(place, 0)
            if position < begin:
                return (
                    f"{place.topic}-{place.partition} begins at offset {begin} in the log, and only"
                    f" {position} were read: run `desk replay rebuild --from-archive`"
                )
        return None

    def judge(self, waiting: list[str], troubles: list[str]) -> None:
        """Add what is wrong: to `waiting` what may pass by itself, to `troubles` what will not.

        While the log itself is away, a position that stands still is only told: to take no more
        reports would make it worse. Metric and error log alarm all the same.
        """
        if self._alarm is not None:
            troubles.append(self._alarm)
        if not self.behind:
            return
        now = asyncio.get_running_loop().time()
        last = max((since for _, since in self._waiting.values()), default=now)
        if not waiting and now - last > SILENCE_SECONDS_MAX:
            troubles.append(f"{self.behind} records behind, and the position does not move")
        elif (seconds := self._standstill_seconds()) > STANDSTILL_SECONDS_MAX:
            is_log_away = any(one.startswith("monitor:") for one in waiting)
            place = min(self._waiting, key=lambda one: self._waiting[one][1])
            (waiting if is_log_away else troubles).append(
                f"{place.topic}-{place.partition} has not moved for {seconds:.0f} s,"
                f" and {self.behind} records wait"
            )

    def _standstill_seconds(self) -> float:
        """Return for how long records have waited in the partition that waits longest."""
        now = asyncio.get_running_loop().time()
        return now - min((since for _, since in self._waiting.values()), default=now)

    def _complain(self) -> None:
        seconds = self._standstill_seconds()
        self._metrics.standstill(seconds)
        complaints = int(seconds / STANDSTILL_SECONDS_MAX)
        if complaints > self._complaints:
            _log.error("position_stands_still", service=self._service, seconds=round(seconds))
        self._complaints = complaints

    async def _find_recount(self) -> str | None:
        """Say which topic has another number of partitions than the desk was started with."""
        for topic, count in sorted((await self._log.partitions(self._topics)).items()):
            if count != self._partitions:
                return (
                    f"{topic} has {count} partitions now, and the desk was started with"
                    f" {self._partitions}: raise all topics alike, then start it again"
                )
        return None
