"""One suite for both logs: what `shared.log.port` promises."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from shared.log.embedded import EmbeddedLog
from shared.log.kafka import KafkaLog
from shared.log.partitioner import partition_of
from shared.log.port import Log, LogReader, LogUnavailableError, Outgoing, Record, TopicPartition

TOPIC = "ticket.created"
PARTITIONS = 3


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    made: Log
    if request.param == "embedded":
        make_database: Callable[[str], str] = request.getfixturevalue("make_database")
        made = await EmbeddedLog(make_database("log")).open()
    else:
        made = KafkaLog(
            request.getfixturevalue("kafka_bootstrap"),
            prefix=request.getfixturevalue("topic_prefix"),
        )
    await made.create_topics([TOPIC], PARTITIONS)
    yield made
    await made.close()


def outgoing(key: int, number: int) -> Outgoing:
    return Outgoing(TOPIC, str(UUID(int=key)).encode(), f"{key}:{number}".encode())


async def read_all(reader: LogReader, count: int) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await reader.fetch(records_max=50, wait_seconds=0.5)
    return found


async def read_from_start(log: Log, count: int) -> list[Record]:
    reader = log.reader("test")
    await reader.assign({TopicPartition(TOPIC, n): 0 for n in range(PARTITIONS)})
    try:
        return await read_all(reader, count)
    finally:
        await reader.close()


async def test_each_key_keeps_its_order_and_its_partition(log: Log) -> None:
    writer = log.writer("test")
    for start in range(0, 40, 10):
        await writer.send([outgoing(n % 7, n) for n in range(start, start + 10)])
    await writer.close()
    records = await read_from_start(log, 40)
    for key in range(7):
        mine = [
            record for record in records if record.value and record.value.startswith(b"%d:" % key)
        ]
        assert [record.value for record in mine] == [b"%d:%d" % (key, n) for n in range(key, 40, 7)]
        expected = partition_of(str(UUID(int=key)).encode(), PARTITIONS)
        assert {record.partition for record in mine} == {expected}


async def test_offsets_have_no_gaps_and_ends_tell_the_next_one(log: Log) -> None:
    writer = log.writer("test")
    await writer.send([outgoing(n, n) for n in range(30)])
    await writer.close()
    ends = await log.end_offsets([TOPIC])
    assert sum(ends.values()) == 30
    assert set((await log.begin_offsets([TOPIC])).values()) == {0}
    for place, end in ends.items():
        offsets = [
            r.offset for r in await read_from_start(log, 30) if r.partition == place.partition
        ]
        assert offsets == list(range(end))


async def test_a_reader_starts_where_it_is_told_and_can_be_told_again(log: Log) -> None:
    writer = log.writer("test")
    await writer.send([outgoing(1, n) for n in range(10)])
    place = TopicPartition(TOPIC, partition_of(outgoing(1, 0).key, PARTITIONS))
    reader = log.reader("test")
    for start in (7, 2):
        await reader.assign({place: start})
        records = await read_all(reader, 10 - start)
        assert [record.offset for record in records] == list(range(start, 10))
    await reader.close()
    await writer.close()


async def test_what_is_sent_again_is_delivered_again(log: Log) -> None:
    writer = log.writer("test")
    batch = [outgoing(n, n) for n in range(5)]
    await writer.send(batch)
    await writer.send(batch)
    await writer.close()
    values = [record.value for record in await read_from_start(log, 10)]
    assert sorted(values) == sorted([item.value for item in batch] * 2)


async def test_a_waiting_reader_wakes_for_a_new_record(log: Log) -> None:
    reader = log.reader("test")
    await reader.assign({TopicPartition(TOPIC, n): 0 for n in range(PARTITIONS)})
    assert await reader.fetch(records_max=10, wait_seconds=0.2) == []
    writer = log.writer("test")

    async def send_later() -> None:
        await asyncio.sleep(0.3)
        await writer.send([outgoing(1, 1)])

    sending = asyncio.create_task(send_later())
    records = await read_all(reader, 1)
    await sending
    assert records[0].value == b"1:1"
    await reader.close()
    await writer.close()


async def test_a_large_value_passes(log: Log) -> None:
    writer = log.writer("test")
    value = b"x" * 900_000
    await writer.send([Outgoing(TOPIC, b"k", value)])
    await writer.close()
    assert (await read_from_start(log, 1))[0].value == value


async def test_two_writers_lose_nothing(log: Log) -> None:
    writers = [log.writer("a"), log.writer("b")]

    async def send(writer: int) -> None:
        for n in range(10):
            await writers[writer].send([outgoing(writer * 100 + k, n) for k in range(5)])

    await asyncio.gather(send(0), send(1))
    for writer in writers:
        await writer.close()
    assert len({record.value for record in await read_from_start(log, 100)}) == 100


async def test_creating_topics_again_changes_nothing(log: Log) -> None:
    assert await log.create_topics([TOPIC], PARTITIONS + 1) == []
    assert await log.partitions([TOPIC, "no.such"]) == {TOPIC: PARTITIONS}


async def test_an_unknown_topic_is_unavailable(log: Log) -> None:
    writer = log.writer("test")
    with pytest.raises(LogUnavailableError):
        await writer.send([Outgoing("no.such.topic", b"k", b"v")])
    await writer.close()


@pytest.mark.kafka
async def test_published_positions_are_kept_by_kafka(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    log = KafkaLog(kafka_bootstrap, prefix=topic_prefix)
    await log.create_topics([TOPIC], 1)
    writer, reader = log.writer("test"), log.reader(f"{topic_prefix}reader")
    await writer.send([outgoing(1, n) for n in range(4)])
    place = TopicPartition(TOPIC, 0)
    await reader.assign({place: 0})
    await read_all(reader, 4)

    async def published() -> dict[TopicPartition, int]:
        try:
            return await log.published(f"{topic_prefix}reader")
        except LogUnavailableError:
            return {}  # a new broker chooses its coordinator first

    async with asyncio.timeout(30):
        while await published() != {place: 4}:
            await reader.publish({place: 4})
            await asyncio.sleep(0.2)
    await reader.close()
    await writer.close()
    await log.close()
