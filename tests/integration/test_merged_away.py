"""Who reported a ticket that was merged away is heard, and sees where the work goes on."""

import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from support.histories import START, created
from support.inprocess import InProcessDesk, in_process_desk

from services.intake.queries.tickets import IS_SURVIVOR
from shared.http.auth import Role
from shared.ids import random_id


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    services = ("intake", "routing", "sla")
    async with in_process_desk(make_database, tmp_path, services=services) as running:
        yield running


async def send(
    desk: InProcessDesk, who: str, method: str, path: str, body: Any = None
) -> httpx.Response:
    service, _, rest = path.partition("/")
    role = Role.AGENT if who == "bo" else Role.REQUESTER
    headers = desk.bearer(who, role)
    return await desk.clients[service].request(method, f"/{rest}", json=body, headers=headers)


async def merged(desk: InProcessDesk) -> tuple[str, str, str]:
    """Return a survivor of ann's, a ticket of eve's merged into it, and one of kim's into that."""
    survivor = await desk.report(1, requester={"id": "ann"})
    middle = await desk.report(2, requester={"id": "eve"})
    first = await desk.report(3, requester={"id": "kim"})
    for one, into in ((first, middle), (middle, survivor)):
        answer = await send(desk, "bo", "POST", f"intake/tickets/{one}/merge", {"into": into})
        assert answer.is_success, answer.text
        await desk.settle()
    return survivor, middle, first


async def test_a_comment_on_a_merged_ticket_reaches_the_survivor_once(desk: InProcessDesk) -> None:
    survivor, middle, first = await merged(desk)
    body = {"text": "It now also loses mail."}
    body["comment_id"] = "00000000-0000-4000-8000-000000000001"
    for status, changed in ((201, True), (200, False)):
        answer = await send(desk, "kim", "POST", f"intake/tickets/{first}/comments", body)
        assert answer.status_code == status, answer.text
        assert (answer.json()["id"], answer.json()["changed"]) == (survivor, changed)
    await desk.settle()
    for ticket, count in ((survivor, 1), (middle, 0), (first, 0)):
        shown = await send(desk, "bo", "GET", f"intake/tickets/{ticket}/comments")
        assert len(shown.json()["comments"]) == count
    await desk.check()


async def test_a_comment_made_before_the_merge_is_known_after_it(desk: InProcessDesk) -> None:
    survivor = await desk.report(1, requester={"id": "ann"})
    other = await desk.report(2, requester={"id": "eve"})
    body = {"text": "Hello?", "comment_id": "00000000-0000-4000-8000-000000000001"}
    path = f"intake/tickets/{other}/comments"
    assert (await send(desk, "eve", "POST", path, body)).json()["changed"]
    await send(desk, "bo", "POST", f"intake/tickets/{other}/merge", {"into": survivor})
    again = (await send(desk, "eve", "POST", path, body)).json()
    assert (again["id"], again["changed"]) == (other, False)


async def test_who_reported_sees_where_it_goes_on_and_nobody_looks_back(
    desk: InProcessDesk,
) -> None:
    survivor, middle, first = await merged(desk)
    seen = {"ann": {survivor}, "eve": {survivor, middle}, "kim": {survivor, middle, first}}
    for who in ("ann", "eve", "kim", "stranger"):
        for ticket in (survivor, middle, first):
            status = 200 if ticket in seen.get(who, ()) else 404
            for path in ("intake/tickets/{}", "intake/tickets/{}/comments", "sla/tickets/{}"):
                answer = await send(desk, who, "GET", path.format(ticket))
                assert answer.status_code == status, (who, path)
    [own] = (await send(desk, "kim", "GET", "intake/tickets")).json()["tickets"]
    shown = (await send(desk, "kim", "GET", f"intake/tickets/{own['ticket_id']}")).json()
    assert shown["links"] == [{"ticket_id": middle, "relation": "merged_into"}]


async def test_to_see_a_ticket_is_not_to_act_on_it(desk: InProcessDesk) -> None:
    survivor, middle, _ = await merged(desk)
    cancel = {"reason": "not needed"}
    path = f"intake/tickets/{survivor}/cancel"
    assert (await send(desk, "kim", "POST", path, cancel)).status_code == 404
    refused = await send(desk, "eve", "POST", f"intake/tickets/{middle}/cancel", cancel)
    assert refused.status_code == 409
    assert f"it goes on in ticket {survivor}" in refused.json()["detail"]


