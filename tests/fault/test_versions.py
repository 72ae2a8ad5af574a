"""Two versions side by side: a newer intake writes what the old ones do not know yet."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import asyncpg
import msgspec
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from services.host import ROOMS
from shared.clock import SystemClock
from shared.contracts import registry
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import Scope, TicketUpdated
from shared.contracts.upcasters import UPCASTERS
from shared.ids import event_id

TOPIC = TicketUpdated.TYPE


class NextTicketUpdated(TicketUpdated, frozen=True, kw_only=True):
    """Version 2 of `ticket.updated`: says who has looked at the change."""

    VERSION: ClassVar[int] = 2

    reviewed_by: str


def update(ticket: str, title: str) -> dict[str, object]:
    data = TicketUpdated(
        ticket_id=ticket,  # type: ignore[arg-type] encoded all the same
        title=title,
        description="",
        impact=None,
        urgency="high",
        scope=Scope(),
        category=None,
        service=None,
    )
    return msgspec.to_builtins(data)


async def append(
    dsn: str, ticket: str, sequence: int, data: dict[str, object], version: int
) -> None:
    """Append to intake's journal and outbox, as a newer replica on the same database does."""
    now = SystemClock().now()
    plain = msgspec.convert(data, TicketUpdated)
    value = msgspec.json.decode(
        encode_event(
            "intake",
            plain,
            sequence=sequence,
            event_id=event_id("intake", ticket, sequence),
            time=now,
            recorded_at=now,
            lineage=Lineage(actor="newer", correlation_id="c"),
        )
    )
    value |= {"data": data, "dataschema": f"urn:deskledger:event:{TOPIC}:v{version}"}
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO kernel.journal (stream_id, sequence, type, value) VALUES ($1, $2, $3, $4)",
            ticket,
            sequence,
            TOPIC,
            msgspec.json.encode(value),
        )
        await connection.execute(
            "INSERT INTO kernel.outbox (stream_id, sequence) VALUES ($1, $2)", ticket, sequence
        )
    await connection.close()


async def title(desk: InProcessDesk, ticket: str) -> str:
    return (await desk.clients["intake"].get(f"/tickets/{ticket}")).json()["title"]


async def parked(desk: InProcessDesk, name: str) -> list[dict[str, object]]:
    return (await desk.clients[name].get("/quarantine")).json()["quarantine"]


async def test_an_optional_field_nobody_knows_yet_is_passed_over(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path) as desk:
        ticket = await desk.report(1)
        await append(
            desk.dsns["intake"], ticket, 2, update(ticket, "Told by a newer one") | {"mood": "x"}, 1
        )
        await desk.settle()
        assert await title(desk, ticket) == "Told by a newer one"
        assert [await parked(desk, name) for name in desk.dsns] == [[]] * len(desk.dsns)
        await desk.check([ticket])


async def test_a_newer_version_waits_until_its_reader_is_upgraded(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_process_desk(make_database, tmp_path) as desk:
        tickets = [await desk.report(number) for number in range(3)]
        old, newer, untouched = tickets
        await append(desk.dsns["intake"], old, 2, update(old, "In the old way"), 1)
        await append(
            desk.dsns["intake"],
            newer,
            2,
            update(newer, "In the new way") | {"reviewed_by": "bo"},
            2,
        )
        await desk.settle()
        assert await title(desk, old) == "In the old way"
        assert await title(desk, newer) == "Report 1"
        readers = [name for name in desk.dsns if TOPIC in ROOMS[name]().spec.topics]
        for name in readers:
            assert [entry["reason"] for entry in await parked(desk, name)] == ["newer_version"]
        await desk.check(tickets)

        upgraded = registry._contract("intake", NextTicketUpdated)
        monkeypatch.setitem(registry._contracts(), TOPIC, upgraded)
        monkeypatch.setitem(UPCASTERS, (TOPIC, 1), lambda data: data | {"reviewed_by": "nobody"})
        for name in readers:
            (entry,) = await parked(desk, name)
            answer = await desk.clients[name].post(f"/quarantine/{entry['id']}/redrive")
            assert answer.json() == {"applied": True, "detail": None}, name
        await append(desk.dsns["intake"], untouched, 2, update(untouched, "Old, read by new"), 1)
        await desk.settle()
        assert await title(desk, newer) == "In the new way"
        assert await title(desk, untouched) == "Old, read by new"
        await desk.check(tickets)
