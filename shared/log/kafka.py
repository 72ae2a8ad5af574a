"""KafkaLog: Apache Kafka through aiokafka, with the settings that survive a failing broker.

Two rules were learnt by killing brokers: an error on one delivery is fatal for its producer, which
must be dropped without flushing, and its records sent again by a new one; and positions are ours,
so there are no consumer groups, only `assign` and `seek` (R6).
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar, cast

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from shared.log.kafka_clients import (
    AWAY,
    CALL_SECONDS_MAX,
    REQUEST_TIMEOUT_MS,
    Client,
    Keeper,
    OnAbandoned,
    count_nothing,
)
from shared.log.kafka_reader import KafkaReader, client_of, make_consumer
from shared.log.partitioner import partition_of
from shared.log.port import (
    LogUnavailableError,
    Outgoing,
    TopicPartition,
    require_sizes,
)

BATCH_BYTES_MAX: Final = 1_000_000
SEND_SECONDS_MAX: Final = 25.0  # a record lives 5 s in aiokafka, then its sending has failed
T = TypeVar("T")
_TOPIC_CONFIG: Final = {"retention.ms": "-1", "cleanup.policy": "delete"}


class KafkaLog:
    """Topics of a Kafka cluster; `prefix` maps the desk's topic names to physical ones.

    `on_abandoned` counts the clients that had to be left behind.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        prefix: str = "",
        replication_factor: int = 1,
        on_abandoned: OnAbandoned = count_nothing,
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._prefix = prefix
        self._replication_factor = replication_factor
        self._on_abandoned = on_abandoned
        self._keeper = Keeper("desk", on_abandoned)
        self._admin: AIOKafkaAdminClient | None = None
        self._probe: Any = None  # aiokafka has no types for what is called here
        self._counts: dict[str, int] = {}
        self._lock = asyncio.Lock()

    def writer(self, name: str) -> "KafkaWriter":
        """See `Log.writer`.

        All writers of this log keep to the partition counts that the first of them met: if an
        admin raises one, records still go where readers look, until the desk is started again.
        """
        keeper = Keeper(name, self._on_abandoned)
        return KafkaWriter(self._bootstrap_servers, self._prefix, name, self._counts, keeper)

    def reader(self, name: str) -> "KafkaReader":
        """See `Log.reader`."""
        keeper = Keeper(name, self._on_abandoned)
        return KafkaReader(self._bootstrap_servers, self._prefix, name, keeper)

    async def create_topics(self, topics: Sequence[str], partitions: int) -> list[str]:
        """See `Log.create_topics`. Kept for ever, never compacted (R1)."""
        missing = sorted(set(topics) - (await self.partitions(topics)).keys())
        wanted = [
            NewTopic(
                self._prefix + topic,
                partitions,
                self._replication_factor,
                topic_configs=_TOPIC_CONFIG,
            )
            for topic in missing
        ]
        if not wanted:
            return []

        async def create() -> list[str]:
            answer = await (await self._connected_admin()).create_topics(wanted)
            return _created(answer.to_object()["topic_errors"])

        return sorted(topic.removeprefix(self._prefix) for topic in await self._ask(create))

    async def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """See `Log.partitions`."""

        async def describe() -> object:
            names = [self._prefix + topic for topic in topics]
            return await (await self._connected_admin()).describe_topics(names)

        return {
            topic["topic"].removeprefix(self._prefix): len(topic["partitions"])
            for topic in cast("list[dict[str, Any]]", await self._ask(describe))
            if topic["error_code"] == 0
        }

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """See `Log.end_offsets`."""
        return await self._offsets(topics, "end_offsets")

    async def begin_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """See `Log.begin_offsets`."""
        return await self._offsets(topics, "beginning_offsets")

    async def published(self, reader: str) -> dict[TopicPartition, int]:
        """Return what a reader of that name last published: what lag dashboards see."""

        async def fetch() -> object:
            admin = await self._connected_admin()
            return await admin.list_consumer_group_offsets(f"desk-{reader}")

        offsets = cast("dict[Any, Any]", await self._ask(fetch))
        return {
            TopicPartition(place.topic.removeprefix(self._prefix), place.partition): known.offset
            for place, known in offsets.items()
        }

    async def check(self) -> None:
        """See `Log.check`."""
        await self.partitions([])

    async def close(self) -> None:
        """See `Log.close`."""
        admin, self._admin = self._admin, None
        probe, self._probe = self._probe, None
        self._lock = asyncio.Lock()  # who hangs may hold the old one for ever
        clients = [
            *([] if admin is None else [_admin_client(admin)]),
            *([] if probe is None else [client_of(probe, "offsets")]),
        ]
        await asyncio.gather(*(self._keeper.put_away(client) for client in clients))

    async def _offsets(self, topics: Sequence[str], which: str) -> dict[TopicPartition, int]:
        counts = await self.partitions(topics)
        places = [
            KafkaPartition(self._prefix + topic, number)
            for topic, count in counts.items()
            for number in range(count)
        ]

        async def ask() -> object:
            probe = await self._connected_probe()
            # All topics at once; aiokafka would ask for one after the other, 0.1 s each.
            await probe._client.set_topics({p.topic for p in places})  # noqa: SLF001 no public way
            return await getattr(probe, which)(places)

        offsets = cast("dict[Any, int]", await self._ask(ask))
        return {
            TopicPartition(place.topic.removeprefix(self._prefix), place.partition): offset
            for place, offset in offsets.items()
        }

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Ask one question at a time, and wait for turn and answer no longer than is right."""
        lock = self._lock

        async def in_turn() -> T:
            async with lock:
                return await question()

        try:
            return await self._keeper.ask("admin", CALL_SECONDS_MAX, in_turn())
        except AWAY as error:
            await self.close()
            raise LogUnavailableError(
                f"Kafka at {self._bootstrap_servers}: {type(error).__name__}"
            ) from error

    async def _connected_admin(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            admin = AIOKafkaAdminClient(
                bootstrap_servers=self._bootstrap_servers, request_timeout_ms=REQUEST_TIMEOUT_MS
            )
            await self._keeper.start(_admin_client(admin))
            self._admin = admin
        return self._admin

    async def _connected_probe(self) -> Any:  # noqa: ANN401 see _probe
        if self._probe is None:
            probe = make_consumer(self._bootstrap_servers, "offsets")
            await self._keeper.start(client_of(probe, "offsets"))
            self._probe = probe
        return self._probe


def _admin_client(admin: AIOKafkaAdminClient) -> Client:
    inner: Any = admin._client  # noqa: SLF001 no public way  # pyright: ignore[reportPrivateUsage]
    return Client("admin", inner, admin.start, admin.close)


def _created(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the topics that are new. Raises: KafkaError, which aiokafka leaves to its caller."""
    created: list[str] = []
    for answer in answers:
        kind = for_code(answer["error_code"])
        if answer["error_code"] == 0:
            created.append(answer["topic"])
        elif kind is not TopicAlreadyExistsError:
            raise kind(f"{answer['topic']}: {answer['error_message']}")
    return created


