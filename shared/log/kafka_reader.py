"""KafkaReader: a consumer whose positions are ours: no group, only `assign` and `seek` (R6)."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError

from shared.log.port import LogUnavailableError, Record, TopicPartition

REQUEST_TIMEOUT_MS: Final = 5_000
FETCH_BYTES_MAX: Final = 16 * 1024 * 1024
PARTITION_BYTES_MAX: Final = 1_000_000
FETCH_WAIT_MS: Final = 100  # aiokafka asks for what it handed out only when this wait is over
PUBLISH_SECONDS_MAX: Final = 2
PUBLISH_ALL_SECONDS: Final = 3_600
AWAY: Final = (KafkaError, OSError, TimeoutError)


async def started_consumer(
    bootstrap_servers: str, name: str, group: str | None = None
) -> AIOKafkaConsumer:
    """Return a consumer that is connected and reads nothing yet."""
    consumer = AIOKafkaConsumer(
        group_id=group,
        bootstrap_servers=bootstrap_servers,
        client_id=f"desk-{name}",
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=PARTITION_BYTES_MAX,
        fetch_max_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
    except BaseException:
        with suppress(*AWAY):
            await consumer.stop()
        raise
    return consumer


class KafkaReader:
    """A consumer of assigned partitions, without a group."""

    def __init__(self, bootstrap_servers: str, prefix: str, name: str) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._prefix = prefix
        self._name = name
        self._consumer: Any = None  # aiokafka has no types for what is called here
        self._assigned = False
        self._positions: dict[TopicPartition, int] = {}
        self._published: dict[TopicPartition, int] = {}
        self._publish_all_at = 0.0

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.assign`."""
        self._positions = dict(positions)
        self._assigned = False
        self._published.clear()

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        """See `LogReader.fetch`."""
        if not self._positions:
            await asyncio.sleep(wait_seconds)
            return []
        try:
            consumer = await self._ready()
            fetched: dict[Any, list[Any]] = await consumer.getmany(
                timeout_ms=int(wait_seconds * 1000), max_records=records_max
            )
        except AWAY as error:
            await self.close()
            raise LogUnavailableError(f"Kafka at {self._bootstrap_servers}: {error!r}") from error
        records = [
            Record(
                message.topic.removeprefix(self._prefix),
                message.partition,
                message.offset,
                message.key,
                message.value,
                message.timestamp,
            )
            for messages in fetched.values()
            for message in messages
        ]
        for record in records:
            self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        return records

    async def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.publish`; best effort, the next one says it again.

        A dashboard must not stop the reading: aiokafka would wait for the coordinator for ever.
        """
        now = asyncio.get_running_loop().time()
        if now >= self._publish_all_at:
            self._published.clear()  # Kafka forgets after a week what is not said again
            self._publish_all_at = now + PUBLISH_ALL_SECONDS
        news = dict(positions.items() - self._published.items())
        if self._consumer is None or not news:
            return
        places = {
            KafkaPartition(self._prefix + place.topic, place.partition): position
            for place, position in news.items()
        }
        with suppress(*AWAY):
            async with asyncio.timeout(PUBLISH_SECONDS_MAX):
                await self._consumer.commit(places)
            self._published |= news

    async def close(self) -> None:
        """See `LogReader.close`; a later fetch connects again and goes on where this one was."""
        consumer, self._consumer = self._consumer, None
        self._assigned = False
        if consumer is not None:
            with suppress(*AWAY):
                await consumer.stop()

    async def _ready(self) -> Any:  # noqa: ANN401 see _consumer
        if self._assigned:
            return self._consumer
        # A new consumer for each assignment: told again while it looks for its group's
        # coordinator, aiokafka's fails an assertion, and then cannot be stopped either.
        await self.close()
        consumer: Any = cast(
            "Any",
            await started_consumer(self._bootstrap_servers, self._name, group=f"desk-{self._name}"),
        )
        self._consumer = consumer
        places = {
            KafkaPartition(self._prefix + place.topic, place.partition): position
            for place, position in self._positions.items()
        }
        consumer.assign(list(places))
        for place, position in places.items():
            consumer.seek(place, position)
        self._assigned = True
        return consumer
