"""Logs that misbehave within what a log may do, and the seed that says how."""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from random import Random, SystemRandom

from shared.contracts.registry import INBOUND, UndecodableError, decode_record
from shared.log.port import (
    Log,
    LogReader,
    LogUnavailableError,
    LogWriter,
    Outgoing,
    Record,
    TopicPartition,
)

LONG = bool(os.environ.get("DESK_FAULT_LONG"))


def measured(line: str) -> None:
    """Say what a scenario measured; pytest shows it when the scenario fails, or with -s."""
    sys.stdout.write(f"{line}\n")


def fault_seed() -> int:
    """Return the seed of this run's chance and print it; DESK_FAULT_SEED repeats a run."""
    seed = int(os.environ.get("DESK_FAULT_SEED") or SystemRandom().randrange(10**6))
    measured(f"DESK_FAULT_SEED={seed}")
    return seed


class BentLog:
    """Passes everything on to another log; a subclass bends what it is for."""

    def __init__(self, inner: Log) -> None:
        self.inner = inner

    def writer(self, name: str) -> LogWriter:
        return self.inner.writer(name)

    def reader(self, name: str) -> LogReader:
        return self.inner.reader(name)

    async def create_topics(self, topics: Sequence[str], partitions: int) -> list[str]:
        return await self.inner.create_topics(topics, partitions)

    async def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        return await self.inner.partitions(topics)

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        return await self.inner.end_offsets(topics)

    async def begin_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        return await self.inner.begin_offsets(topics)

    async def check(self) -> None:
        await self.inner.check()

    async def close(self) -> None:
        await self.inner.close()


class BentReader:
    """Passes everything on to another reader; a subclass bends what it is for."""

    def __init__(self, inner: LogReader) -> None:
        self.inner = inner

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        await self.inner.assign(positions)

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        return await self.inner.fetch(records_max=records_max, wait_seconds=wait_seconds)

    async def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        await self.inner.publish(positions)

    async def close(self) -> None:
        await self.inner.close()


class Blanked(BentLog):
    """A log whose poison reads as tombstones, for checks that look at sound events only."""

    def reader(self, name: str) -> LogReader:
        return _BlankedReader(self.inner.reader(name))


class _BlankedReader(BentReader):
    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        records = await super().fetch(records_max=records_max, wait_seconds=wait_seconds)
        return [record if _is_sound(record) else _without_value(record) for record in records]


def _is_sound(record: Record) -> bool:
    try:
        return record.topic == INBOUND or decode_record(record) is not None
    except UndecodableError:
        return False


def _without_value(record: Record) -> Record:
    return Record(
        record.topic, record.partition, record.offset, record.key, None, record.timestamp_ms
    )


class Repeating(BentLog):
    """A log that sometimes stores a batch and then says that it does not know."""

    def __init__(self, inner: Log, chance: Random) -> None:
        super().__init__(inner)
        self.chance = chance
        self.denied = 0

    def writer(self, name: str) -> LogWriter:
        return _RepeatingWriter(self, self.inner.writer(name))


class _RepeatingWriter:
    def __init__(self, log: Repeating, inner: LogWriter) -> None:
        self._log = log
        self._inner = inner

    async def send(self, records: Sequence[Outgoing]) -> None:
        await self._inner.send(records)
        if self._log.chance.random() < 0.5:
            self._log.denied += 1
            raise LogUnavailableError("stored, and not acknowledged")

    async def close(self) -> None:
        await self._inner.close()


class Away(BentLog):
    """A log that takes nothing while `is_away`."""

    def __init__(self, inner: Log) -> None:
        super().__init__(inner)
        self.is_away = False

    def writer(self, name: str) -> LogWriter:
        return _AwayWriter(self, self.inner.writer(name))


class _AwayWriter:
    def __init__(self, log: Away, inner: LogWriter) -> None:
        self._log = log
        self._inner = inner

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self._log.is_away:
            raise LogUnavailableError("the log is away")
        await self._inner.send(records)

    async def close(self) -> None:
        await self._inner.close()


class Shuffled(BentLog):
    """A log that keeps the order within a partition of a topic, and no other.

    Every fetch leaves some topics out, so that they come late, and mixes the rest.
    """

    def __init__(self, inner: Log, chance: Random) -> None:
        super().__init__(inner)
        self._chance = chance

    def reader(self, name: str) -> LogReader:
        return _ShuffledReader(self.inner.reader(name), Random(self._chance.random()))


class _ShuffledReader(BentReader):
    def __init__(self, inner: LogReader, chance: Random) -> None:
        super().__init__(inner)
        self._chance = chance
        self._waiting: dict[TopicPartition, list[Record]] = {}

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        self._waiting = {}
        await super().assign(positions)

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        patience = 0.05 if self._waiting else wait_seconds
        for record in await super().fetch(records_max=records_max, wait_seconds=patience):
            place = TopicPartition(record.topic, record.partition)
            self._waiting.setdefault(place, []).append(record)
        late = {place.topic for place in self._waiting if self._chance.random() < 0.5}
        fetched: list[Record] = []
        while mixed := [place for place in self._waiting if place.topic not in late]:
            place = self._chance.choice(mixed)
            fetched.append(self._waiting[place].pop(0))
            if not self._waiting[place]:
                del self._waiting[place]
        return fetched


class Held(BentLog):
    """A log whose readers, once they have fetched, do not return until `gate` is open."""

    def __init__(self, inner: Log) -> None:
        super().__init__(inner)
        self.gate = asyncio.Event()
        self.gate.set()
        self.holding: set[str] = set()

    def reader(self, name: str) -> LogReader:
        return _HeldReader(self, self.inner.reader(name), name)


class _HeldReader(BentReader):
    def __init__(self, log: Held, inner: LogReader, name: str) -> None:
        super().__init__(inner)
        self._log = log
        self._name = name

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        records = await super().fetch(records_max=records_max, wait_seconds=wait_seconds)
        if records and not self._log.gate.is_set():
            self._log.holding.add(self._name)
            await self._log.gate.wait()
            self._log.holding.discard(self._name)
        return records


class Slow(BentLog):
    """A log from which one reader gets only a few records at a time while `is_slow`."""

    def __init__(self, inner: Log, name: str) -> None:
        super().__init__(inner)
        self.name = name
        self.is_slow = True

    def reader(self, name: str) -> LogReader:
        reader = self.inner.reader(name)
        return _SlowReader(self, reader) if name == self.name else reader


class _SlowReader(BentReader):
    def __init__(self, log: Slow, inner: LogReader) -> None:
        super().__init__(inner)
        self._log = log

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        if self._log.is_slow:
            await asyncio.sleep(0.2)
            records_max = 3
        return await super().fetch(records_max=records_max, wait_seconds=wait_seconds)
