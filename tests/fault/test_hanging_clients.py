"""Clients of Kafka that hang: whoever waits for one goes on with another, and all can be ended."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from shared.log import kafka, kafka_clients, kafka_reader
from shared.log.kafka import KafkaLog
from shared.log.port import LogUnavailableError, Outgoing, TopicPartition
from shared.testing.kafka import free_port
from shared.testing.proxy import TcpProxy

pytestmark = [pytest.mark.kafka, pytest.mark.xdist_group("hanging")]
TOPIC = "ticket.created"
HERE = TopicPartition(TOPIC, 0)
Hang = Callable[..., Awaitable[None]]
Abandoned = Counter[tuple[str, str]]


@pytest.fixture
def abandoned() -> Abandoned:
    return Counter()


@pytest.fixture
async def log(
    kafka_bootstrap: str, topic_prefix: str, abandoned: Abandoned, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[KafkaLog]:
    for place, name in (
        (kafka_clients, "STOP_SECONDS_MAX"),
        (kafka_reader, "CALL_SECONDS_MAX"),
        (kafka, "CALL_SECONDS_MAX"),
        (kafka, "SEND_SECONDS_MAX"),
    ):
        monkeypatch.setattr(place, name, 1.0)

    def count(service: str, client: str) -> None:
        abandoned[service, client] += 1

    made = KafkaLog(kafka_bootstrap, prefix=topic_prefix, on_abandoned=count)
    await created(made)
    yield made
    await made.close()


async def created(log: KafkaLog) -> None:
    """A new broker may take longer than these tests let anybody wait."""
    async with asyncio.timeout(30):
        while True:
            try:
                await log.create_topics([TOPIC], 1)
            except LogUnavailableError:
                await asyncio.sleep(0.1)
            else:
                return


def record(number: int) -> Outgoing:
    return Outgoing(TOPIC, b"k", str(number).encode())


@pytest.fixture
async def for_ever() -> AsyncIterator[Hang]:
    """Lose every cancellation, as code does that waits by `asyncio.wait_for` of Python 3.11."""
    over = asyncio.Event()

    async def hang(*_: object, **__: object) -> None:
        while not over.is_set():
            with suppress(asyncio.CancelledError):
                await over.wait()

    yield hang
    over.set()


async def bounded(work: Awaitable[Any]) -> Any:
    """Wait as a user would: for a while, whatever becomes of it."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=8)
    assert done, "it hangs"
    return task.result()


async def values(reader: Any) -> list[bytes | None]:
    async with asyncio.timeout(8):
        while not (found := await reader.fetch(records_max=10, wait_seconds=0.2)):
            pass
        return [each.value for each in found]


