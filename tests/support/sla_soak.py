"""Years of tickets through sla, day by day, each compared with what the pure functions say."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from shared.calendar import microseconds
from shared.log.port import Outgoing
from shared.runtime.consumer import BATCH_SIZE_MAX
from support.sla_desk import Middle, SoakDesk, forget, outgoing, soak_desk
from support.sla_lives import DAY_US, Life, Lives
from support.sla_rules import Change, Rules, says_the_same
from support.sla_truth import CHUNK, CLOCKS, Checker, Moment, Truth, rebuilt_otherwise

START_US = microseconds(datetime(2026, 1, 5, tzinfo=UTC))
MONTH_DAYS = 30
MIXED = 300
DUPLICATES = 0.02
DIFFERENCES_MAX = 20
FORGET_AT = 10_000
DUE_TIMERS = "SELECT stream_id, name, due_at FROM kernel.timer WHERE due_at <= $1 LIMIT 3"
PARKED = "SELECT reason, detail FROM kernel.quarantine LIMIT 3"
SUMS = (
    *("tickets", "checked", "looks", "rebuilt", "records", "said", "fired", "changes"),
    *("alive_max", "checking_seconds"),
)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Size:
    """How long and how much; every `sample`th ticket is rebuilt from its records.

    `prunes` deletes tickets from the database once they have ended and were checked.
    """

    days: int
    per_day: int
    seed: int
    steps_per_day: int = 1
    sample: int = 100
    prunes: bool = False
    batch_size: int = BATCH_SIZE_MAX


@dataclass
class Found:
    """What a soak did and found."""

    tickets: int = 0
    checked: int = 0
    looks: int = 0
    rebuilt: int = 0
    records: int = 0
    said: int = 0
    fired: int = 0
    changes: int = 0
    alive_max: int = 0
    seconds: float = 0
    checking_seconds: float = 0
    differences: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Found") -> "Found":
        """Return what two soaks found that ran side by side."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in SUMS}
        return Found(
            **sums,
            seconds=max(self.seconds, other.seconds),
            differences=self.differences + other.differences,
            counts=self.counts + other.counts,
        )


