"""One suite for both logs: what `shared.log.port` promises."""

import asyncio
import gc
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer
from support.memory_log import MemoryLog

from shared.log.embedded import FETCH_BYTES_MAX, EmbeddedLog
from shared.log.kafka import KafkaLog
from shared.log.partitioner import partition_of
from shared.log.port import (
    Log,
    LogReader,
    LogUnavailableError,
    LogWriter,
    Outgoing,
    Record,
    TopicPartition,
)
from shared.testing.kafka import KafkaNode, free_port

TOPIC = "ticket.created"
PARTITIONS = 3
PLACES = [TopicPartition(TOPIC, number) for number in range(PARTITIONS)]

# The sums that Kafka's own test of its Java murmur2 expects.
MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.fixture(params=["embedded", "memory", pytest.param("kafka", marks=pytest.mark.kafka)])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[Log]:
    made: Log
    if request.param == "embedded":
        make_database: Callable[[str], str] = request.getfixturevalue("make_database")
        made = await EmbeddedLog(make_database("log")).open()
    elif request.param == "memory":
        made = MemoryLog()
    else:
        made = KafkaLog(
            request.getfixturevalue("kafka_bootstrap"),
            prefix=request.getfixturevalue("topic_prefix"),
        )
    running = asyncio.all_tasks()
    await made.create_topics([TOPIC], PARTITIONS)
    yield made
    await made.close()
    await ended(running)


async def ended(before: set["asyncio.Task[Any]"]) -> None:
    """What a log, its writers and its readers start, must end with them."""
    before.add(cast("asyncio.Task[Any]", asyncio.current_task()))
    deadline = time.monotonic() + 5
    while left := asyncio.all_tasks() - before:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.01)


@pytest.fixture
async def writer(log: Log) -> AsyncIterator[LogWriter]:
    made = log.writer("test")
    yield made
    await made.close()


@pytest.fixture
async def reader(log: Log) -> AsyncIterator[LogReader]:
    made = log.reader("test")
    yield made
    await made.close()


def outgoing(key: int, number: int) -> Outgoing:
    return Outgoing(TOPIC, str(UUID(int=key)).encode(), f"{key}:{number}".encode())


def place_of(key: int) -> TopicPartition:
    return TopicPartition(TOPIC, partition_of(outgoing(key, 0).key, PARTITIONS))


async def read_on(reader: LogReader, count: int) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += await reader.fetch(records_max=50, wait_seconds=0.5)
    return found


async def read_from_start(reader: LogReader, count: int) -> list[Record]:
    await reader.assign(dict.fromkeys(PLACES, 0))
    return await read_on(reader, count)


def offsets_by_place(records: Iterable[Record]) -> dict[TopicPartition, list[int]]:
    found: dict[TopicPartition, list[int]] = {place: [] for place in PLACES}
    for record in records:
        found[TopicPartition(record.topic, record.partition)].append(record.offset)
    return found


async def append_tombstone(log: Log, key: bytes) -> None:
    """Our writers send none; another system, or a repair by hand, may."""
    number = partition_of(key, PARTITIONS)
    if isinstance(log, EmbeddedLog):
        await log.pool.execute(
            "WITH place AS (UPDATE partition SET next_offset = next_offset + 1"
            " WHERE topic = $1 AND partition = $2 RETURNING next_offset - 1 AS taken)"
            " INSERT INTO record (topic, partition, record_offset, key)"
            " SELECT $1, $2, taken, $3 FROM place",
            TOPIC,
            number,
            key,
        )
        return
    if isinstance(log, MemoryLog):
        held = log.records[TopicPartition(TOPIC, number)]
        held.append(Record(TOPIC, number, len(held), key, None, 0))
        return
    assert isinstance(log, KafkaLog)
    producer = AIOKafkaProducer(bootstrap_servers=log._bootstrap_servers)
    await producer.start()
    await producer.send_and_wait(log._prefix + TOPIC, None, key=key, partition=number)
    await producer.stop()


async def test_each_key_keeps_its_order_and_its_partition(
    writer: LogWriter, reader: LogReader
) -> None:
    for start in range(0, 40, 10):
        await writer.send([outgoing(n % 7, n) for n in range(start, start + 10)])
    records = await read_from_start(reader, 40)
    for key in range(7):
        mine = [
            record for record in records if record.value and record.value.startswith(b"%d:" % key)
        ]
        assert [record.value for record in mine] == [b"%d:%d" % (key, n) for n in range(key, 40, 7)]
        assert {record.partition for record in mine} == {place_of(key).partition}


