"""Batches over HTTP: what cannot be is refused item by item, in the words of a single request."""

import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from shared.log.port import Outgoing

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


# --- One result per item --------------------------------------------------------------------------

REPORT: dict[str, Any] = {"requester": {"id": "ann"}, "title": "VPN drops", "channel": "alert"}
FAULTS: list[tuple[object, str | None]] = [
    (REPORT | {"channel": "carrier pigeon"}, "/channel"),
    (REPORT | {"category": "gardening"}, "/category"),
    ({"title": "no requester"}, "/requester"),
    (REPORT | {"severity": 1}, "/severity"),
    (REPORT | {"title": 7}, "/title"),
    (REPORT | {"title": "a\0b"}, "/title"),
    (REPORT | {"split_from": OTHER}, "/split_from"),
    ("no report", None),
    (None, None),
]
BATCH = {"Content-Type": "application/cloudevents-batch+json"}


def cloud(number: int, data: object) -> dict[str, Any]:
    event = {"specversion": "1.0", "type": "ticket.reported", "source": "/s", "id": str(number)}
    return event | {"data": data}


async def next_number(desk: InProcessDesk) -> int:
    return await desk.rooms["intake"].service.pool.fetchval(
        "SELECT last_value + is_called::int FROM kernel.number"
    )


async def test_every_fault_of_a_report_leaves_the_others_of_its_batch_alone(
    desk: InProcessDesk,
) -> None:
    items = [REPORT, *(fault for fault, _ in FAULTS), REPORT]
    before = await next_number(desk)
    answer = await desk.clients["intake"].post("/tickets:batch", json={"tickets": items})
    assert answer.status_code == 200, answer.text
    first, *refused, last = answer.json()["results"]
    assert (first["status"], last["status"]) == (201, 201)
    assert [one["status"] for one in refused] == [422] * len(FAULTS)
    assert [one["error"].get("field") for one in refused] == [field for _, field in FAULTS]
    assert await next_number(desk) == before + 2


async def test_every_fault_of_an_event_leaves_the_others_of_its_batch_alone(
    desk: InProcessDesk,
) -> None:
    events: list[object] = [cloud(n, data) for n, (data, _) in enumerate(FAULTS)]
    events += [cloud(100, REPORT), cloud(101, REPORT) | {"type": "ticket.created"}, 7, {}]
    events += [cloud(102, REPORT) | {"dataschema": "urn:x"}]
    before = await next_number(desk)
    client = desk.clients["intake"]
    answer = await client.post("/events", content=json.dumps(events), headers=BATCH)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [one["status"] for one in results].count(201) == 1
    assert len(results) == len(events)
    assert results[-1]["error"]["field"] == "/dataschema"
    assert await next_number(desk) == before + 1


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_a_batch_is_answered_with_a_list_whatever_its_size(
    desk: InProcessDesk, count: int
) -> None:
    events = [cloud(number, REPORT) for number in range(count)]
    client = desk.clients["intake"]
    for status in (201, 200):
        answer = await client.post("/events", content=json.dumps(events), headers=BATCH)
        assert answer.status_code == 200
        assert [one["status"] for one in answer.json()["results"]] == [status] * count


async def test_a_refused_report_costs_no_number(desk: InProcessDesk) -> None:
    before = await next_number(desk)
    client = desk.clients["intake"]
    for bad in ({"title": "  "}, {"category": "gardening"}, {"split_from": OTHER}):
        assert (await client.post("/tickets", json=REPORT | bad)).status_code == 422
    writer = desk.log.writer("stranger")
    bad = msgspec.json.encode(cloud(1, REPORT | {"category": "gardening"}))
    twice = msgspec.json.encode(cloud(2, REPORT)).replace(b'"title"', b'"title":"VPN","title"')
    await writer.send([Outgoing("ticket.reported", b"1", value) for value in (bad, twice)])
    await writer.close()
    await desk.settle()
    assert await next_number(desk) == before
    pool = desk.rooms["intake"].service.pool
    details = {row["detail"] for row in await pool.fetch("SELECT detail FROM kernel.quarantine")}
    assert len(details) == 2
    assert "/data/title: is given more than once." in details


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (REPORT, None),
        ({"requester_id": "bea", "title": "Old words", "affected_people": 60}, None),
        ({"title": "nobody asks"}, "/data/requester is required."),
        (
            {"requester_id": 7, "title": "x"},
            "/data/requester_id: must be text, not a whole number.",
        ),
        (REPORT | {"requester": {"name": "Ann"}}, "/data/requester/id is required."),
    ],
)
async def test_an_event_need_not_name_its_version_and_is_told_in_its_own_names(
    desk: InProcessDesk, data: dict[str, Any], said: str | None
) -> None:
    headers = {"Content-Type": "application/cloudevents+json"}
    client = desk.clients["intake"]
    answer = await client.post("/events", content=json.dumps(cloud(1, data)), headers=headers)
    assert answer.status_code == (201 if said is None else 422), answer.text
    assert answer.json().get("detail") == said


async def test_a_stream_that_cannot_be_read_leaves_the_others_of_its_batch_alone(
    desk: InProcessDesk,
) -> None:
    good = {"stream_id": TICKET, "events": [CREATED]}
    bad = [{"stream_id": OTHER, "events": 7}, {"events": []}, 7]
    body = {"source": "old", "streams": [*bad, good]}
    answer = await desk.clients["intake"].post("/history:batch", json=body)
    assert answer.status_code == 200, answer.text
    *refused, taken = answer.json()["results"]
    assert [(one["stream_id"], one["error"].get("field")) for one in refused] == [
        (OTHER, "/events"),
        ("", "/stream_id"),
        ("", None),
    ]
    assert (taken["stream_id"], taken["added"]) == (TICKET, 1)


async def test_a_key_given_twice_refuses_its_item_or_the_whole(desk: InProcessDesk) -> None:
    client, headers = desk.clients["intake"], {"Content-Type": "application/json"}
    report = json.dumps(REPORT)
    twice = report.replace('"title"', '"title": "Printer", "title"')
    one = await client.post("/tickets", content=twice, headers=headers)
    assert (one.status_code, one.json()["field"]) == (422, "/title")
    batch = f'{{"tickets": [{report}, {twice}]}}'
    answer = await client.post("/tickets:batch", content=batch, headers=headers)
    assert [item["status"] for item in answer.json()["results"]] == [201, 422]
    doubled = f'{{"tickets": [], "tickets": [{report}]}}'
    whole = await client.post("/tickets:batch", content=doubled, headers=headers)
    assert (whole.status_code, whole.json()["field"]) == (422, "/tickets")