class Soak:
    """One run."""

    def __init__(self, desk: SoakDesk, dsn: str, size: Size, tell: Tell) -> None:
        self._desk = desk
        self._dsn = dsn
        self._size = size
        self._tell = tell
        self._chance = Random(size.seed)
        self._rules = Rules(self._chance, START_US, size.days)
        self._lives = Lives(self._chance, self._rules.peaks())
        self._checker = Checker(Truth(self._rules))
        self._alive: dict[int, Life] = {}
        self._again: list[tuple[Life, Outgoing]] = []
        self._gone: list[str] = []
        self._length_us = DAY_US // size.steps_per_day
        self.found = Found()
        self._told = 0

    async def run(self) -> Found:
        """Let all days go by, then the time that the last tickets need; return what was found."""
        began = time.monotonic()
        await self._publishing([self._rules.first])(self._desk)
        await self._desk.settle()
        day = 0
        while day < self._size.days or (self._alive and day < self._size.days + 3 * MONTH_DAYS):
            await self._day(day)
            day += 1
            if day % MONTH_DAYS == 0 or day == self._size.days:
                await self._look(list(self._alive.values()), self._moment(day))
                self._report(day, time.monotonic() - began)
            if len(self.found.differences) >= DIFFERENCES_MAX:
                break
        await self._look(list(self._alive.values()), self._moment(day))
        found = self.found
        found.seconds = time.monotonic() - began
        found.records, found.said = self._desk.log.read, self._desk.log.sent
        found.fired = self._desk.fired
        found.counts = self._checker.counts + self._lives.counts
        return found

    def _moment(self, day: int) -> Moment:
        return Moment(START_US + day * DAY_US, self._length_us)

    async def _day(self, day: int) -> None:
        start_us = START_US + day * DAY_US
        if day < self._size.days:
            for life in self._lives.be_born(start_us, start_us + DAY_US, self._size.per_day):
                self._alive[life.number] = life
                self.found.tickets += 1
                if life.number % self._size.sample == 0:
                    self._desk.log.kept[str(life.ticket_id).encode()] = []
        for step in range(1, self._size.steps_per_day + 1):
            until_us = start_us + step * self._length_us
            due = [one for one in self._rules.changes if one.at_us == until_us]
            middle = self._publishing(due) if due else None
            await self._desk.step(until_us, list(self._batches(until_us)), middle)
        self.found.alive_max = max(self.found.alive_max, len(self._alive))
        ended = [life for life in self._alive.values() if life.has_ended()]
        await self._look(ended, self._moment(day + 1), is_last=True)

    def _batches(self, until_us: int) -> Iterable[Sequence[Outgoing]]:
        """Yield what is recorded up to an instant, some of it a second time in the next step."""
        batch: list[Outgoing] = []
        for life, out in self._again:
            life.left -= 1
            batch.append(out)
        self._again = []
        for life, happening in self._lives.recorded(until_us):
            out = outgoing(life, happening)
            batch.append(out)
            if self._chance.random() < DUPLICATES:
                life.left += 1
                self._again.append((life, out))
            if len(batch) >= MIXED:
                yield batch
                batch = []
        yield batch

    def _publishing(self, changes: Sequence[Change]) -> Middle:
        async def publish(desk: SoakDesk) -> None:
            for change in changes:
                self.found.changes += 1
                expected = self._rules.take(change)
                if change.wanted is None:
                    await desk.rulebook.declare_peak(is_peak=change.kind == "peak")
                    continue
                published = (await desk.rulebook.publish(change.wanted)).rules
                if not says_the_same(list(published), expected):
                    self.found.differences.append(f"published {published}, not {expected}")

        return publish

    async def _look(self, lives: Sequence[Life], moment: Moment, *, is_last: bool = False) -> None:
        """Check tickets; those that are over are forgotten if this is the last look at them."""
        began = time.monotonic()
        for place in range(0, len(lives), CHUNK):
            await self._look_at(lives[place : place + CHUNK], moment, is_last=is_last)
        if not is_last:
            await self._look_around(moment)
        self.found.checking_seconds += time.monotonic() - began

    async def _look_at(self, lives: Sequence[Life], moment: Moment, *, is_last: bool) -> None:
        desk, found = self._desk, self.found
        names = {str(life.ticket_id): life for life in lives}
        rows: dict[str, list[object]] = {name: [] for name in names}
        async with desk.service.pool.acquire() as connection:
            journals = await desk.service.journal.read(connection, names)
            for row in await connection.fetch(CLOCKS, list(names)):
                rows[row["ticket_id"]].append(row)
            over: list[str] = []
            for name, life in names.items():
                checked = self._checker.check(life, journals[name], rows[name], moment)
                found.looks += 1
                found.differences += checked.differences
                if is_last and checked.is_over:
                    self._checker.count(journals[name])
                    over.append(name)
            keys = [name.encode() for name in over if name.encode() in desk.log.kept]
            kept = {key: desk.log.kept.pop(key) for key in keys}
            found.differences += await rebuilt_otherwise(connection, kept)
        found.rebuilt += len(kept)
        found.checked += len(over)
        for name in over:
            del self._alive[names[name].number]
        self._gone += over
        if self._size.prunes and len(self._gone) >= FORGET_AT:
            await forget(self._dsn, self._gone)
            self._gone = []

    async def _look_around(self, moment: Moment) -> None:
        pool, found = self._desk.service.pool, self.found
        for row in await pool.fetch(DUE_TIMERS, self._desk.clock.at):
            if row["due_at"] <= self._desk.clock.at:
                found.differences.append(f"a timer did not fire: {dict(row)}")
        found.differences += [f"parked: {dict(row)}" for row in await pool.fetch(PARKED)]
        if await pool.fetchval("SELECT count(*) FROM kernel.outbox"):
            found.differences.append("the outbox is not empty")

    def _report(self, day: int, seconds: float) -> None:
        found = self.found
        self._tell(
            f"day {day}: {found.tickets} tickets, {found.checked} ended and checked,"
            f" {len(self._alive)} alive, {self._desk.log.read} records,"
            f" {self._desk.log.read / seconds:.0f}/s, {seconds:.0f} s"
            f" ({found.checking_seconds:.0f} s of it checking),"
            f" {len(found.differences)} differences"
        )
        for difference in found.differences[self._told :]:
            self._tell(difference)
        self._told = len(found.differences)


async def soak(dsn: str, size: Size, tell: Tell) -> Found:
    """Run the days on an empty database and return what was found."""
    async with soak_desk(dsn, Random(size.seed), START_US, size.batch_size) as desk:
        return await Soak(desk, dsn, size, tell).run()
