"""What dashboards are told of a reader: what is new, and once in a while all."""

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.commit import OffsetCommitRequest

from shared.log import kafka_positions
from shared.log.kafka_clients import Keeper, count_nothing
from shared.log.kafka_positions import KafkaPositions
from shared.log.port import TopicPartition

HERE = TopicPartition("ticket.created", 0)
THERE = TopicPartition("ticket.created", 1)


class Answer:
    def __init__(self, topics: list[tuple[str, list[tuple[int, int]]]]) -> None:
        self.topics = topics


class Coordinator:
    """Stands for aiokafka's client; keeps what was committed, or refuses it if told so."""

    def __init__(self) -> None:
        self.commits: list[dict[int, int]] = []
        self.is_away = False
        self.error_code = 0
        self._sync_task = None
        self._conns: dict[object, object] = {}

    async def bootstrap(self) -> None: ...

    async def close(self) -> None: ...

    async def coordinator_lookup(self, kind: int, group: str) -> int:
        assert group == "desk-test"
        return 1

    async def send(self, node: int, request: OffsetCommitRequest, *, group: object) -> Answer:
        if self.is_away:
            raise KafkaConnectionError
        [(topic, places)] = request._topics
        if not self.error_code:
            self.commits.append({partition: offset for partition, offset, _ in places})
        return Answer([(topic, [(partition, self.error_code) for partition, _, _ in places])])


@pytest.fixture
def coordinator(monkeypatch: pytest.MonkeyPatch) -> Coordinator:
    made = Coordinator()
    monkeypatch.setattr(kafka_positions, "AIOKafkaClient", lambda **_: made)
    return made


async def publish(positions: KafkaPositions, *news: dict[TopicPartition, int]) -> None:
    """Publish one after the other, as who comes by every second and a half does."""
    for each in news:
        positions.publish(each)
        if positions._task is not None:
            await positions._task


@pytest.fixture
def positions(coordinator: Coordinator) -> KafkaPositions:
    return KafkaPositions("nowhere:9092", "", "test", Keeper("test", count_nothing))


async def test_only_positions_that_moved_are_published(
    positions: KafkaPositions, coordinator: Coordinator
) -> None:
    await publish(positions, {HERE: 1, THERE: 1}, {HERE: 1, THERE: 1}, {HERE: 1, THERE: 2})
    assert coordinator.commits == [{0: 1, 1: 1}, {1: 2}]


async def test_what_could_not_be_published_is_published_next_time(
    positions: KafkaPositions, coordinator: Coordinator
) -> None:
    coordinator.is_away = True
    await publish(positions, {HERE: 1})
    coordinator.is_away = False
    await publish(positions, {HERE: 1})
    assert coordinator.commits == [{0: 1}]


async def test_what_the_coordinator_refused_is_published_next_time(
    positions: KafkaPositions, coordinator: Coordinator
) -> None:
    coordinator.error_code = 16  # it is the coordinator no more
    await publish(positions, {HERE: 1})
    coordinator.error_code = 0
    await publish(positions, {HERE: 1})
    assert coordinator.commits == [{0: 1}]


async def test_all_is_published_again_before_kafka_forgets_it(
    positions: KafkaPositions, coordinator: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_positions, "PUBLISH_ALL_SECONDS", 0)
    await publish(positions, {HERE: 1}, {HERE: 1})
    assert coordinator.commits == [{0: 1}, {0: 1}]