async def test_a_key_lies_where_java_puts_it(writer: LogWriter, reader: LogReader) -> None:
    await writer.send([Outgoing(TOPIC, key, b"v") for key in MURMUR2])
    found = {record.key: record.partition for record in await read_from_start(reader, len(MURMUR2))}
    assert found == {key: (code & 0x7FFFFFFF) % PARTITIONS for key, code in MURMUR2.items()}


async def test_offsets_have_no_gaps_and_ends_tell_the_next_one(
    log: Log, writer: LogWriter, reader: LogReader
) -> None:
    assert await log.end_offsets([TOPIC]) == dict.fromkeys(PLACES, 0)
    await writer.send([outgoing(n, n) for n in range(30)])
    ends = await log.end_offsets([TOPIC])
    assert sum(ends.values()) == 30
    assert await log.begin_offsets([TOPIC]) == dict.fromkeys(PLACES, 0)
    found = offsets_by_place(await read_from_start(reader, 30))
    assert found == {place: list(range(ends[place])) for place in PLACES}


async def test_nothing_is_known_of_no_topics_and_of_unknown_ones(log: Log) -> None:
    for topics in ([], ["no.such"]):
        assert await log.partitions(topics) == {}
        assert await log.end_offsets(topics) == {}
        assert await log.begin_offsets(topics) == {}


async def test_a_reader_starts_where_it_is_told_and_can_be_told_again(
    writer: LogWriter, reader: LogReader
) -> None:
    await writer.send([outgoing(1, n) for n in range(10)])
    for start in (7, 2, 0, 9):
        await reader.assign({place_of(1): start})
        records = await read_on(reader, 10 - start)
        assert [record.offset for record in records] == list(range(start, 10))


async def test_a_reader_told_again_at_once_leaves_nothing_behind(
    log: Log, writer: LogWriter
) -> None:
    await writer.send([outgoing(1, n) for n in range(2)])

    async def change_its_mind(number: int) -> None:
        reader = log.reader(str(number))
        for start in (0, 1, 0):
            await reader.assign({place_of(1): start})
            await reader.fetch(records_max=1, wait_seconds=0.01)
        await reader.close()

    await asyncio.gather(*(change_its_mind(number) for number in range(8)))


async def test_a_reader_at_the_end_gets_only_what_comes_later(
    log: Log, writer: LogWriter, reader: LogReader
) -> None:
    await writer.send([outgoing(1, n) for n in range(5)])
    await reader.assign(await log.end_offsets([TOPIC]))
    assert await reader.fetch(records_max=10, wait_seconds=0.2) == []
    await writer.send([outgoing(1, 5)])
    assert [record.value for record in await read_on(reader, 1)] == [b"1:5"]


async def test_a_reader_gives_no_more_at_once_than_was_asked(
    writer: LogWriter, reader: LogReader
) -> None:
    await writer.send([outgoing(n, n) for n in range(20)])
    await reader.assign(dict.fromkeys(PLACES, 0))
    records: list[Record] = []
    async with asyncio.timeout(20):
        while len(records) < 20:
            some = await reader.fetch(records_max=3, wait_seconds=0.5)
            assert len(some) <= 3
            records += some
    assert sorted(record.value or b"" for record in records) == sorted(
        outgoing(n, n).value for n in range(20)
    )


async def test_a_fetch_holds_so_many_bytes_however_many_records_are_asked(
    writer: LogWriter, reader: LogReader
) -> None:
    large = b"x" * 900_000
    keys = [str(UUID(int=number)).encode() for number in range(40)]
    for start in range(0, len(keys), 10):
        await writer.send([Outgoing(TOPIC, key, large) for key in keys[start : start + 10]])
    await reader.assign(dict.fromkeys(PLACES, 0))
    found: list[Record] = []
    async with asyncio.timeout(30):
        while len(found) < len(keys):
            records = await reader.fetch(records_max=2_000, wait_seconds=0.5)
            assert len(records) * len(large) <= 1.2 * FETCH_BYTES_MAX
            found += records
    assert {record.key for record in found} == set(keys)