class KafkaWriter:
    """An idempotent producer, acks from all in-sync replicas."""

    def __init__(
        self,
        bootstrap_servers: str,
        prefix: str,
        name: str,
        partitions: dict[str, int],
        keeper: Keeper,
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._prefix = prefix
        self._name = name
        self._keeper = keeper
        self._producer: Any = None  # aiokafka has no types for what is called here
        self._partitions = partitions

    async def send(self, records: Sequence[Outgoing]) -> None:
        """See `LogWriter.send`."""
        try:
            producer = await self._started()
            await self._keeper.ask("writer", SEND_SECONDS_MAX, self._send(producer, records))
        except AWAY as error:
            await self.close()
            raise LogUnavailableError(
                f"Kafka at {self._bootstrap_servers}: {type(error).__name__}"
            ) from error

    async def close(self) -> None:
        """See `LogWriter.close`. Does not flush: later records must not overtake a failed one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._keeper.put_away(_writer_client(producer))

    async def _send(self, producer: Any, records: Sequence[Outgoing]) -> None:  # noqa: ANN401 see _producer
        """Batches are made here: a future per record costs more than the record."""
        acknowledgements: list[asyncio.Future[Any]] = []
        for place, mine in (await self._placed(producer, records)).items():
            for batch in _batches(producer, mine):
                topic = self._prefix + place.topic
                acknowledgements.append(
                    await producer.send_batch(batch, topic, partition=place.partition)
                )
        await asyncio.gather(*acknowledgements)

    async def _started(self) -> Any:  # noqa: ANN401 see _producer
        if self._producer is None:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                client_id=f"desk-{self._name}",
                enable_idempotence=True,
                acks="all",
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                max_batch_size=BATCH_BYTES_MAX,
                max_request_size=2 * BATCH_BYTES_MAX,
            )
            await self._keeper.start(_writer_client(producer))
            self._producer = producer
        return self._producer

    async def _placed(
        self,
        producer: Any,  # noqa: ANN401 see _producer
        records: Sequence[Outgoing],
    ) -> dict[TopicPartition, list[Outgoing]]:
        require_sizes(records)
        await self._learn(producer, {record.topic for record in records})
        placed: defaultdict[TopicPartition, list[Outgoing]] = defaultdict(list)
        for record in records:
            number = partition_of(record.key, self._partitions[record.topic])
            placed[TopicPartition(record.topic, number)].append(record)
        return placed

    async def _learn(self, producer: Any, topics: set[str]) -> None:  # noqa: ANN401 see _producer
        if unknown := topics - self._partitions.keys():
            known = {self._prefix + topic for topic in topics | self._partitions.keys()}
            await producer.client.set_topics(known)  # at once, as in `KafkaLog._offsets`
            for topic in unknown:
                count = len(await producer.partitions_for(self._prefix + topic))
                self._partitions[topic] = count


def _writer_client(producer: Any) -> Client:  # noqa: ANN401 see KafkaWriter
    return Client("writer", producer.client, producer.start, partial(_end, producer))


async def _end(producer: Any) -> None:  # noqa: ANN401 see KafkaWriter
    """Stop a producer without a flush, for which its sender has to end first."""
    sender: asyncio.Task[None] | None = producer._sender.sender_task  # noqa: SLF001 no other way
    if sender is not None:
        sender.cancel()
        await asyncio.wait([sender])
    with suppress(asyncio.CancelledError):
        await producer.stop()
    await producer.client.close()  # `stop` forgets it when the sender was cancelled


def _batches(producer: Any, records: Sequence[Outgoing]) -> Iterator[Any]:  # noqa: ANN401 see KafkaWriter
    """Yield batches of one partition's records, each as full as it may be."""
    batch = producer.create_batch()
    for record in records:
        if batch.append(key=record.key, value=record.value, timestamp=None) is None:
            yield batch
            batch = producer.create_batch()
            batch.append(key=record.key, value=record.value, timestamp=None)
    yield batch
