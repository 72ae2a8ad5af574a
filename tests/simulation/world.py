"""A small desk on the kernel's real classes: writers, relays, consumers, timers, and their deaths.

Intake writes tickets. Sla reads them, notes that a clock runs, and breaches it when it is due,
unless the ticket was resolved in time. Both have two replicas. All they touch is in memory, and
every touch takes a random moment, so that a seed decides who overtakes whom; at random instants a
replica is killed, or sleeps past its leases and goes on as a zombie.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
from support.histories import created
from support.memory_log import MemoryLog
from support.memory_store import MemoryStore

from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketResolved, TicketStarted
from shared.errors import UnavailableError
from shared.journal.committer import Committer
from shared.journal.handler import CommandHandler, Intent
from shared.journal.journal import Journal
from shared.journal.relay import Relay
from shared.log.port import TopicPartition
from shared.runtime.consumer import Consumer
from shared.runtime.leases import TTL_SECONDS, Leases
from shared.runtime.timers import Timers, Watermark
from shared.runtime.weather import RETRY_AT_ONCE
from shared.telemetry.metrics import MetricRegistry
from simulation.rules import DECIDER, KEEP, MODEL, TOPICS, Do, keep, keep_rows, on_due, react

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
PARTITIONS = 2
IDLE_SECONDS_MIN = 0.25
IDLE_SECONDS_MAX = 4.0
Step = Callable[[], Awaitable[object]]
METRICS = MetricRegistry().for_service("simulation")


@dataclass(frozen=True)
class Size:
    """How much happens in a run; shrinking makes it smaller."""

    tickets: int = 3
    deaths: int = 1
    naps: int = 1
    failures: float = 0.1
    seconds: float = 2.0


@dataclass
class Kernel:
    """The classes under test; mutations put broken ones in their places."""

    relay: type[Relay] = Relay
    consumer: type[Consumer] = Consumer
    timers: type[Timers] = Timers
    leases: type[Leases] = Leases


class SimClock:
    """The wall clock, which follows the loop's virtual time."""

    def now(self) -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())


@dataclass
class World:
    """Everything that outlives a replica."""

    seed: int
    size: Size
    kernel: Kernel
    chance: Random = field(init=False)
    clock: SimClock = field(default_factory=SimClock)
    acknowledged: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    trace: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])
    names: int = 0
    is_over: bool = False

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.intake = MemoryStore(self.clock.now)
        self.sla = MemoryStore(self.clock.now, MODEL)
        self.sla.statements[KEEP] = keep_rows
        self.log = MemoryLog(now_ms=self._now_ms, fails=self._failure, chooses=self._choice)

    def note(self, what: str) -> None:
        self.trace.append(f"{asyncio.get_running_loop().time():.6f} {what}")

    def _now_ms(self) -> int:
        return int(asyncio.get_running_loop().time() * 1000)

    def _choice(self, places: Sequence[TopicPartition]) -> Sequence[TopicPartition]:
        """Nothing orders topics among each other: a fetch brings some of them, in any order."""
        return self.chance.sample(places, self.chance.randint(min(1, len(places)), len(places)))

    def _failure(self) -> float | None:
        """A send that fails stores nothing, a part, or all of it."""
        if self.is_over or self.chance.random() >= self.size.failures:
            return None
        return self.chance.choice([0.0, 0.5, 1.0])


class Replica:
    """A process: tasks, and memory that dies with them."""

    kind: ClassVar[str]

    def __init__(self, world: World) -> None:
        self.world = world
        world.names += 1
        self.name = f"{self.kind}-{world.names}"
        self._awake = asyncio.Event()
        self._awake.set()
        self._tasks: list[asyncio.Task[None]] = []

    async def pause(self) -> None:
        """Let others go first for a moment; while it naps, for as long as that lasts."""
        await asyncio.sleep(self.world.chance.random() * 0.01)
        await self._awake.wait()

    def start(self, *steps: Step) -> None:
        """Repeat each step for ever, as `Loop` does."""
        self._tasks = [asyncio.create_task(self._repeat(step)) for step in steps]

    async def _repeat(self, step: Step) -> None:
        """A step that found nothing to do is tried again ever later, now soon, now late."""
        idle_seconds = IDLE_SECONDS_MIN
        while True:
            worked: object = True
            try:
                worked = await step()
            except RETRY_AT_ONCE:
                await self.recover()
            except UnavailableError:
                await asyncio.sleep(0.05)
                await self.recover()
            except Exception as error:
                self.world.faults.append(f"{self.name}: {error!r}")
                raise
            if worked:
                idle_seconds = IDLE_SECONDS_MIN
            else:
                await asyncio.sleep(self.world.chance.random() * idle_seconds)
                idle_seconds = min(2 * idle_seconds, IDLE_SECONDS_MAX)

    def told(self, did: str, count: int) -> int:
        """Return the count, and note it if there is something to note."""
        if count:
            self.world.note(f"{self.name} {did} {count}")
        return count

    async def recover(self) -> None:
        """Make a new start after a step failed."""

    async def kill(self) -> None:
        """End as SIGKILL does: what was not committed is gone, leases run out by themselves."""
        self.world.note(f"kill {self.name}")
        self._awake.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def nap(self) -> None:
        """Stand still past every lease, then go on."""
        self.world.note(f"nap {self.name}")
        self._awake.clear()
        await asyncio.sleep(TTL_SECONDS + 1)
        self._awake.set()