async def test_a_mail_address_is_the_same_person_in_any_case(desk: InProcessDesk) -> None:
    report = {"requester": {"id": "Pat@Example.org"}, "title": "Keyboard"}
    headers = {"Idempotency-Key": "one"}
    made: list[tuple[int, str]] = []
    for subject in ("pat@example.org", "Pat@Example.org"):
        sender = headers | desk.bearer(subject, Role.REQUESTER)
        answer = await desk.clients["intake"].post("/tickets", json=report, headers=sender)
        made.append((answer.status_code, answer.json()["ticket_id"]))
    (first, ticket), (again, same) = made
    assert (first, again, same) == (201, 200, ticket)
    await desk.settle()
    for who in ("pat@example.org", "PAT@EXAMPLE.ORG"):
        for path in (f"intake/tickets/{ticket}", f"sla/tickets/{ticket}"):
            assert (await send(desk, who, "GET", path)).status_code == 200
        assert len((await send(desk, who, "GET", "intake/tickets")).json()["tickets"]) == 1
        found = await send(desk, "bo", "GET", f"intake/tickets?requester={who}")
        assert len(found.json()["tickets"]) == 1
    opaque = await desk.report(7, requester={"id": "Ann"})
    assert (await send(desk, "ann", "GET", f"intake/tickets/{opaque}")).status_code == 404


async def test_an_agent_writes_nothing_internal_on_their_own_ticket_by_another(
    desk: InProcessDesk,
) -> None:
    own = await desk.report(1, requester={"id": "bo"})
    other = await desk.report(2, requester={"id": "ann"})
    note = {"text": "psst", "visibility": "internal"}
    path = f"intake/tickets/{other}/comments"
    assert (await send(desk, "bo", "POST", path, note)).status_code == 201
    await send(desk, "bo", "POST", f"intake/tickets/{other}/merge", {"into": own})
    refused = await send(desk, "bo", "POST", path, note | {"text": "psst, again"})
    assert (refused.status_code, refused.json()["field"]) == (403, "/visibility")


# --- Merges of another desk ----------------------------------------------------------------------


async def bring(desk: InProcessDesk, ticket: str, who: str, into: str | None = None) -> None:
    data = msgspec.to_builtins(created(UUID(ticket)))
    data |= {"number": f"X-{ticket}", "requester": {"id": who}}
    told = [("ticket.created", data)]
    if into is not None:
        merge = {"ticket_id": ticket, "into": into, "merged_by": "al", "reason": ""}
        told.append(("ticket.merged", merge))
    events = [
        {"type": name, "time": START.isoformat(), "actor": "al", "data": data}
        for name, data in told
    ]
    body = {"source": "old", "streams": [{"stream_id": ticket, "events": events}]}
    answer = await desk.clients["intake"].post("/history:batch", json=body)
    assert answer.json()["results"][0]["added"] == len(events), answer.text


async def test_tickets_that_end_in_each_other_are_told_so(desk: InProcessDesk) -> None:
    one, other, itself = (str(random_id()) for _ in range(3))
    for ticket, into in ((one, other), (other, one), (itself, itself)):
        await bring(desk, ticket, "ann", into)
    for ticket in (one, itself):
        door = f"intake/tickets/{ticket}/comments"
        answer = await send(desk, "ann", "POST", door, {"text": "Hello?"})
        assert answer.status_code == 409
        assert "it goes on in ticket" in answer.json()["detail"]


async def test_merges_of_another_desk_lead_on_as_ones_own_do(desk: InProcessDesk) -> None:
    first, middle, survivor, nowhere = (str(random_id()) for _ in range(4))
    await bring(desk, survivor, "kim")
    await bring(desk, middle, "eve", survivor)
    await bring(desk, first, "ann", middle)
    await bring(desk, nowhere, "ann", str(random_id()))
    await desk.settle()
    answer = await send(desk, "ann", "POST", f"intake/tickets/{first}/comments", {"text": "Hm?"})
    assert (answer.status_code, answer.json()["id"]) == (201, survivor)
    for who, status in (("ann", 200), ("eve", 200), ("stranger", 404)):
        for service in ("intake", "sla"):
            answer = await send(desk, who, "GET", f"{service}/tickets/{survivor}")
            assert answer.status_code == status, (who, service)
    answer = await send(desk, "ann", "POST", f"intake/tickets/{nowhere}/comments", {"text": "Hm?"})
    assert answer.status_code == 409


async def test_a_stranger_is_refused_however_much_was_merged(desk: InProcessDesk) -> None:
    """Looked up from the caller's own tickets: what ended in this one is not read."""
    survivor = await desk.report(1, requester={"id": "ann"})
    await desk.settle()
    many = "INSERT INTO read.link (ticket_id, linked_id, relation, link_seq)"
    async with desk.rooms["intake"].service.work_pool.acquire() as connection:
        await connection.execute(
            f"{many} SELECT $1::uuid, gen_random_uuid(), 'merged_in', n"
            " FROM generate_series(2, 5000) n",
            survivor,
        )
        await connection.execute("ANALYZE read.link; ANALYZE read.board")
        [(plan,)] = await connection.fetch(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {IS_SURVIVOR}", UUID(survivor), "eve"
        )
    counts = [int(n) for n in re.findall(r'"Actual Rows": (\d+)', plan)]
    assert counts, plan
    assert max(counts) <= 1
