"""Where readers are, told to Kafka for lag dashboards as group `desk-<service>`; never read back.

Apart from the reading (ADR 0021): a client and a task of its own, which may hang for all we care.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import for_code
from aiokafka.protocol.commit import OffsetCommitRequest

from shared.log.kafka_clients import (
    AWAY,
    CALL_SECONDS_MAX,
    REQUEST_TIMEOUT_MS,
    Client,
    Keeper,
)
from shared.log.port import TopicPartition

PUBLISH_ALL_SECONDS: Final = 3_600
_NOT_A_MEMBER: Final = ""
_log = structlog.get_logger()


class KafkaPositions:
    """Publishes the positions of one reader, one request at a time, the newest when it is due."""

    def __init__(self, bootstrap_servers: str, prefix: str, name: str, keeper: Keeper) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._prefix = prefix
        self._name = name
        self._keeper = keeper
        self._client: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._published: dict[TopicPartition, int] = {}
        self._publish_all_at = 0.0
        self._is_away = False

    def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        """Begin to publish what is new; nothing while the last time is not over yet."""
        if self._task is not None and not self._task.done():
            return
        now = asyncio.get_running_loop().time()
        if now >= self._publish_all_at:
            self._published.clear()  # Kafka forgets after a week what is not said again
            self._publish_all_at = now + PUBLISH_ALL_SECONDS
        if news := dict(positions.items() - self._published.items()):
            self._task = asyncio.create_task(self._try_to_publish(news))

    async def close(self) -> None:
        """Give up what is under way, and the client."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        client, self._client = self._client, None
        if client is not None:
            await self._keeper.put_away(client)

    async def _try_to_publish(self, news: Mapping[TopicPartition, int]) -> None:
        try:
            client = await self._connected()
            await self._keeper.ask(client.kind, CALL_SECONDS_MAX, self._commit(client.inner, news))
        except (*AWAY, AssertionError) as error:  # aiokafka asserts that it knows a broker
            if not self._is_away:
                _log.warning("positions_unpublished", service=self._name, reason=repr(error))
            self._is_away = True
            client, self._client = self._client, None
            if client is not None:
                await self._keeper.put_away(client)
        else:
            self._is_away = False
            self._published |= news

    async def _connected(self) -> Client:
        if self._client is None:
            inner: Any = AIOKafkaClient(
                bootstrap_servers=self._bootstrap_servers,
                client_id=f"desk-{self._name}-positions",
                request_timeout_ms=REQUEST_TIMEOUT_MS,
            )
            client = Client("positions", inner, inner.bootstrap, inner.close)
            await self._keeper.start(client)
            self._client = client
        return self._client

    async def _commit(self, inner: Any, news: Mapping[TopicPartition, int]) -> None:  # noqa: ANN401 aiokafka has no types for it
        """Ask the group's coordinator to keep these; who reads is no member of the group."""
        group = f"desk-{self._name}"
        by_topic: defaultdict[str, list[tuple[int, int, str]]] = defaultdict(list)
        for place, position in news.items():
            by_topic[self._prefix + place.topic].append((place.partition, position, ""))
        coordinator = await inner.coordinator_lookup(CoordinationType.GROUP, group)
        answer = await inner.send(
            coordinator,
            OffsetCommitRequest(
                group,
                OffsetCommitRequest.DEFAULT_GENERATION_ID,
                _NOT_A_MEMBER,
                OffsetCommitRequest.DEFAULT_RETENTION_TIME,
                list(by_topic.items()),
            ),
            group=ConnectionGroup.COORDINATION,
        )
        for topic, partitions in answer.topics:
            for partition, code in partitions:
                if code:
                    raise for_code(code)(f"{topic}-{partition}")