class Writer(Replica):
    """A replica of intake."""

    kind = "intake"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        pool: Any = world.intake.pool(self.pause)
        journal = Journal("intake", world.clock)
        committer = Committer(journal, pool, METRICS, outbox_max=10**6)
        self.handler = CommandHandler(DECIDER, committer, pool, jitter=world.chance.random)
        self._leases = world.kernel.leases(pool, self.name)
        log = world.log.as_seen_with(self.pause)
        self._relay = world.kernel.relay(pool, lambda: log.writer(self.name), METRICS)
        self.start(self._pass_on)

    async def _pass_on(self) -> object:
        if not await self._leases.take("relay"):
            return 0
        return self.told("passed on", await self._relay.pass_on())


class Judge(Replica):
    """A replica of sla: consumer, timers, relay."""

    kind = "sla"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._pool: Any = world.sla.pool(self.pause)
        journal = Journal("sla", world.clock)
        self._log = world.log.as_seen_with(self.pause)
        self._leases = world.kernel.leases(self._pool, self.name)
        self._held: frozenset[int] = frozenset()
        self._assigned: frozenset[int] | None = None
        self._relay = world.kernel.relay(self._pool, lambda: self._log.writer(self.name), METRICS)
        self._consumer = world.kernel.consumer(
            pool=self._pool,
            reader=self._log.reader(self.name),
            journal=journal,
            model=MODEL,
            react=react,
            archive=keep,
            clock=world.clock,
            metrics=METRICS,
        )
        self._timers = world.kernel.timers(
            fold=MODEL.fingerprint,
            pool=self._pool,
            journal=journal,
            watermark=Watermark(self._log, self._pool, TOPICS, world.clock),
            on_due=on_due,
            clock=world.clock,
            metrics=METRICS,
        )
        self.start(self._consume, self._lease, self._fire, self._pass_on)

    async def recover(self) -> None:
        self._assigned = None

    async def _lease(self) -> object:
        self._held = await self._leases.take_share(PARTITIONS)
        await asyncio.sleep(2)
        return True

    async def _consume(self) -> object:
        held = self._held
        if held != self._assigned:
            places = [TopicPartition(t, n) for t in TOPICS for n in sorted(held)]
            await self._consumer.assign(places)
            self._assigned = held
        if self._consumer.positions:
            self.told("applied", await self._consumer.step(1))
        return self._consumer.positions

    async def _fire(self) -> object:
        return self.told("fired", await self._timers.step())

    async def _pass_on(self) -> object:
        if not await self._leases.take("relay"):
            return 0
        return self.told("passed on", await self._relay.pass_on())


async def play(world: World) -> None:
    """Let it all happen, then let it come to rest."""
    await world.log.create_topics(TOPICS, PARTITIONS)
    replicas: list[Replica] = [Writer(world), Writer(world), Judge(world), Judge(world)]
    clients = [asyncio.create_task(_client(world, n, replicas)) for n in range(world.size.tickets)]
    fates = [
        *(asyncio.create_task(_death(world, replicas)) for _ in range(world.size.deaths)),
        *(asyncio.create_task(_nap(world, replicas)) for _ in range(world.size.naps)),
    ]
    try:
        await asyncio.gather(*clients, *fates)
        world.is_over = True
        await _rest(world)
    finally:
        for replica in replicas:
            await replica.kill()


async def _client(world: World, number: int, replicas: list[Replica]) -> None:
    """A ticket's life: created, perhaps started, perhaps resolved, in time or late."""
    ticket = UUID(int=number + 1)
    events: list[EventData] = [created(ticket)]
    if world.chance.random() < 0.5:
        events.append(TicketStarted(ticket_id=ticket, agent_id="bo"))
    if world.chance.random() < 0.7:
        events.append(TicketResolved(ticket_id=ticket, resolved_by="bo", resolution="done"))
    for event in events:
        await asyncio.sleep(world.chance.random() * world.size.seconds / 2)
        await _insist(world, event, replicas)


async def _insist(world: World, event: EventData, replicas: list[Replica]) -> None:
    """Send a command to some replica until one of them acknowledges it."""
    while True:
        writer = world.chance.choice([one for one in replicas if isinstance(one, Writer)])
        lineage = Lineage(actor="client", correlation_id="c")
        intent = Intent(event.stream_id, Do(event), world.clock.now(), lineage)
        try:
            async with asyncio.timeout(1):  # a killed replica never answers
                await writer.handler.handle(intent)
        except (TimeoutError, UnavailableError, asyncpg.PostgresError):
            continue
        world.acknowledged.add((event.TYPE, event.stream_id))
        world.note(f"{event.TYPE} of {event.stream_id} was acknowledged")
        return


async def _death(world: World, replicas: list[Replica]) -> None:
    await asyncio.sleep(world.chance.random() * world.size.seconds)
    place = world.chance.randrange(len(replicas))
    kind = type(replicas[place])
    await replicas[place].kill()
    replicas[place] = kind(world)


async def _nap(world: World, replicas: list[Replica]) -> None:
    await asyncio.sleep(world.chance.random() * world.size.seconds)
    await world.chance.choice(replicas).nap()


async def _rest(world: World) -> None:
    """Wait until outboxes are empty, all is read and no timer is left, and it stays like that."""
    async with asyncio.timeout(60):
        quiet_seconds = 0.0
        while quiet_seconds < 2:
            await asyncio.sleep(0.5)
            quiet_seconds = quiet_seconds + 0.5 if _is_at_rest(world) else 0.0


def _is_at_rest(world: World) -> bool:
    if world.intake.rows("outbox") or world.sla.rows("outbox") or world.sla.rows("timer"):
        return False
    read = world.sla.rows("offset")
    return all(read.get(tuple(p), 0) == len(held) for p, held in world.log.records.items())
