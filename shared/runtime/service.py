"""A running service: its pool, its journal, and the loops that feed and empty them.

Every replica runs all of it; leases spread the work. What a service itself adds is in its `Spec`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import structlog

from shared.clock import Clock
from shared.deliveries.queue import Queue
from shared.deliveries.sender import DeliverySender
from shared.deliveries.webhook import Webhook, webhook_client
from shared.errors import UnavailableError
from shared.ids import chance
from shared.journal.committer import Committer
from shared.journal.journal import WAKE_CHANNEL, Journal
from shared.journal.relay import Relay, outbox_length
from shared.log.port import Log, LogUnavailableError, TopicPartition
from shared.patience import within
from shared.postgres.listener import Listener
from shared.postgres.pool import Pool, open_pool
from shared.replay.keeper import ModelKeeper
from shared.runtime.consumer import SMALL_BATCH_SIZE, Consumer
from shared.runtime.leases import Leases
from shared.runtime.loops import Loop, Pulse, end_all
from shared.runtime.purge import Purge
from shared.runtime.spec import Spec
from shared.runtime.timers import Timers, Watermark
from shared.runtime.watch import Watch
from shared.runtime.weather import WEATHER
from shared.telemetry.metrics import ServiceMetrics

Role = Literal["api", "worker", "all"]
STOP_SECONDS_MAX: Final = 8.0
_MOMENT_SECONDS: Final = 0.5
_LEASE_SECONDS: Final = 1.5
_LOOK_IN_SECONDS: Final = 0.25
_LOOK_AT_MODEL_SECONDS: Final = 1.0
_START_SECONDS: Final = 5.0
_GATHER_SECONDS: Final = 0.005
_WORK_POOL_SIZE: Final = 10
"""One for each loop but the chores, which come on top; for commits; for what is redriven."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a service is given: where its database is, its log, its clock, its limits.

    `holder` names the replica in leases; a restarted replica of the same name goes on at once.
    """

    dsn: str
    log: Log
    clock: Clock
    metrics: ServiceMetrics
    holder: str
    role: Role = "all"
    partitions: int = 6
    pool_size: int = 6
    """Connections of the API; the loops have their own."""
    outbox_max: int = 500_000
    webhook_secret: str | None = None


class Service:
    """One service in this process. Made by `open`, which needs database and log to be there.

    Who answers requests asks `pool`; loops, chores and commits ask `work_pool`, so that no number
    of slow requests keeps a lease from being renewed.
    """

    def __init__(self, spec: Spec, around: Surroundings, pool: Pool, work_pool: Pool) -> None:
        self.spec = spec
        self.around = around
        self.clock = around.clock
        self.pool = pool
        self.work_pool = work = work_pool
        self.journal = Journal(spec.name, around.clock)
        self.committer = Committer(self.journal, work, around.metrics, outbox_max=around.outbox_max)
        self.leases = Leases(work, around.holder)
        self.relay = Relay(work, lambda: around.log.writer(spec.name), around.metrics)
        self._reader = around.log.reader(spec.name)
        self.consumer = Consumer(
            pool=work,
            reader=self._reader,
            journal=self.journal,
            model=spec.read_model,
            react=spec.react,
            archive=spec.archive,
            clock=around.clock,
            metrics=around.metrics,
            turning_points=spec.turning_points,
        )
        self.watch = Watch(
            spec.name, around.log, work, spec.topics, around.partitions, around.metrics
        )
        self.model = ModelKeeper(
            spec.read_model, around.log, around.dsn, service=spec.name, holder=around.holder
        )
        self.has_begun = False
        self._starting: asyncio.Future[None] | None = None
        self._http = webhook_client()
        self._deliveries = DeliverySender(
            Queue(work),
            Webhook(self._http, around.clock, secret=around.webhook_secret, service=spec.name),
            around.clock,
            chance,
            around.metrics,
        )
        self._written = asyncio.Event()
        self._listener = Listener(
            around.dsn,
            name=f"{spec.name} outbox listener",
            channel=WAKE_CHANNEL,
            on_news=lambda _: self._written.set(),
        )
        self._held: frozenset[int] = frozenset()
        self._assigned: frozenset[int] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._pulses: list[Pulse] = []

    @classmethod
    async def open(cls, spec: Spec, around: Surroundings) -> "Service":
        """Connect and set the loops going; they work once the read model is this program's."""
        pool = await open_pool(
            around.dsn, role="desk_app", name=spec.name, size_max=around.pool_size
        )
        work_pool = await open_pool(
            around.dsn,
            role="desk_app",
            name=f"{spec.name} loops",
            size_max=_WORK_POOL_SIZE + len(spec.chores),
        )
        service = cls(spec, around, pool, work_pool)
        await service._look_at_model()
        service._run()
        return service

    async def _look_at_model(self) -> None:
        """Begin once the live read model is this program's; stand down when it is another's."""
        if not await self.model.look(self.work_pool):
            self._held = frozenset()
            await self.leases.release_all()
        elif not self.has_begun:
            self.has_begun = await self._start()

    async def _start(self) -> bool:
        """Do what comes before all else; say if it is done.

        It goes on between calls: meanwhile the model is looked at, by which other replicas see
        that this one lives.
        """
        if self.spec.on_start is None:
            return True
        if self._starting is None:
            self._starting = asyncio.ensure_future(self.spec.on_start(self))
        await asyncio.wait({self._starting}, timeout=_START_SECONDS)
        if not self._starting.done():
            return False
        started, self._starting = self._starting, None
        started.result()
        return True

    async def _model_step(self) -> None:
        await self._look_at_model()
        await asyncio.sleep(_LOOK_AT_MODEL_SECONDS)

    def _if_live(self, step: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
        async def worked() -> None:
            if self.has_begun and self.model.trouble is None:
                await step()
            else:
                await asyncio.sleep(_LOOK_IN_SECONDS)

        return worked

    def _run(self) -> None:
        loops = [Loop("monitor", self._monitor), Loop("read model", self._model_step)]
        if self.around.role != "api":
            loops += self._work_loops()
        for loop in loops:
            self._pulses.append(loop.pulse)
            name = f"{self.spec.name} {loop.pulse.name}"
            self._tasks.append(asyncio.create_task(loop.run(), name=name))

    def _work_loops(self) -> list[Loop]:
        loops = [
            Loop("leases", self._if_live(self._lease_step)),
            Loop("relay", self._if_live(self._relay_step)),
            Loop("consumer", self._if_live(self._consume_step), self._forget_assignment),
            Loop("deliveries", self._if_live(self._deliveries.step)),
            Loop("purge", self._if_live(_or_sleep(Purge(self.work_pool, self.clock).step, 1))),
        ]
        if self.spec.on_due is not None:
            watermark = Watermark(self.around.log, self.work_pool, self.spec.topics, self.clock)
            timers = Timers(
                pool=self.work_pool,
                journal=self.journal,
                watermark=watermark,
                on_due=self.spec.on_due,
                clock=self.clock,
                metrics=self.around.metrics,
                fold=self.spec.read_model.fingerprint,
            )
            loops.append(Loop("timers", self._if_live(_or_sleep(timers.step, 0.1))))
        loops += [
            Loop(name, self._if_live(partial(chore, self)))
            for name, chore in self.spec.chores.items()
        ]
        return loops

    async def stop(self) -> None:
        """Stop the loops, let others take over, and close what is open.

        What has not ended when STOP_SECONDS_MAX are over is left behind and named in the log.
        """
        deadline = asyncio.get_running_loop().time() + STOP_SECONDS_MAX
        if self._starting is not None:
            self._starting.cancel()
        await self._end("loops", deadline, end_all(self._tasks))
        await asyncio.gather(
            self._end("deliveries", deadline, self._deliveries.close()),
            self._end("leases", deadline, self.leases.release_all()),
            self._end("read model", deadline, self.model.close(self.work_pool)),
        )
        await asyncio.gather(
            self._end("reading ahead", deadline, self.consumer.close()),
            self._end("reader", deadline, self._reader.close()),
            self._end("relay", deadline, self.relay.close()),
            self._end("http client", deadline, self._http.aclose()),
        )
        self._listener.close()
        for pool in {self.pool, self.work_pool}:
            if not await self._end("database pool", deadline, pool.close()):
                pool.terminate()

    async def _end(self, what: str, deadline: float, work: Coroutine[Any, Any, None]) -> bool:
        """Do one part of stopping; at least a moment is given to each."""
        seconds = max(_MOMENT_SECONDS, deadline - asyncio.get_running_loop().time())
        try:
            await within(seconds, work)
        except WEATHER as error:
            _log.warning("left_behind", service=self.spec.name, what=what, reason=str(error))
            return False
        return True

    async def _relay_step(self) -> None:
        if not await self.leases.take("relay"):
            await asyncio.sleep(_LEASE_SECONDS)
            return
        loop = asyncio.get_running_loop()
        renew_at = loop.time() + _LEASE_SECONDS
        while loop.time() < renew_at:
            await self._listener.ensure()
            self._written.clear()
            passed_on = await self.relay.pass_on()
            if not passed_on:
                # Not wait_for: in Python 3.11 that loses a cancellation which comes with the news.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_IN_SECONDS):
                        await self._written.wait()
            elif passed_on < SMALL_BATCH_SIZE:
                await asyncio.sleep(_GATHER_SECONDS)  # a few rows cost as much as a few hundred

    async def _forget_assignment(self) -> None:
        self._assigned = None

    async def _consume_step(self) -> None:
        held = self._held
        if held != self._assigned:
            await self.consumer.assign(await self._places(held))
            if (gap := await self.watch.find_gap(self.consumer.positions)) is not None:
                raise LogUnavailableError(gap)
            self._assigned = held
            _log.info("partitions", service=self.spec.name, held=sorted(held))
        if self.consumer.positions:
            await self.consumer.step(_LOOK_IN_SECONDS)
        else:
            await asyncio.sleep(_LOOK_IN_SECONDS)

    async def _places(self, held: frozenset[int]) -> list[TopicPartition]:
        counts = await self.around.log.partitions(self.spec.topics)
        if missing := sorted(set(self.spec.topics) - counts.keys()):
            raise LogUnavailableError(f"topics are missing: {', '.join(missing)}")
        return [
            TopicPartition(topic, number)
            for topic, count in counts.items()
            for number in range(count)
            if number in held
        ]

    async def _lease_step(self) -> None:
        self._held = await self.leases.take_share(self.around.partitions)
        await self._reader.publish(self.consumer.positions)
        await asyncio.sleep(_LEASE_SECONDS)

    async def _monitor(self) -> None:
        self.committer.outbox_length = await outbox_length(self.work_pool)
        self.around.metrics.outbox_length(self.committer.outbox_length)
        await self.watch.look()
        await asyncio.sleep(1)

    def closed(self) -> str | None:
        """Return why no request can be served yet, None once the service has begun.

        Who was superseded serves on as well as it can while others take its requests over.
        """
        return None if self.has_begun else self.model.trouble or "the service begins its work"

    async def check_database(self) -> None:
        """Raise unless the database answers."""
        await self.work_pool.fetchval("SELECT 1")

    async def check_loops(self) -> list[str]:
        """Return which loops wait for weather to pass; requests are served all the same.

        Raises: UnavailableError, all troubles named, when a loop failed, fell silent, or does not
        move forward.
        """
        now = asyncio.get_running_loop().time()
        waiting: list[str] = []
        troubles: list[str] = []
        for pulse in self._pulses:
            verdict = pulse.verdict(now)
            if verdict is not None:
                passes = pulse.trouble is not None and pulse.is_weather
                (waiting if passes else troubles).append(f"{pulse.name}: {verdict}")
        if (reason := self.closed() or self.model.trouble) is not None:
            troubles.append(reason)
        troubles += self.consumer.held_up.values()
        self.watch.judge(waiting, troubles)
        if troubles:
            raise UnavailableError("; ".join(troubles))
        return waiting


def _or_sleep(step: Callable[[], Awaitable[int]], seconds: float) -> Callable[[], Awaitable[None]]:
    async def once() -> None:
        if not await step():
            await asyncio.sleep(seconds)

    return once
