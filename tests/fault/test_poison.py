"""Records that nobody can apply: parked, counted, passed by, left out of a rebuild, redriven."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from support.bent_log import Blanked
from support.histories import created, written
from support.inprocess import PARTITIONS, InProcessDesk, in_process_desk
from support.invariants import broken_invariants

from services.host import ROOMS
from shared.contracts.registry import INBOUND
from shared.log.embedded import EmbeddedLog
from shared.log.kafka import KafkaLog
from shared.log.partitioner import partition_of
from shared.log.port import Log, Outgoing
from shared.postgres.pool import open_pool
from shared.replay.rebuild import verify

TOPIC = "ticket.created"
BIG_BYTES = 5_000_000


def altered(ticket_id: str, **parts: object) -> bytes:
    """Return a sound event with some parts of its envelope replaced."""
    (event,) = written("intake", [created(UUID(ticket_id))])
    return msgspec.json.encode(msgspec.json.decode(event.value) | parts)


def with_data(ticket_id: str, **fields: object) -> bytes:
    data = msgspec.json.decode(altered(ticket_id))["data"]
    return altered(ticket_id, data=data | fields)


POISON: dict[str, Callable[[str], bytes | None]] = {
    "not_json": lambda _: b'{"specversion": oh',
    "schema": lambda ticket: with_data(ticket, title=7),
    "newer_version": lambda ticket: altered(ticket, dataschema=f"urn:deskledger:event:{TOPIC}:v99"),
    "tombstone": lambda _: None,
    "wrong_key": lambda ticket: altered(ticket, subject="another"),
    "wrong_writer": lambda ticket: altered(ticket, source="/desk/sla"),
    "wrong_topic": lambda ticket: altered(ticket, type="ticket.updated"),
    "envelope": lambda ticket: altered(ticket, sequence="one"),
}


async def write(log: Log, topic: str, key: bytes, *values: bytes | None) -> None:
    """Write records straight to the log, past every writer's own care."""
    if isinstance(log, KafkaLog):
        await write_to_kafka(log, topic, key, *values)
        return
    writer = log.writer("poison")
    for value in values:
        await writer.send([Outgoing(topic, key, value)])  # type: ignore[arg-type] a tombstone
    await writer.close()


async def write_to_kafka(log: KafkaLog, topic: str, key: bytes, *values: bytes | None) -> None:
    """Write as any other client does; the desk's own writer takes no tombstone."""
    producer = AIOKafkaProducer(bootstrap_servers=log._bootstrap_servers)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(
                log._prefix + topic, value, key=key, partition=partition_of(key, PARTITIONS)
            )
    finally:
        await producer.stop()


async def parked(desk: InProcessDesk, name: str) -> list[str]:
    answer = await desk.clients[name].get("/quarantine?limit=200")
    return [entry["reason"] for entry in answer.json()["quarantine"]]


async def nothing_else_is_touched(desk: InProcessDesk, acknowledged: set[str]) -> None:
    """Check the invariants on the sound events, and the read models on all records."""
    assert not await broken_invariants(desk.dsns, Blanked(desk.log), acknowledged)
    for name, dsn in desk.dsns.items():
        pool = await open_pool(dsn, role="desk_replay", name="test", size_max=1)
        verdicts = await verify(ROOMS[name]().spec.read_model, desk.log, pool)
        await pool.close()
        assert all(verdict.agrees for verdict in verdicts), name


