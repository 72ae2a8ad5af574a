"""Promises as tests publish them, and what a running desk says of them."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketResolved
from shared.contracts.registry import Recorded
from shared.journal.journal import Append, Draft
from support.inprocess import InProcessDesk


def promise(seconds: int, *, warn_percent: int | None = None) -> dict[str, Any]:
    """Return a target for every ticket: solved within so many seconds of any day."""
    return {
        "name": "resolution",
        "kind": "sla",
        "goal": {"working_seconds": seconds},
        "start": ["created"],
        "stop": ["resolved", "closed"],
        "pause": ["held"],
        "warn": [] if warn_percent is None else [{"percent": warn_percent}],
    }


async def publish(desk: InProcessDesk, *targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"targets": list(targets), **more}
    answer = await desk.clients["sla"].put("/policies/standard", json=body)
    assert answer.is_success, answer.text
    return answer.json()


async def clocks(desk: InProcessDesk, ticket: str, **query: str) -> list[dict[str, Any]]:
    answer = await desk.clients["sla"].get(f"/tickets/{ticket}", params=query)
    assert answer.is_success, answer.text
    return answer.json()["clocks"]


async def journal(desk: InProcessDesk, ticket: str, service: str = "sla") -> list[Recorded]:
    there = desk.rooms[service].service
    async with there.pool.acquire() as connection:
        return (await there.journal.read(connection, [ticket]))[ticket]


async def told(desk: InProcessDesk, ticket: str, *wanted: str) -> list[Recorded]:
    """Wait until sla has said so many things about the ticket, and compare them."""
    for _ in range(300):
        events = await journal(desk, ticket)
        if len(events) >= len(wanted):
            break
        await asyncio.sleep(0.05)
    said = [event.type.removeprefix("sla.") for event in events]
    assert said == list(wanted), said
    return events


async def learn_late(desk: InProcessDesk, ticket: str, after: timedelta) -> Recorded:
    """Have intake record now that the ticket was solved so long after it was created."""
    intake = desk.rooms["intake"].service
    events = await journal(desk, ticket, "intake")
    solved = TicketResolved(ticket_id=UUID(ticket), resolved_by="bo", resolution="by phone")
    append = Append(
        ticket,
        len(events),
        (Draft(solved, events[0].time + after),),
        Lineage(actor="bo", correlation_id="late"),
    )
    async with intake.pool.acquire() as connection, connection.transaction():
        assert await intake.journal.append(connection, [append]) == [True]
    return (await journal(desk, ticket, "intake"))[-1]
