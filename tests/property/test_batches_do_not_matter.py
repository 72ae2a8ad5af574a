"""However records are batched, intake decides the same, down to the cause of each event."""

from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.histories import START, created, written
from support.read_in_batches import Reading, reading, splits
from support.sla_desk import HandClock

from services.intake.wiring import room as intake
from shared.contracts.base import EventData
from shared.contracts.envelope import Envelope, dataschema_of
from shared.contracts.intake import (
    Requester,
    TicketMerged,
    TicketReopened,
    TicketReported,
    TicketResolved,
)
from shared.contracts.registry import INBOUND
from shared.contracts.routing import TicketEscalated
from shared.log.port import Record

SEEDS = range(12)
MONITOR = "/monitor"
OTHER = "/other"


def report(report_id: str, chance: Random, tickets: list[UUID]) -> Record:
    """Return a report: some ids come again, some with other content, some name no category."""
    data = TicketReported(
        requester=Requester(id="ann"),
        title=chance.choice(["VPN", "VPN", "printer"]),
        category=chance.choice(["network", "software", "none of these"]),
        ticket_id=chance.choice([None, *tickets]),
        split_from=chance.choice([None, None, *tickets]),
    )
    value = Envelope(
        specversion="1.0",
        id=report_id,
        source=chance.choice([MONITOR, MONITOR, OTHER]),
        type=TicketReported.TYPE,
        time=START,
        datacontenttype="application/json",
        dataschema=dataschema_of(TicketReported.TYPE, TicketReported.VERSION),
        data=msgspec.Raw(msgspec.json.encode(data)),
    )
    return Record(INBOUND, 0, 0, report_id.encode(), msgspec.json.encode(value), 0)


def life(ticket_id: UUID, tickets: list[UUID], chance: Random) -> list[EventData]:
    """Return what intake wrote of a ticket: of which it is a part, and in which one it ended."""
    whole, heir = (chance.choice([one for one in tickets if one != ticket_id]) for _ in "ab")
    first = msgspec.structs.replace(created(ticket_id), number=f"OLD-{ticket_id.int % 1000}")
    solved = TicketResolved(ticket_id=ticket_id, resolved_by="bo", resolution="done")
    events: list[EventData] = [
        msgspec.structs.replace(first, split_from=chance.choice([None, whole]))
    ]
    if chance.random() < 0.4:
        again = TicketReopened(ticket_id=ticket_id, reopened_by="ann", reason="no", reopen_count=1)
        events += [solved, again]
    end = TicketMerged(ticket_id=ticket_id, into=heir, merged_by="bo")
    return [*events, chance.choice([solved, end])]


def escalated(ticket_id: UUID, chance: Random) -> list[EventData]:
    event = TicketEscalated(
        ticket_id=ticket_id,
        kind="functional",
        from_line=1,
        to_line=2,
        from_group=None,
        to_group="network-experts",
        escalation_count=1,
        reasons=(),
    )
    return [event] * chance.randrange(2)


def told_to_intake(seed: int) -> list[Record]:
    """Return reports and events about them in one of the orders in which a log may give them."""
    chance = Random(seed)
    names = [f"report-{number}" for number in range(8)]
    tickets = [UUID(int=number, version=4) for number in range(101, 105)]
    others = [UUID(int=number) for number in range(1, 7)]
    by_topic: defaultdict[str, list[Record]] = defaultdict(list)
    by_topic[INBOUND] = [report(chance.choice(names), chance, tickets) for _ in range(30)]
    for ticket_id in others:
        for writer, events in (
            ("intake", life(ticket_id, tickets + others, chance)),
            ("routing", escalated(ticket_id, chance)),
        ):
            for event in written(writer, events):
                again = 1 + (chance.random() < 0.2)
                record = Record(event.type, 0, 0, event.stream_id.encode(), event.value, 0)
                by_topic[event.type] += [record] * again
    order = [topic for topic, records in by_topic.items() for _ in records]
    chance.shuffle(order)
    places: defaultdict[str, int] = defaultdict(int)
    found: list[Record] = []
    for topic in order:
        record = by_topic[topic][places[topic]]
        found.append(msgspec.structs.replace(record, offset=places[topic]))
        places[topic] += 1
    return found


def source(ticket: dict[str, Any]) -> str:
    """Return who reported a ticket."""
    return ticket["origin"].partition("#")[0]


async def outcomes(desk: Reading, records: list[Record], seed: int) -> list[dict[str, list[Any]]]:
    cuts = [[[r] for r in records], [records], splits(records, Random(seed))]
    return [await desk.outcome(cut) for cut in cuts]


@pytest.mark.timeout(120)
async def test_intake_decides_the_same(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_NOTIFY_URL", "http://127.0.0.1:9/news")
    seen: defaultdict[str, int] = defaultdict(int)
    async with reading(make_database("intake"), intake().spec, HandClock(START)) as desk:
        for seed in SEEDS:
            one_by_one, *others = await outcomes(desk, told_to_intake(seed), seed)
            for other in others:
                for name, found in one_by_one.items():
                    assert other[name] == found, f"seed {seed}: {name}"
            made = {
                data["ticket_id"]: data
                for _, _, kind, _, data, *_ in one_by_one["journal"]
                if kind == "ticket.created"
            }
            for data in made.values():
                if data["split_from"] is not None:
                    whole = made[data["split_from"]]
                    assert source(whole) == source(data), "a part of a stranger's ticket"
                    seen["parts"] += 1
            for _, _, kind, *_ in one_by_one["journal"]:
                seen[kind] += 1
            for _, _, reason, _ in one_by_one["quarantine"]:
                seen[reason] += 1
            seen["told"] += len(one_by_one["deliveries"])
    least = dict.fromkeys(
        ["ticket.created", "ticket.linked", "InvalidInputError", "ReusedIdError", "told"], 20
    ) | {"parts": 5}
    assert {name: seen[name] for name in least if seen[name] < least[name]} == {}, dict(seen)
