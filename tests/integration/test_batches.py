"""Batches over HTTP: what cannot be is refused item by item, in the words of a single request."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from support.inprocess import InProcessDesk, in_process_desk

TICKET = str(UUID(int=4711))
OTHER = str(UUID(int=4712))
CREATED: dict[str, Any] = {
    "type": "ticket.created",
    "time": "2020-01-01T09:00:00Z",
    "actor": "ann",
    "data": {
        "ticket_id": TICKET,
        "number": "OLD-1",
        "kind": "incident",
        "title": "VPN drops",
        "description": "",
        "requester": {"id": "ann"},
        "occurred_at": "2020-01-01T08:00:00Z",
        "impact": None,
        "urgency": None,
        "scope": {},
        "category": None,
        "service": None,
        "channel": "phone",
        "origin": "old",
    },
}
PROBLEM = "urn:deskledger:problem:invalid-input"
SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def event(kind: str, time: str, **data: Any) -> dict[str, Any]:
    return {
        "type": f"ticket.{kind}",
        "time": time,
        "actor": "bo",
        "data": {"ticket_id": TICKET} | data,
    }


def created(**data: Any) -> dict[str, Any]:
    return CREATED | {"data": CREATED["data"] | data}


def resolved(time: str) -> dict[str, Any]:
    return event("resolved", time, resolved_by="bo", resolution="done")


def closed(time: str, resolved_at: str | None) -> dict[str, Any]:
    return event(
        "closed", time, closed_by="bo", code="done", resolved_at=resolved_at, reopen_count=0
    )


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path, services=("intake",)) as running:
        yield running


async def taken_over(desk: InProcessDesk, *streams: tuple[str, list[dict[str, Any]]]) -> Any:
    body = {
        "source": "old",
        "streams": [{"stream_id": name, "events": events} for name, events in streams],
    }
    answer = await desk.clients["intake"].post("/history:batch", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


@pytest.mark.timeout(120)
async def test_a_past_that_cannot_have_been_is_refused_by_place_and_field(
    desk: InProcessDesk,
) -> None:
    early, late = "2019-12-31T09:00:00Z", "2020-01-02T09:00:00Z"
    commented = event(
        "commented",
        early,
        comment_id=OTHER,
        author_id="bo",
        author_role="agent",
        visibility="public",
        text="hi",
    )
    cases: list[tuple[list[dict[str, Any]], str]] = [
        ([resolved(late)], "/events/0/type"),
        ([resolved(early), CREATED], "/events/0/type"),
        ([CREATED, CREATED], "/events/1/type"),
        ([CREATED, resolved(early)], "/events/1/time"),
        ([CREATED, commented], "/events/1/time"),
        ([CREATED, closed(late, early)], "/events/1/data/resolved_at"),
        ([CREATED, closed(late, SOON)], "/events/1/data/resolved_at"),
        ([CREATED, resolved(SOON)], "/events/1/time"),
        ([CREATED | {"time": SOON}], "/events/0/time"),
        ([CREATED | {"time": "1850-01-01T00:00:00Z"}], "/events/0/time"),
        ([CREATED | {"time": "2020-01-01T09:00:00"}], "/events/0/time"),
        ([created(occurred_at=SOON)], "/events/0/data/occurred_at"),
        ([created(occurred_at="1850-01-01T00:00:00Z")], "/events/0/data/occurred_at"),
        ([created(ticket_id=OTHER)], "/events/0/data"),
        ([CREATED, event("started", late)], "/events/1/data/agent_id"),
        ([created(impact="huge")], "/events/0/data/impact"),
        ([CREATED | {"type": "sla.met"}], "/events/0/type"),
    ]
    for events, field in cases:
        [result] = await taken_over(desk, (TICKET, events))
        error = result["error"]
        assert (error["status"], error["field"]) == (422, field), (result, field)
        assert (error["type"], error["title"]) == (PROBLEM, "The input breaks a rule")
        assert error["detail"].startswith(field)
        assert "added" not in result
    pool = desk.rooms["intake"].service.pool
    assert await pool.fetchval("SELECT count(*) FROM kernel.journal") == 0


async def test_a_bad_past_leaves_the_others_of_its_batch_alone(desk: InProcessDesk) -> None:
    """Work begun before the ticket was opened is told by real logs, and comes in."""
    before, after = "2020-01-01T08:30:00Z", "2020-01-01T10:00:00Z"
    good = [CREATED, event("started", before, agent_id="bo"), resolved(after), closed(after, after)]
    bad = resolved(after) | {"data": resolved(after)["data"] | {"ticket_id": OTHER}}
    results = await taken_over(desk, (TICKET, good), (OTHER, [bad]))
    assert results[0] == {"stream_id": TICKET, "added": 4}
    assert "error" in results[1]
    [again] = await taken_over(desk, (TICKET, good))
    assert again == {"stream_id": TICKET, "known": 4}
    [other] = await taken_over(desk, (TICKET, [CREATED, resolved(after)]))
    assert (other["error"]["status"], other["error"]["field"]) == (409, "/events/1")


async def test_a_report_of_a_batch_is_refused_in_the_words_of_a_single_one(
    desk: InProcessDesk,
) -> None:
    bad = {"requester": {"id": "ann"}, "title": "VPN drops", "category": "nonsense"}
    client = desk.clients["intake"]
    single = (await client.post("/tickets", json=bad)).json()
    [item] = (await client.post("/tickets:batch", json={"tickets": [bad]})).json()["results"]
    assert item == {
        "status": 422,
        "error": {name: single[name] for name in ("type", "title", "status", "detail", "field")},
    }
    assert item["error"]["field"] == "/category"
