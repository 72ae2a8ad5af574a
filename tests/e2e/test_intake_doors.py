"""Every door makes exactly one ticket of one report; bad input is named and stored nowhere."""

import asyncio
import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from support.desk import DESK, DeskProcess, eventually

from services.embedded import open_log
from services.settings import DeskSettings
from shared.contracts.envelope import dataschema_of
from shared.ids import random_id
from shared.log.port import Outgoing
from shared.terminal.folder import attached

pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("doors")]

REPORT: dict[str, Any] = {
    "requester": {"id": "ann"},
    "title": "Disk full on db-3",
    "channel": "alert",
}


def event(number: str) -> CloudEvent:
    attributes = {
        "type": "ticket.reported",
        "source": "/monitoring/berlin",
        "id": number,
        "specversion": "1.0",
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        "dataschema": dataschema_of("ticket.reported", 2),
    }
    return CloudEvent(attributes, REPORT)


@pytest.mark.parametrize("mode", [to_structured_event, to_binary_event])
def test_a_cloud_event_of_the_official_sdk_becomes_one_ticket(desk: DeskProcess, mode: Any) -> None:
    message = mode(event(f"sdk-{mode.__name__}"))
    headers, body = dict(message.headers), message.body
    first = desk.client.post("/intake/events", content=body, headers=headers)
    again = desk.client.post("/intake/events", content=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert first.json() == again.json()


def test_a_batch_of_cloud_events_says_what_became_of_each(desk: DeskProcess) -> None:
    events = [
        {
            "specversion": "1.0",
            "type": "ticket.reported",
            "source": "/m",
            "id": f"batch-{number}",
            "dataschema": dataschema_of("ticket.reported", 2),
            "data": {**REPORT, **more},
        }
        for number, more in enumerate(({}, {"category": "nonsense"}, {}))
    ]
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    answer = desk.client.post("/intake/events", content=json.dumps(events), headers=headers)
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [201, 422, 201]
    assert results[1]["error"]["field"] == "/category"


def test_an_old_version_is_lifted(desk: DeskProcess) -> None:
    old = {
        "specversion": "1.0",
        "type": "ticket.reported",
        "source": "/old",
        "id": "v1",
        "dataschema": dataschema_of("ticket.reported", 1),
        "data": {"requester_id": "bea", "title": "Old words", "affected_people": 60},
    }
    headers = {"Content-Type": "application/cloudevents+json", "Prefer": "wait=5"}
    made = desk.client.post("/intake/events", content=json.dumps(old), headers=headers).json()
    eventually(lambda: desk.client.get(f"/intake/tickets/{made['ticket_id']}").is_success)
    ticket = desk.get(f"/intake/tickets/{made['ticket_id']}")
    assert (ticket["requester_id"], ticket["people"]) == ("bea", 60)


def test_a_report_written_straight_to_the_topic_becomes_one_ticket(desk: DeskProcess) -> None:
    value = json.dumps(
        {
            "specversion": "1.0",
            "type": "ticket.reported",
            "source": "/hr",
            "id": "joiner-1",
            "dataschema": dataschema_of("ticket.reported", 2),
            "data": {"requester": {"id": "hr"}, "title": "Laptop for a joiner"},
        }
    ).encode()
    poison = Outgoing("ticket.reported", b"poison", b"{not json")
    newer = value.replace(b":v2", b":v9")
    asyncio.run(produce(desk, [Outgoing("ticket.reported", b"hr", value)] * 3 + [poison]))
    asyncio.run(produce(desk, [Outgoing("ticket.reported", b"hr", newer)]))

    def tickets() -> list[Any]:
        found = desk.get("/intake/tickets?requester=hr")["tickets"]
        parked = desk.get("/intake/quarantine")["quarantine"]
        return found if {"not_json", "newer_version"} <= {p["reason"] for p in parked} else []

    assert len(eventually(tickets)) == 1
    listed = desk.run("quarantine", "list", "--json")
    parked = json.loads(listed.stdout)["intake"]
    assert desk.run("quarantine", "redrive", "intake", str(parked[0]["id"])).returncode == 1


async def produce(desk: DeskProcess, records: list[Outgoing]) -> None:
    async with attached(desk.data) as postgres, open_log(postgres, DeskSettings(), None) as log:
        writer = log.writer("test")
        await writer.send(records)
        await writer.close()


def test_a_key_stands_for_one_ticket(desk: DeskProcess) -> None:
    first = desk.post("/intake/tickets", REPORT, **{"Idempotency-Key": "one"})
    again = desk.post("/intake/tickets", REPORT, **{"Idempotency-Key": "one"})
    other = desk.post("/intake/tickets", {**REPORT, "title": "Other"}, **{"Idempotency-Key": "one"})
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert first.json() == again.json()
    assert other.json()["field"] == "/title"


def test_a_batch_says_what_became_of_each(desk: DeskProcess) -> None:
    body = {"tickets": [REPORT, {**REPORT, "title": "   "}, REPORT]}
    answer = desk.post("/intake/tickets:batch", body, **{"Idempotency-Key": "batch"}).json()
    again = desk.post("/intake/tickets:batch", body, **{"Idempotency-Key": "batch"}).json()
    assert [result["status"] for result in answer["results"]] == [201, 422, 201]
    assert [result["status"] for result in again["results"]] == [200, 422, 200]


JSON = {"Content-Type": "application/json"}
LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()
BAD: list[tuple[str, Any, dict[str, str], int, str | None]] = [
    ("not JSON", "{", JSON, 400, None),
    ("another media type", "{}", {"Content-Type": "text/plain"}, 415, "Content-Type"),
    ("no requester", {"title": "x"}, JSON, 422, "/requester"),
    ("a number for a text", {**REPORT, "title": 7}, JSON, 422, "/title"),
    ("an unknown field", {**REPORT, "severity": 1}, JSON, 422, "/severity"),
    ("an unknown nested field", {**REPORT, "scope": {"x": 1}}, JSON, 422, "/scope/x"),
    (
        "a time without offset",
        {**REPORT, "occurred_at": "2026-01-01T00:00:00"},
        JSON,
        422,
        "/occurred_at",
    ),
    ("a time in the future", {**REPORT, "occurred_at": LATER}, JSON, 422, "/occurred_at"),
    ("an unknown category", {**REPORT, "category": "cars"}, JSON, 422, "/category"),
    ("a bad key", REPORT, {**JSON, "Idempotency-Key": ""}, 422, "Idempotency-Key"),
    ("10 MB", {**REPORT, "description": "x" * 10_000_000}, JSON, 413, None),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "field"),
    [case[1:] for case in BAD],
    ids=[case[0] for case in BAD],
)
def test_bad_input_is_named_and_stored_nowhere(
    desk: DeskProcess, body: Any, headers: dict[str, str], status: int, field: str | None
) -> None:
    caller = {"id": f"caller-{random_id()}"}
    if isinstance(body, dict) and "requester" in body:
        body = {**body, "requester": caller}
    content = body if isinstance(body, str) else json.dumps(body)
    answer = desk.client.post("/intake/tickets", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem.get("field") == field
    assert problem["detail"]
    good = desk.post("/intake/tickets", {**REPORT, "requester": caller}, Prefer="wait=10")
    assert good.status_code == 201, "the desk goes on"
    stored = desk.get(f"/intake/tickets?requester={caller['id']}")["tickets"]
    assert [ticket["ticket_id"] for ticket in stored] == [good.json()["ticket_id"]]


def token(desk: DeskProcess, *arguments: str) -> str:
    issued = subprocess.run(
        [DESK, "token", "issue", "--data", desk.data, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return issued.stdout.strip()


def test_who_may_not_is_refused(desk: DeskProcess) -> None:
    def status(authorization: str | None, subject: str = "/intake/tickets") -> int:
        headers = {"Authorization": authorization or ""}
        return desk.client.get(subject, headers=headers).status_code

    assert status(None) == 401
    assert status("Bearer garbage") == 401
    requester = token(desk, "--role", "requester", "--subject", "ann")
    assert status(f"Bearer {requester}") == 200
    assert status(f"Bearer {requester}", "/intake/quarantine") == 403
    elsewhere = token(desk, "--role", "agent", "--service", "sla")
    assert status(f"Bearer {elsewhere}") == 403
    for path in ("/health/live", "/health/ready"):
        assert desk.client.get(path, headers={"Authorization": ""}).status_code == 200
    assert desk.client.get("/metrics", headers={"Authorization": ""}).status_code == 401


def test_a_requester_sees_their_own_tickets_only(desk: DeskProcess) -> None:
    other = {"Authorization": f"Bearer {token(desk, '--role', 'requester', '--subject', 'eve')}"}
    mine = desk.post("/intake/tickets", REPORT, Prefer="wait=5").json()["ticket_id"]
    assert desk.client.get(f"/intake/tickets/{mine}", headers=other).status_code == 404
    close = desk.client.post(f"/intake/tickets/{mine}/close", json={}, headers=other)
    assert close.status_code == 404
    forged = desk.client.post("/intake/tickets", json=REPORT, headers=other)
    assert (forged.status_code, forged.json()["field"]) == (403, "/requester/id")


def test_a_stale_if_match_changes_nothing(desk: DeskProcess) -> None:
    made = desk.post("/intake/tickets", REPORT)
    path = f"/intake/tickets/{made.json()['ticket_id']}"
    started = desk.post(f"{path}/start", {}, **{"If-Match": made.headers["etag"]})
    assert started.status_code == 200
    stale = desk.post(f"{path}/hold", {"reason": "vendor"}, **{"If-Match": made.headers["etag"]})
    assert (stale.status_code, stale.json()["field"]) == (412, "If-Match")
    illegal = desk.post(f"{path}/close", {})
    assert illegal.status_code == 409
    assert desk.post(f"{path}/start", {}).json()["changed"] is False
    eventually(lambda: desk.get(path)["status"] == "in_progress")
