"""KafkaReader: a consumer whose positions are ours: no group, only `assign` and `seek` (R6)."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaTimeoutError

from shared.log.kafka_clients import AWAY, CALL_SECONDS_MAX, REQUEST_TIMEOUT_MS, Client, Keeper
from shared.log.kafka_positions import KafkaPositions
from shared.log.port import LogUnavailableError, Record, TopicPartition

FETCH_BYTES_MAX: Final = 16 * 1024 * 1024
PARTITION_BYTES_MAX: Final = 1_000_000
FETCH_WAIT_MS: Final = 100  # aiokafka asks for what it handed out only when this wait is over
SILENCE_SECONDS_MAX: Final = 30.0
_PAUSE_SECONDS_MAX: Final = 5.0


def make_consumer(bootstrap_servers: str, name: str) -> Any:  # noqa: ANN401 aiokafka has no types for what is called here
    """Return a consumer that is not connected yet and belongs to no group."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        client_id=f"desk-{name}",
        enable_auto_commit=False,
        auto_offset_reset="none",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=PARTITION_BYTES_MAX,
        fetch_max_bytes=FETCH_BYTES_MAX,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )


def client_of(consumer: Any, kind: str) -> Client:  # noqa: ANN401 see make_consumer
    """Return a consumer as `Keeper` knows it."""
    return Client(kind, consumer._client, consumer.start, consumer.stop)  # noqa: SLF001 no public way


class KafkaReader:
    """A consumer of assigned partitions, without a group."""

    def __init__(self, bootstrap_servers: str, prefix: str, name: str, keeper: Keeper) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._prefix = prefix
        self._name = name
        self._keeper = keeper
        self._consumer: Any = None  # aiokafka has no types for what is called here
        self._assigned = False
        self._positions: dict[TopicPartition, int] = {}
        self._published = KafkaPositions(bootstrap_servers, prefix, name, keeper)
        self._silence = Silence()

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.assign`."""
        self._positions = dict(positions)
        self._assigned = False

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        """See `LogReader.fetch`."""
        if not self._positions:
            await asyncio.sleep(wait_seconds)
            return []
        try:
            consumer = await self._ready()
            fetched: dict[Any, list[Any]] = await self._keeper.ask(
                "reader",
                wait_seconds + CALL_SECONDS_MAX,
                consumer.getmany(timeout_ms=int(wait_seconds * 1000), max_records=records_max),
            )
            self._check_that_brokers_answer(consumer)
        except AWAY as error:
            await self._put_away()
            raise LogUnavailableError(
                f"Kafka at {self._bootstrap_servers}: {type(error).__name__}"
            ) from error
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
        """See `LogReader.publish`; only begins it, so that a dashboard never stops the reading."""
        self._published.publish(positions)

    async def close(self) -> None:
        """See `LogReader.close`; a later fetch connects again and goes on where this one was."""
        await asyncio.gather(self._put_away(), self._published.close())

    async def _put_away(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._assigned = False
        if consumer is not None:
            await self._keeper.put_away(client_of(consumer, "reader"))

    async def _ready(self) -> Any:  # noqa: ANN401 see _consumer
        if self._assigned:
            return self._consumer
        await self._put_away()  # a new one for each assignment: what failed may have left it odd
        consumer = make_consumer(self._bootstrap_servers, self._name)
        await self._keeper.start(client_of(consumer, "reader"))
        self._consumer = consumer
        places = {
            KafkaPartition(self._prefix + place.topic, place.partition): position
            for place, position in self._positions.items()
        }
        consumer.assign(list(places))
        for place, position in places.items():
            consumer.seek(place, position)
        self._assigned = True
        self._silence = Silence()
        return consumer

    def _check_that_brokers_answer(self, consumer: Any) -> None:  # noqa: ANN401 see _consumer
        """Raise KafkaTimeoutError for a partition that nobody has answered for in a long time.

        aiokafka waits without a word for a leader to be named, also when what asks for leaders
        has ended; a new client asks anew, and readiness says meanwhile what is waited for.
        """

        def answers() -> dict[TopicPartition, tuple[object, int]]:
            return {
                place: (
                    consumer.last_poll_timestamp(
                        KafkaPartition(self._prefix + place.topic, place.partition)
                    ),
                    position,
                )
                for place, position in self._positions.items()
            }

        if silent := self._silence.find(asyncio.get_running_loop().time(), answers):
            why = f"no answer for {', '.join(silent)} in {SILENCE_SECONDS_MAX:g} s"
            self._keeper.note("reader", why)
            raise KafkaTimeoutError(why)


class Silence:
    """Finds partitions that did not change between two looks, SILENCE_SECONDS_MAX apart.

    What nobody asked about for a while does not count: aiokafka asks no more, while what it
    has is not taken.
    """

    def __init__(self) -> None:
        self._seen: dict[TopicPartition, tuple[object, int]] = {}
        self._look_again_at = 0.0
        self._asked_at = 0.0

    def find(
        self, now: float, look: Callable[[], dict[TopicPartition, tuple[object, int]]]
    ) -> list[str]:
        """Return the partitions of which nothing was heard; `now` is the loop's time."""
        asked_at, self._asked_at = self._asked_at, now
        has_paused = now - asked_at > _PAUSE_SECONDS_MAX
        if not has_paused and now < self._look_again_at:
            return []
        before, self._seen = self._seen, look()
        self._look_again_at = now + SILENCE_SECONDS_MAX
        if has_paused:
            return []
        return [
            f"{place.topic}-{place.partition}"
            for place, seen in sorted(self._seen.items())
            if before.get(place) == seen
        ]