def counted(metrics: str, service: str, reason: str) -> float:
    """Return what the counter of parked records says."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in metrics.splitlines()
        if line.startswith("desk_quarantine_total{")
        and f'service="{service}"' in line
        and f'reason="{reason}"' in line
    )


async def are_parked_and_passed(
    desk: InProcessDesk, poison: dict[str, Callable[[str], bytes | None]]
) -> None:
    acknowledged = {await desk.report(number) for number in range(3)}
    ticket = min(acknowledged)
    await write(desk.log, TOPIC, ticket.encode(), *(make(ticket) for make in poison.values()))
    acknowledged |= {await desk.report(number) for number in range(3, 6)}
    await desk.settle()
    readers = [name for name in desk.dsns if TOPIC in ROOMS[name]().spec.topics]
    assert len(readers) >= min(3, len(desk.dsns))
    for name in readers:
        assert await parked(desk, name) == list(poison), name
        metrics = (await desk.clients[name].get("/metrics")).text
        assert {counted(metrics, name, reason) for reason in poison} == {1.0}, name
    await nothing_else_is_touched(desk, acknowledged)


async def test_poison_is_parked_counted_and_passed_by_everyone(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path) as desk:
        await are_parked_and_passed(desk, POISON)


@pytest.mark.kafka
@pytest.mark.timeout(120)
async def test_on_kafka_too(
    make_database: Callable[[str], str], tmp_path: Path, kafka_bootstrap: str, topic_prefix: str
) -> None:
    log = KafkaLog(kafka_bootstrap, prefix=topic_prefix, replication_factor=1)
    try:
        services = ("intake", "sla", "reporting")
        async with in_process_desk(make_database, tmp_path, log=log, services=services) as desk:
            await are_parked_and_passed(desk, POISON)
    finally:
        await log.close()


async def test_a_record_of_five_megabytes_stops_nobody(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.log.embedded.require_sizes", lambda _records: None)
    big: Callable[[str], bytes | None] = lambda ticket: with_data(  # noqa: E731 one of a kind
        ticket, description="x" * BIG_BYTES
    )
    async with in_process_desk(make_database, tmp_path) as desk:
        await are_parked_and_passed(desk, {"schema": big})


def report(report_id: str, **fields: object) -> bytes:
    """Return what another system writes to the desk's inbound topic."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": report_id,
            "source": "/printers",
            "type": INBOUND,
            "dataschema": f"urn:deskledger:event:{INBOUND}:v2",
            "data": {"requester": {"id": "ann"}, "title": "Paper jam", **fields},
        }
    )


async def test_what_was_refused_is_applied_once_after_the_rule_has_changed(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await EmbeddedLog(make_database("log")).open()
    try:
        async with in_process_desk(make_database, tmp_path, log=log) as desk:
            dsns = desk.dsns
            await write(
                log,
                INBOUND,
                b"printers",
                report("1"),
                report("2", category="printing"),
                report("3"),
            )
            await desk.settle()
            assert await parked(desk, "intake") == ["InvalidInputError"]
            client = desk.clients["intake"]
            number = (await client.get("/quarantine")).json()["quarantine"][0]["id"]
            again = await client.post(f"/quarantine/{number}/redrive")
            assert again.json()["applied"] is False
            assert "category" in again.json()["detail"]
            await desk.check()
        monkeypatch.setenv("INTAKE_CATEGORIES", "printing")
        async with in_process_desk(make_database, tmp_path, log=log, dsns=dsns) as desk:
            client = desk.clients["intake"]
            assert (await client.post(f"/quarantine/{number}/redrive")).json()["applied"] is True
            assert (await client.post(f"/quarantine/{number}/redrive")).status_code == 404
            await desk.settle()
            tickets = (await client.get("/tickets")).json()["tickets"]
            assert sorted(ticket["category"] or "" for ticket in tickets) == ["", "", "printing"]
            await desk.check([ticket["ticket_id"] for ticket in tickets])
    finally:
        await log.close()


REPORT = report("hostile")
HOSTILE: dict[str, bytes] = {
    "nested too deeply": REPORT.replace(
        b'"data":', b'"extra":' + b"[" * 200_000 + b"]" * 200_000 + b',"data":'
    ),
    "a version of 5,000 digits": REPORT.replace(b":v2", b":v" + b"9" * 5_000),
    "U+0000 in a name that is not known": report("hostile", **{"\0x": 1}),
    "U+0000 in a text": report("hostile", title="a\0b"),
    "U+0000 in a person's name": report("hostile", requester={"id": "ann", "name": "\0"}),
    "an instant before the year 1": report("hostile", occurred_at="0001-01-01T00:00:00+14:00"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_bytes_stop_intake(
    name: str, make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path, services=("intake", "reporting")) as desk:
        await write(desk.log, INBOUND, b"one", HOSTILE[name], report("after"))
        await desk.settle(8)
        assert len(await parked(desk, "intake")) == 1
        tickets = (await desk.clients["intake"].get("/tickets")).json()["tickets"]
        assert len(tickets) == 1, "the next report of the same partition"
        await desk.check([tickets[0]["ticket_id"]])


async def test_a_report_from_before_all_time_is_refused_at_the_door_too(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path, services=("intake",)) as desk:
        body = {
            "requester": {"id": "ann"},
            "title": "Long ago",
            "occurred_at": "0001-01-01T00:00:00+14:00",
        }
        answer = await desk.clients["intake"].post("/tickets", json=body)
        assert answer.status_code == 422, answer.text
        assert answer.json()["field"] == "/occurred_at"
        await desk.settle()
        await desk.check()
