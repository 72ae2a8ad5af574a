"""What dashboards are told of a reader: what is new, and once in a while all."""

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from shared.log import kafka_reader
from shared.log.kafka_reader import KafkaReader
from shared.log.port import TopicPartition

HERE = TopicPartition("ticket.created", 0)
THERE = TopicPartition("ticket.created", 1)


class Consumer:
    """Keeps what was committed; refuses the first commit if told so."""

    def __init__(self) -> None:
        self.commits: list[dict[int, int]] = []
        self.is_away = False

    async def commit(self, offsets: dict[Any, int]) -> None:
        if self.is_away:
            raise KafkaConnectionError
        self.commits.append({place.partition: offset for place, offset in offsets.items()})


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def reader(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> KafkaReader:
    made = KafkaReader("nowhere:9092", "", "test")
    monkeypatch.setattr(made, "_consumer", consumer)
    return made


async def test_only_positions_that_moved_are_published(
    reader: KafkaReader, consumer: Consumer
) -> None:
    await reader.publish({HERE: 1, THERE: 1})
    await reader.publish({HERE: 1, THERE: 1})
    await reader.publish({HERE: 1, THERE: 2})
    assert consumer.commits == [{0: 1, 1: 1}, {1: 2}]


async def test_what_could_not_be_published_is_published_next_time(
    reader: KafkaReader, consumer: Consumer
) -> None:
    consumer.is_away = True
    await reader.publish({HERE: 1})
    consumer.is_away = False
    await reader.publish({HERE: 1})
    assert consumer.commits == [{0: 1}]


async def test_all_is_published_again_before_kafka_forgets_it(
    reader: KafkaReader, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_reader, "PUBLISH_ALL_SECONDS", 0)
    await reader.publish({HERE: 1})
    await reader.publish({HERE: 1})
    assert consumer.commits == [{0: 1}, {0: 1}]
