"""A log in memory: the port's promises, faults on demand, and time that a simulation sets."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

from shared.log.partitioner import partition_of
from shared.log.port import LogUnavailableError, Outgoing, Record, TopicPartition

BYTES_MAX = 16 * 1024 * 1024
Pause = Callable[[], Awaitable[None]]
Choice = Callable[[Sequence[TopicPartition]], Sequence[TopicPartition]]


async def no_pause() -> None:
    """Go straight on."""


class MemoryLog:
    """Records of topics in lists.

    `now_ms` stamps them; `fails` says whether a send is reported as failed, and which share of it
    is stored nevertheless; `chooses` says which of the places with news are read at once.
    """

    def __init__(
        self,
        *,
        now_ms: Callable[[], int] = lambda: 0,
        fails: Callable[[], float | None] = lambda: None,
        chooses: Choice = list,
        pause: Pause = no_pause,
    ) -> None:
        self.records: dict[TopicPartition, list[Record]] = {}
        self.now_ms = now_ms
        self.fails = fails
        self.chooses = chooses
        self.pause = pause
        self._news: dict[asyncio.Event, None] = {}  # in order: a set would wake by address

    def writer(self, name: str) -> "MemoryWriter":
        """See `Log.writer`."""
        return MemoryWriter(self)

    def reader(self, name: str) -> "MemoryReader":
        """See `Log.reader`."""
        return MemoryReader(self)

    def as_seen_with(self, pause: Pause) -> "MemoryLog":
        """Return the same log, for a replica that has pauses of its own."""
        other = MemoryLog(now_ms=self.now_ms, fails=self.fails, chooses=self.chooses, pause=pause)
        other.records, other._news = self.records, self._news
        return other

    async def create_topics(self, topics: Sequence[str], partitions: int) -> list[str]:
        """See `Log.create_topics`."""
        fresh = sorted(set(topics) - (await self.partitions(topics)).keys())
        for topic in fresh:
            for number in range(partitions):
                self.records[TopicPartition(topic, number)] = []
        return fresh

    async def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """See `Log.partitions`."""
        await self.pause()
        counts: defaultdict[str, int] = defaultdict(int)
        for place in self.records:
            if place.topic in topics:
                counts[place.topic] += 1
        return dict(counts)

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """See `Log.end_offsets`."""
        await self.pause()
        return {place: len(held) for place, held in self.records.items() if place.topic in topics}

    async def begin_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """See `Log.begin_offsets`."""
        return dict.fromkeys(await self.end_offsets(topics), 0)

    async def check(self) -> None:
        """See `Log.check`."""

    async def close(self) -> None:
        """See `Log.close`."""

    def append(self, records: Sequence[Outgoing]) -> None:
        """Store records and wake who waits for them."""
        for out in records:
            count = sum(1 for place in self.records if place.topic == out.topic)
            if not count:
                raise LogUnavailableError(f"no such topic: {out.topic}")
            place = TopicPartition(out.topic, partition_of(out.key, count))
            held = self.records[place]
            held.append(Record(*place, len(held), out.key, out.value, self.now_ms()))
        for event in self._news:
            event.set()

    def listen(self, event: asyncio.Event) -> None:
        """Set `event` whenever something is appended."""
        self._news[event] = None

    def forget(self, event: asyncio.Event) -> None:
        """Stop doing so."""
        self._news.pop(event, None)


class MemoryWriter:
    """Appends; sometimes says that it failed although part of it, or all, is there."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def send(self, records: Sequence[Outgoing]) -> None:
        """See `LogWriter.send`."""
        await self._log.pause()
        share = self._log.fails()
        self._log.append(records if share is None else records[: int(len(records) * share)])
        await self._log.pause()
        if share is not None:
            raise LogUnavailableError("no acknowledgement")

    async def close(self) -> None:
        """See `LogWriter.close`."""


class MemoryReader:
    """Reads assigned partitions, now from one, now from another first."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._positions: dict[TopicPartition, int] = {}
        self._news = asyncio.Event()

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.assign`."""
        self._positions = dict(positions)

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        """See `LogReader.fetch`."""
        await self._log.pause()
        self._log.listen(self._news)
        try:
            self._news.clear()
            found = self._take(records_max)
            if not found and wait_seconds > 0:
                try:
                    await asyncio.wait_for(self._news.wait(), wait_seconds)
                except TimeoutError:
                    return []
                found = self._take(records_max)
            return found
        finally:
            self._log.forget(self._news)

    def _take(self, records_max: int) -> list[Record]:
        found: list[Record] = []
        places = [p for p, at in self._positions.items() if at < len(self._log.records[p])]
        for place in self._log.chooses(places):
            position = self._positions[place]
            left = BYTES_MAX - sum(len(record.value or b"") for record in found)
            fresh: list[Record] = []
            for record in self._log.records[place][position : position + records_max - len(found)]:
                if left > 0:
                    fresh.append(record)
                left -= len(record.value or b"")
            if fresh:
                found += fresh
                del self._positions[place]  # it is read last next time
                self._positions[place] = position + len(fresh)
        return found

    async def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.publish`."""

    async def close(self) -> None:
        """See `LogReader.close`."""