async def test_a_reader_whose_client_never_stops_reads_on_with_another(
    log: KafkaLog, abandoned: Abandoned, for_ever: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = log.writer("sla"), log.reader("sla")
    await writer.send([record(1)])
    await reader.assign({HERE: 0})
    assert await values(reader) == [b"1"]
    old = reader._consumer
    stop = old.stop
    monkeypatch.setattr(old, "stop", for_ever)
    await reader.assign({HERE: 1})
    await bounded(writer.send([record(2)]))
    assert await bounded(values(reader)) == [b"2"]
    assert reader._consumer is not old
    assert not any(each.connected() for each in old._client._conns.values()), "sockets are closed"
    assert abandoned == {("sla", "reader"): 1}
    await bounded(reader.close())
    await writer.close()
    await stop()


async def test_a_reader_whose_metadata_never_come_reads_on_with_another(
    log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found: the task that asks for them had ended, and stopping waited for its news."""
    writer, reader = log.writer("sla"), log.reader("sla")
    await writer.send([record(1)])
    await reader.assign({HERE: 0})
    assert await values(reader) == [b"1"]
    inner = reader._consumer._client
    inner._sync_task.cancel()
    inner.cluster._partitions.clear()  # as after brokers were lost: nobody leads anything
    inner.cluster._brokers.clear()
    for connection in list(inner._conns.values()):
        connection.close()
    await reader.publish({HERE: 1})
    await reader.assign({HERE: 1})
    await writer.send([record(2)])
    assert await bounded(values(reader)) == [b"2"]
    await bounded(reader.close())
    await writer.close()


async def test_a_reader_that_nobody_answers_takes_another_client(
    log: KafkaLog, abandoned: Abandoned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without leaders aiokafka's `getmany` returns nothing, again and again, for ever."""
    monkeypatch.setattr(kafka_reader, "SILENCE_SECONDS_MAX", 1.0)
    writer, reader = log.writer("sla"), log.reader("sla")
    await writer.send([record(1)])
    await reader.assign({HERE: 0})
    assert await values(reader) == [b"1"]
    inner = reader._consumer._client
    inner._sync_task.cancel()
    inner.cluster._partitions.clear()
    with pytest.raises(LogUnavailableError, match="KafkaTimeoutError"):
        await bounded(values(reader))
    await writer.send([record(2)])
    assert await bounded(values(reader)) == [b"2"]
    assert abandoned == {("sla", "reader"): 1}
    await reader.close()
    await writer.close()


async def test_a_fetch_that_never_returns_is_given_up(
    log: KafkaLog, abandoned: Abandoned, for_ever: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = log.writer("sla"), log.reader("sla")
    await writer.send([record(1)])
    await reader.assign({HERE: 0})
    assert await values(reader) == [b"1"]
    await writer.send([record(2)])
    monkeypatch.setattr(reader._consumer, "getmany", for_ever)
    with pytest.raises(LogUnavailableError):
        await bounded(reader.fetch(records_max=1, wait_seconds=0.1))
    assert await bounded(values(reader)) == [b"2"]
    assert abandoned == {("sla", "reader"): 1}
    await reader.close()
    await writer.close()


@pytest.mark.parametrize("part", ["send_batch", "stop"])
async def test_a_writer_whose_client_hangs_is_given_up_and_the_next_one_sends(
    part: str, log: KafkaLog, abandoned: Abandoned, for_ever: Hang, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = log.writer("sla"), log.reader("sla")
    await writer.send([record(1)])
    producer: Any = writer._producer
    stop = producer.stop
    monkeypatch.setattr(producer, part, for_ever)
    if part == "send_batch":
        with pytest.raises(LogUnavailableError):
            await bounded(writer.send([record(2)]))
    else:
        await bounded(writer.close())
    await bounded(writer.send([record(2)]))
    await reader.assign({HERE: 0})
    assert await values(reader) == [b"1", b"2"]
    assert abandoned == {("sla", "writer"): 1}
    await reader.close()
    await writer.close()
    await stop()


ASKED: list[Callable[[KafkaLog], Awaitable[object]]] = [
    lambda log: log.end_offsets([TOPIC]),
    lambda log: log.partitions([TOPIC]),
]


@pytest.mark.parametrize("ask", ASKED)
async def test_a_question_that_is_never_answered_holds_up_no_other(
    ask: Callable[[KafkaLog], Awaitable[object]],
    log: KafkaLog,
    for_ever: Hang,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer = await ask(log)
    for client in (log._admin, log._probe):
        if client is not None:
            for name in ("describe_topics", "end_offsets"):
                monkeypatch.setattr(client, name, for_ever, raising=False)
    asked = [asyncio.create_task(bounded(ask(log))) for _ in range(3)]
    first = await asyncio.gather(*asked, return_exceptions=True)
    assert any(isinstance(each, LogUnavailableError) for each in first)
    assert await bounded(ask(log)) == answer


async def test_positions_that_cannot_be_published_hold_up_nothing(
    log: KafkaLog,
    kafka_bootstrap: str,
    abandoned: Abandoned,
    for_ever: Hang,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    writer, reader = log.writer("sla"), log.reader("sla")
    await reader.assign({HERE: 0})
    await writer.send([record(1)])
    monkeypatch.setattr("shared.log.kafka_positions.AIOKafkaClient.coordinator_lookup", for_ever)
    await bounded(reader.publish({HERE: 0}))
    assert await values(reader) == [b"1"]
    await bounded(reader.publish({HERE: 1}))
    await writer.send([record(2)])
    assert await values(reader) == [b"2"]
    await bounded(reader.close())
    await writer.close()


@pytest.mark.parametrize("part", ["check", "writer", "reader"])
async def test_a_broker_that_takes_connections_and_never_answers_is_away(
    part: str, abandoned: Abandoned, kafka_bootstrap: str
) -> None:
    host, port = kafka_bootstrap.split(":")
    with TcpProxy(free_port(), int(port)) as proxy:
        proxy.set_mode("black_hole")
        log = KafkaLog(f"{host}:{proxy.port}")
        writer, reader = log.writer("sla"), log.reader("sla")
        await reader.assign({HERE: 0})
        work: dict[str, Callable[[], Awaitable[object]]] = {
            "check": log.check,
            "writer": lambda: writer.send([record(1)]),
            "reader": lambda: reader.fetch(records_max=1, wait_seconds=0.1),
        }
        with pytest.raises(LogUnavailableError):
            await bounded(work[part]())
        for each in (reader, writer, log):
            await bounded(each.close())
