"""The log port (R12): what a service may ask of a log, whichever log it is.

Promises of every log: records of one partition keep their order; delivery is at least once; a
reader sees a record only after it is durable; offsets of one partition only grow.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from shared.errors import DeskError, UnavailableError

RECORD_BYTES_MAX: Final = 1_000_000
"""What a record's value may have, in every log; journals refuse an event that is larger (R14)."""


class LogUnavailableError(UnavailableError):
    """The log cannot be reached now, or did not acknowledge; trying again later is right."""


class RecordTooLargeError(DeskError):
    """The log takes no record of that size, now or ever; a limit at a door is missing."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """A record on its way to the log. The log finds the partition from the key (Java's murmur2)."""

    topic: str
    key: bytes
    value: bytes


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as the log holds it; `value` is null for a tombstone."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp_ms: int


def in_time(records: Sequence[Record]) -> list[Record]:
    """Return records of several partitions by when they were taken, each partition in its order.

    Readers hand them over partition by partition. Who was away for a while would judge by one topic
    what another had overtaken long ago.
    """
    latest: dict[tuple[str, int], int] = {}
    when: list[int] = []
    for record in records:
        place = record.topic, record.partition
        latest[place] = max(record.timestamp_ms, latest.get(place, record.timestamp_ms))
        when.append(latest[place])
    return [records[number] for number in sorted(range(len(records)), key=when.__getitem__)]


def require_sizes(records: Sequence[Outgoing]) -> None:
    """Raise RecordTooLargeError if one of the records is larger than a log takes."""
    for record in records:
        if record.value and len(record.value) > RECORD_BYTES_MAX:
            raise RecordTooLargeError(
                f"an event of {len(record.value)} bytes for {record.topic}; at most"
                f" {RECORD_BYTES_MAX} go through the log"
            )


class LogWriter(Protocol):
    """Sends records. One writer belongs to one task."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Return once all are durable, in order per partition.

        Raises: LogUnavailableError when they may not be; the caller sends them again.
        RecordTooLargeError for a value over RECORD_BYTES_MAX; nothing was sent.
        """
        ...

    async def close(self) -> None:
        """Give up what the writer holds; unsent records are the caller's to send again."""
        ...


class LogReader(Protocol):
    """Reads partitions from positions that the caller owns (R6). One reader belongs to one task."""

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions from these offsets on, whatever was read before."""
        ...

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        """Return the next records, in offset order per partition; empty after `wait_seconds`.

        Raises: LogUnavailableError when the log cannot be reached; the positions stand.
        """
        ...

    async def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell the log how far the caller is, for lag dashboards; nothing reads this back."""
        ...

    async def close(self) -> None:
        """Give up what the reader holds."""
        ...


class Log(Protocol):
    """A log of topics. Makes writers and readers, knows where partitions begin and end."""

    def writer(self, name: str) -> LogWriter:
        """Return a writer; `name` tells it apart in the broker's metrics."""
        ...

    def reader(self, name: str) -> LogReader:
        """Return a reader; `name` tells it apart in the broker's metrics."""
        ...

    async def create_topics(self, topics: Sequence[str], partitions: int) -> list[str]:
        """Create the topics that are missing and return their names."""
        ...

    async def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """Return the partition count of each topic that exists."""
        ...

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Return, for each partition, the offset that the next record will get."""
        ...

    async def begin_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Return, for each partition, the first offset still held."""
        ...

    async def check(self) -> None:
        """Raise LogUnavailableError unless the log answers."""
        ...

    async def close(self) -> None:
        """Close what the log itself holds open."""
        ...
