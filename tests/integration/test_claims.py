"""Names belong to somebody: ids, sources of systems, numbers, and the past of a ticket."""

import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest
from support.histories import START, created
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import clocks

from shared.http.issuers import Role
from shared.ids import keyed_id, random_id, reported_ticket_id

SOURCE: Final = "/monitoring/berlin"


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    services = ("intake", "routing", "sla")
    async with in_process_desk(make_database, tmp_path, services=services) as running:
        yield running


async def report(desk: InProcessDesk, who: str, role: Role, key: str = "", **record: Any) -> Any:
    headers = desk.bearer(who, role) | ({"Idempotency-Key": key} if key else {})
    body = {"requester": {"id": who}, "title": "Disk full"} | record
    return await desk.clients["intake"].post("/tickets", json=body, headers=headers)


async def tell(desk: InProcessDesk, who: str, role: Role, source: str, title: str = "a") -> Any:
    event = {
        "specversion": "1.0",
        "type": "ticket.reported",
        "source": source,
        "id": "alert-1",
        "dataschema": "urn:deskledger:event:ticket.reported:v2",
        "data": {"requester": {"id": who}, "title": title},
    }
    headers = desk.bearer(who, role) | {"Content-Type": "application/cloudevents+json"}
    return await desk.clients["intake"].post("/events", content=json.dumps(event), headers=headers)


async def test_nobody_takes_the_id_that_anothers_report_will_have(desk: InProcessDesk) -> None:
    for role in (Role.REQUESTER, Role.INTEGRATION, Role.AGENT):
        for derived in (keyed_id("bob", "k"), reported_ticket_id(SOURCE, "alert-1")):
            answer = await report(desk, "eve", role, ticket_id=str(derived))
            assert (answer.status_code, answer.json()["field"]) == (422, "/ticket_id")
    assert (await tell(desk, "eve", Role.REQUESTER, SOURCE)).status_code == 201
    assert (await report(desk, "bob", Role.REQUESTER, key="k")).status_code == 201
    real = await tell(desk, "mon", Role.INTEGRATION, SOURCE)
    assert real.status_code == 201, real.text
    again = await tell(desk, "mon", Role.INTEGRATION, SOURCE)
    assert (again.status_code, again.json()) == (200, real.json())
    own = str(random_id())
    for status in (201, 200):
        answer = await report(desk, "bob", Role.REQUESTER, ticket_id=own)
        assert answer.status_code == status


async def test_a_source_is_one_systems_until_the_desk_gives_it_to_another(
    desk: InProcessDesk,
) -> None:
    made = await tell(desk, "mon", Role.INTEGRATION, SOURCE)
    path = f"/tickets/{made.json()['ticket_id']}"
    mon, other = (desk.bearer(name, Role.INTEGRATION) for name in ("mon", "other"))
    client = desk.clients["intake"]
    answer = await tell(desk, "other", Role.INTEGRATION, SOURCE, "b")
    assert (answer.status_code, answer.json()["field"]) == (403, "source")
    await desk.settle()
    assert (await client.get(path, headers=mon)).status_code == 200
    assert (await client.get(path, headers=other)).status_code == 404
    given = {"source": SOURCE, "subject": "other"}
    assert (await client.put("/sources", json=given, headers=mon)).status_code == 403
    assert (await client.put("/sources", json=given)).status_code == 200
    assert (await client.get("/sources")).json()["sources"] == [given]
    assert (await tell(desk, "mon", Role.INTEGRATION, SOURCE)).status_code == 403
    assert (await client.get(path, headers=other)).status_code == 200


async def test_a_conflict_tells_a_stranger_nothing(desk: InProcessDesk) -> None:
    ticket = str(random_id())
    assert (await report(desk, "bob", Role.REQUESTER, ticket_id=ticket)).status_code == 201
    told: set[str] = set()
    for title in ("Disk full", "another"):
        answer = await report(desk, "eve", Role.REQUESTER, ticket_id=ticket, title=title)
        assert answer.status_code == 409
        assert "field" not in answer.json()
        told.add(answer.json()["detail"])
    assert told == {f"id {ticket} is taken"}
    answer = await report(desk, "bob", Role.REQUESTER, ticket_id=ticket, title="another")
    assert (answer.status_code, answer.json()["field"]) == (409, "/title")


