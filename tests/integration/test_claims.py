"""Names belong to somebody: ids, sources of systems, numbers, and the past of a ticket."""

import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec
import pytest
from support.histories import START, created
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import clocks

from shared.http.issuers import Role
from shared.ids import keyed_id, random_id, reported_ticket_id
from shared.log.port import Outgoing
from shared.postgres.migrate import migrate

SOURCE: Final = "/monitoring/berlin"
EVENT: Final = {
    "specversion": "1.0",
    "type": "ticket.reported",
    "id": "alert-1",
    "dataschema": "urn:deskledger:event:ticket.reported:v2",
}


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
    event = EVENT | {"source": source, "data": {"requester": {"id": who}, "title": title}}
    headers = desk.bearer(who, role) | {"Content-Type": "application/cloudevents+json"}
    return await desk.clients["intake"].post("/events", content=json.dumps(event), headers=headers)


PART: Final = {"requester": {"id": "ann"}, "title": "A part"}


async def put_on_log(desk: InProcessDesk, events: list[dict[str, Any]]) -> list[str]:
    """Put reports on the log, wait for what becomes of them; return the ids derived for them."""
    writer = desk.log.writer("a-system")
    await writer.send(
        [
            Outgoing("ticket.reported", b"1", json.dumps(EVENT | {"data": PART} | event).encode())
            for event in events
        ]
    )
    await writer.close()
    await desk.settle()
    return [str(reported_ticket_id(event["source"], event["id"])) for event in events]


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
    given = {"source": SOURCE, "subject": "other"}
    assert (await client.put("/sources", json=given, headers=mon)).status_code == 403
    assert (await client.put("/sources", json=given)).status_code == 200
    assert given in (await client.get("/sources")).json()["sources"]
    assert (await tell(desk, "mon", Role.INTEGRATION, SOURCE)).status_code == 403
    assert (await tell(desk, "other", Role.INTEGRATION, SOURCE, "b")).status_code == 409
    await desk.settle()
    for service in ("intake", "sla"):
        for who, status in ((mon, 200), (other, 404)):
            answer = await desk.clients[service].get(path, headers=who)
            assert answer.status_code == status, f"{service}: it stays with who reported it"


async def test_a_ticket_from_the_log_is_its_sources_and_nobody_comes_by_it(
    desk: InProcessDesk,
) -> None:
    """Not by a source of that name, nor by one that begins alike."""
    sources = ("/mail/gateway", "/mail/gateway#1", "alerts")
    ids = await put_on_log(desk, [{"source": source, "id": "1#2"} for source in sources])
    for source in sources:
        answer = await tell(desk, "eve", Role.INTEGRATION, source)
        assert (answer.status_code, answer.json()["field"]) == (403, "source")
    assert (await tell(desk, "eve", Role.INTEGRATION, "/mail")).status_code == 201
    await desk.settle()
    for ticket, source in zip(ids, sources, strict=True):
        for who, status in (("eve", 404), (source, 200)):
            for service in ("intake", "sla"):
                headers = desk.bearer(who, Role.INTEGRATION)
                answer = await desk.clients[service].get(f"/tickets/{ticket}", headers=headers)
                assert answer.status_code == status, (service, who, source)


async def test_only_who_reports_as_a_source_comes_to_have_it(desk: InProcessDesk) -> None:
    """An admin only tries it, an event that cannot be read tells nothing, some are nobody's."""
    assert (await tell(desk, "al", Role.ADMIN, "/a")).status_code == 201
    assert (await tell(desk, "eve", Role.INTEGRATION, "/b", "")).status_code == 422
    for source, status in (
        ("/http/ann", 422),
        ("\u4e00" * 1_000, 422),
        ("servicenow", 403),
        ("/a", 409),
        ("/b", 201),
    ):
        answer = await tell(desk, "mon", Role.INTEGRATION, source)
        assert answer.status_code == status, source
        if status == 422:
            given = {"source": source, "subject": "mon"}
            assert (await desk.clients["intake"].put("/sources", json=given)).status_code == 422
    assert (await tell(desk, "al", Role.ADMIN, "/b")).status_code == 409, "any source, no owner"
    found = (await desk.clients["intake"].get("/sources")).json()["sources"]
    assert {one["source"]: one["subject"] for one in found} == {
        "/a": "mon",
        "/b": "mon",
        "servicenow": "",
    }


async def test_one_foreign_source_refuses_its_own_events_alone(desk: InProcessDesk) -> None:
    await tell(desk, "mon", Role.INTEGRATION, "/a")
    headers = desk.bearer("gw", Role.INTEGRATION)
    headers["Content-Type"] = "application/cloudevents-batch+json"
    batch = [EVENT | {"source": source, "data": PART} for source in ("/b", "/a", "/c")]
    answer = await desk.clients["intake"].post(
        "/events", content=json.dumps(batch), headers=headers
    )
    assert [one["status"] for one in answer.json()["results"]] == [201, 403, 201]


async def test_a_source_splits_off_only_from_what_it_reported(desk: InProcessDesk) -> None:
    """Whatever marks are in its name, in one batch with the whole or in another."""
    whole = str(reported_ticket_id("/a#b", "c"))
    parts = [
        {"source": source, "id": f"{source}{n}", "data": PART | {"split_from": whole}}
        for n in range(2)
        for source in ("/a", "/a#b")
    ]
    await put_on_log(desk, [{"source": "/a#b", "id": "c"}, *parts[:2]])
    await put_on_log(desk, parts[2:])
    links = (await desk.clients["intake"].get(f"/tickets/{whole}/links")).json()["links"]
    own = {str(reported_ticket_id("/a#b", f"/a#b{n}")) for n in range(2)}
    assert {link["ticket_id"] for link in links} == own


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
    renamed = {"source": "renamed", "streams": [met(ticket)]}
    answer = await desk.clients["sla"].post("/history:batch", json=renamed)
    assert answer.json()["results"][0]["known"] == 1, "what is there already is not asked again"


async def test_a_past_ends_in_no_ticket_of_this_desks_own(desk: InProcessDesk) -> None:
    live = (await report(desk, "bob", Role.REQUESTER)).json()["ticket_id"]
    old = {str(random_id()): number for number in ("X-1", "X-2")}
    for into, added in ((live, None), (str(random_id()), 2)):
        streams = [past(ticket, number) for ticket, number in old.items()]
        for stream in streams:
            merged = {"ticket_id": stream["stream_id"], "into": into, "merged_by": "al"}
            event = {"type": "ticket.merged", "time": START.isoformat(), "actor": "al"}
            stream["events"].append(event | {"data": merged | {"reason": ""}})
        results = await bring(desk, "intake", *streams)
        assert [one.get("added") for one in results] == [added] * 2, results
    await desk.settle()
    path, headers = f"/tickets/{live}", desk.bearer("ann", Role.REQUESTER)
    assert (await desk.clients["intake"].get(path, headers=headers)).status_code == 404


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
    assert await fate(past(str(random_id()), "INC-999999999999")) == [number]
    assert (await report(desk, "bob", Role.REQUESTER)).json()["number"] == "INC-000901"


async def test_an_import_begun_before_numbers_were_noted_is_finished(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    dsn = make_database("intake")
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    await connection.execute("SELECT setval('kernel.number', 900)")
    await connection.close()
    async with in_process_desk(make_database, tmp_path, dsns={"intake": dsn}) as desk:
        for is_refused in (False, True):
            [answer] = await bring(desk, "intake", past(str(random_id()), "INC-000100"))
            assert ("error" in answer) == is_refused
        assert (await report(desk, "bob", Role.REQUESTER)).json()["number"] == "INC-000901"