async def test_a_reader_that_was_not_told_to_go_on_reads_again(
    log: Log, writer: LogWriter, reader: LogReader
) -> None:
    """At least once: what a reader took before it died, the next one gets too."""
    await writer.send([outgoing(1, n) for n in range(4)])
    first = await read_from_start(reader, 4)
    await reader.publish({place_of(1): 4})
    await reader.close()
    heir = log.reader("test")
    assert await read_from_start(heir, 4) == first
    await heir.close()


async def test_what_is_sent_again_is_delivered_again(writer: LogWriter, reader: LogReader) -> None:
    batch = [outgoing(n, n) for n in range(5)]
    await writer.send(batch)
    await writer.send(batch)
    values = [record.value for record in await read_from_start(reader, 10)]
    assert sorted(values) == sorted([item.value for item in batch] * 2)


async def test_sending_nothing_does_nothing(log: Log, writer: LogWriter) -> None:
    await writer.send([])
    assert await log.end_offsets([TOPIC]) == dict.fromkeys(PLACES, 0)


async def test_a_waiting_reader_wakes_for_a_new_record(
    log: Log, writer: LogWriter, reader: LogReader
) -> None:
    await writer.send([outgoing(1, 0)])  # connects, so that only the waking is measured
    await reader.assign(await log.end_offsets([TOPIC]))
    assert await reader.fetch(records_max=10, wait_seconds=0.2) == []
    waiting = asyncio.create_task(reader.fetch(records_max=10, wait_seconds=20))
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    began = time.monotonic()
    await writer.send([outgoing(1, 1)])
    records = await waiting
    assert time.monotonic() - began < 1
    assert [record.value for record in records] == [b"1:1"]


async def test_a_large_value_passes(writer: LogWriter, reader: LogReader) -> None:
    value = b"x" * 900_000
    await writer.send([Outgoing(TOPIC, b"k", value)])
    assert (await read_from_start(reader, 1))[0].value == value


async def test_a_tombstone_is_a_record_without_a_value(
    log: Log, writer: LogWriter, reader: LogReader
) -> None:
    await writer.send([Outgoing(TOPIC, b"k", b"before")])
    await append_tombstone(log, b"k")
    await writer.send([Outgoing(TOPIC, b"k", b"after")])
    records = await read_from_start(reader, 3)
    assert [(record.key, record.value) for record in records] == [
        (b"k", b"before"),
        (b"k", None),
        (b"k", b"after"),
    ]


async def test_writers_at_once_lose_nothing_and_keep_their_own_order(
    log: Log, reader: LogReader
) -> None:
    async def send(name: int) -> None:
        writer = log.writer(str(name))
        for n in range(10):
            await writer.send([outgoing(name * 100 + key, n) for key in range(5)])
        await writer.close()

    await asyncio.gather(*(send(name) for name in range(1, 5)))
    records = await read_from_start(reader, 200)
    found = offsets_by_place(records)
    assert found == {place: list(range(len(offsets))) for place, offsets in found.items()}
    for key in [name * 100 + key for name in range(1, 5) for key in range(5)]:
        mine = [r.value for r in records if r.key == outgoing(key, 0).key]
        assert mine == [outgoing(key, n).value for n in range(10)]


async def test_creating_topics_again_changes_nothing(log: Log) -> None:
    assert await log.create_topics([TOPIC, "ticket.closed"], PARTITIONS + 1) == ["ticket.closed"]
    assert await log.create_topics([TOPIC, "ticket.closed"], PARTITIONS) == []
    assert await log.partitions([TOPIC]) == {TOPIC: PARTITIONS}


async def test_of_those_who_create_a_topic_at_once_one_did(log: Log) -> None:
    created = await asyncio.gather(*(log.create_topics(["ticket.rated"], 2) for _ in range(4)))
    assert sorted(created) == [[], [], [], ["ticket.rated"]]


async def test_an_unknown_topic_is_unavailable(log: Log, writer: LogWriter) -> None:
    with pytest.raises(LogUnavailableError):
        await writer.send([Outgoing("no.such.topic", b"k", b"v")])
    await log.check()
    await writer.send([outgoing(1, 1)])
    assert sum((await log.end_offsets([TOPIC])).values()) == 1