# --- History -------------------------------------------------------------------------------------


def past(ticket: str, number: str) -> dict[str, Any]:
    data = msgspec.to_builtins(msgspec.structs.replace(created(UUID(ticket)), number=number))
    event = {"type": "ticket.created", "time": START.isoformat(), "actor": "al", "data": data}
    return {"stream_id": ticket, "events": [event]}


def met(ticket: str, source: str = "old") -> dict[str, Any]:
    data = {
        "ticket_id": ticket,
        "target": "resolution",
        "cycle": 1,
        "generation": 1,
        "kind": "sla",
        "stopped_at": START.isoformat(),
        "due_at": None,
        "elapsed_seconds": 1,
        "source_system": source,
    }
    event = {"type": "sla.met", "time": START.isoformat(), "actor": "al", "data": data}
    return {"stream_id": ticket, "events": [event]}


async def bring(desk: InProcessDesk, service: str, *streams: Any, **headers: str) -> Any:
    body = {"source": "old", "streams": streams}
    answer = await desk.clients[service].post("/history:batch", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


async def test_a_forged_past_changes_no_promise_of_a_live_ticket(desk: InProcessDesk) -> None:
    before = str(random_id())
    assert (await bring(desk, "sla", met(before)))[0]["added"] == 1
    await desk.settle()
    await report(desk, "bob", Role.REQUESTER, ticket_id=before)
    await desk.settle()
    found = {clock["target"]: clock["outcome"] for clock in await clocks(desk, before)}
    assert found["resolution"] == "open"

    live = (await report(desk, "bob", Role.REQUESTER)).json()["ticket_id"]
    await desk.settle()
    for service, stream in (("sla", met(live)), ("intake", past(live, "X-1"))):
        [refused] = await bring(desk, service, stream)
        assert refused["error"]["status"] == 409, service
    await desk.clients["sla"].put("/policies/standard", json={"targets": []})
    bare = (await report(desk, "bob", Role.REQUESTER)).json()["ticket_id"]
    await desk.settle()
    [refused] = await bring(desk, "sla", met(bare))
    assert "own work" in refused["error"]["detail"]


async def test_only_an_importer_brings_a_past_and_the_ledger_says_who(desk: InProcessDesk) -> None:
    ticket = str(random_id())
    client = desk.clients["intake"]
    body = {"source": "old", "streams": [past(ticket, "X-1")]}
    for role in Role:
        if role is not Role.IMPORTER:
            headers = desk.bearer("eve", role)
            answer = await client.post("/history:batch", json=body, headers=headers)
            assert answer.status_code == 403, role
    imp = desk.bearer("imp", Role.IMPORTER)
    assert (await bring(desk, "intake", past(ticket, "X-1"), **imp))[0]["added"] == 1
    assert (await bring(desk, "intake", past(ticket, "X-1")))[0]["known"] == 1
    pool = desk.rooms["intake"].service.pool
    event = json.loads(await pool.fetchval("SELECT value FROM kernel.journal"))
    assert event["actor"] == "imp/old/al"
    [refused] = await bring(desk, "sla", met(ticket, source="another"))
    assert refused["error"]["field"] == "/events/0/data/source_system"
    assert (await bring(desk, "sla", met(ticket)))[0]["added"] == 1


async def test_no_two_tickets_have_one_number(desk: InProcessDesk) -> None:
    live = (await report(desk, "bob", Role.REQUESTER)).json()["number"]
    a, b, c, d = (str(random_id()) for _ in range(4))

    async def fate(*streams: Any) -> list[str]:
        results = await bring(desk, "intake", *streams)
        return [one["error"]["field"] if "error" in one else "taken over" for one in results]

    number = "/events/0/data/number"
    assert await fate(past(a, live)) == [number]
    assert await fate(past(a, "INC0042"), past(b, "INC0042")) == ["taken over", number]
    assert await fate(past(b, "INC0042")) == [number]
    assert await fate(past(b, "INC-000900"), past(c, "INC-000100")) == ["taken over"] * 2
    assert await fate(past(d, "INC-000100")) == [number]
    assert await fate(past(d, "INC-000101")) == ["taken over"]
    assert await fate(past(d, "INC-000101")) == ["taken over"]
    assert (await report(desk, "bob", Role.REQUESTER)).json()["number"] == "INC-000901"