async def test_readers_that_begin_at_once_share_one_listener(
    make_database: Callable[[str], str],
) -> None:
    dsn = make_database("log")
    log = await EmbeddedLog(dsn).open()
    await log.create_topics([TOPIC], PARTITIONS)
    readers = [log.reader(str(number)) for number in range(5)]
    for each in readers:
        await each.assign({PLACES[0]: 0})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        await asyncio.gather(*(each.fetch(records_max=1, wait_seconds=0.1) for each in readers))
        gc.collect()
    await log.close()
    assert [str(warning.message) for warning in seen if "unclosed" in str(warning.message)] == []


@pytest.mark.kafka
async def test_a_topic_that_kafka_refuses_is_not_said_to_be_created(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    log = KafkaLog(kafka_bootstrap, prefix=topic_prefix, replication_factor=99)
    with pytest.raises(LogUnavailableError, match="InvalidReplicationFactor"):
        await log.create_topics([TOPIC], 1)
    assert await log.partitions([TOPIC]) == {}
    await log.close()


async def test_a_kafka_that_is_away_is_unavailable_and_nothing_is_left_open() -> None:
    log = KafkaLog(f"127.0.0.1:{free_port()}")
    writer, reader = log.writer("test"), log.reader("test")
    await reader.assign({PLACES[0]: 0})
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        with pytest.raises(LogUnavailableError):
            await log.check()
        with pytest.raises(LogUnavailableError):
            await writer.send([outgoing(1, 1)])
        with pytest.raises(LogUnavailableError):
            await reader.fetch(records_max=1, wait_seconds=0.1)
        gc.collect()
    assert [str(warning.message) for warning in seen if "aiokafka" in str(warning.message)] == []


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
    await read_on(reader, 4)

    await published_at_last(log, reader, f"{topic_prefix}reader", {place: 4})
    await reader.close()
    await writer.close()
    await log.close()


@pytest.mark.kafka
async def test_a_silent_kafka_does_not_hold_up_who_publishes(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    """The broker of the run is asked for only to know that one can be had."""
    node = KafkaNode(tmp_path)
    node.start()
    log = KafkaLog(node.bootstrap_servers)
    await log.create_topics([TOPIC], 1)
    writer, reader = log.writer("test"), log.reader("test")
    try:
        await writer.send([outgoing(1, 0)])
        await reader.assign({PLACES[0]: 0})
        await read_on(reader, 1)
        await published_at_last(log, reader, "test", {PLACES[0]: 0})
        node.pause()
        began = time.monotonic()
        await reader.publish({PLACES[0]: 1})
        assert time.monotonic() - began < 5
        node.resume()
        await writer.send([outgoing(1, 1)])
        assert [record.value for record in await read_on(reader, 1)] == [b"1:1"]
    finally:
        node.resume()
        await reader.close()
        await writer.close()
        await log.close()
        node.stop()


@pytest.mark.kafka
async def test_a_reader_goes_on_when_its_broker_was_started_again(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    """The broker of the run is asked for only to know that one can be had."""
    node = KafkaNode(tmp_path)
    node.start()
    log = KafkaLog(node.bootstrap_servers)
    await log.create_topics([TOPIC], PARTITIONS)
    writer, reader = log.writer("test"), log.reader("test")
    try:
        await reader.assign(dict.fromkeys(PLACES, 0))
        await writer.send([outgoing(1, 0), outgoing(2, 0)])
        await read_on(reader, 2)
        node.stop()
        node.start()
        await sent_at_last(writer, [outgoing(1, 1), outgoing(2, 1)])
        records = await read_on(reader, 2)
        assert sorted(record.value or b"" for record in records) == [b"1:1", b"2:1"]
    finally:
        await reader.close()
        await writer.close()
        await log.close()
        node.stop()


async def published_at_last(
    log: KafkaLog, reader: LogReader, name: str, positions: dict[TopicPartition, int]
) -> None:
    """A new broker chooses its coordinator first; meanwhile nothing can be published."""
    async with asyncio.timeout(30):
        while True:
            await reader.publish(positions)
            with suppress(LogUnavailableError):
                if await log.published(name) == positions:
                    return
            await asyncio.sleep(0.2)


async def sent_at_last(writer: LogWriter, records: list[Outgoing]) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                return await writer.send(records)
            except LogUnavailableError:
                await asyncio.sleep(0.1)
