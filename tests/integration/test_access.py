"""Every route, called by every role and pair of roles, on what is theirs, others', and absent."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import msgspec
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from services.embedded import webhook_secret
from services.host import ROOMS
from services.sla.schemas import AGREEMENT_DOCUMENTS
from shared.errors import StartupError
from shared.http.access import is_route
from shared.http.issuers import Role

ME: Final = "ann"
ABSENT: Final = str(UUID(int=7))
REFUSED: Final = (403, 404)
AT_ONCE: Final = 16
AHEAD: Final = {"starts_at": "2190-01-01T00:00:00Z", "ends_at": "2190-01-02T00:00:00Z"}
PLAIN: Final = {
    "POST /tickets/{id}/start": {},
    "PUT /maintenance/{id:path}": {"service": "mail"} | AHEAD,
}
"""Bodies that ask for no finer right, where the example does."""


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path) as running:
        yield running


async def post(desk: InProcessDesk, door: str, body: Any, *roles: Role, who: str = ME) -> Any:
    service, _, path = door.partition("/")
    client = desk.clients[service]
    return await client.post(f"/{path}", json=body, headers=desk.bearer(who, *roles))


async def ticket(desk: InProcessDesk, requester: str, *roles: Role, who: str) -> str:
    body = {"requester": {"id": requester}, "title": "VPN drops", "category": "network"}
    answer = await post(desk, "intake/tickets", body, *roles, who=who)
    assert answer.status_code == 201, answer.text
    return answer.json()["ticket_id"]


async def agreement(desk: InProcessDesk, name: str, customer: str) -> str:
    body = msgspec.to_builtins(AGREEMENT_DOCUMENTS[0].example) | {"customer": customer}
    answer = await desk.clients["sla"].put(f"/agreements/{name}", json=body)
    assert answer.is_success, answer.text
    return name


async def objects(desk: InProcessDesk) -> dict[str, dict[str, str]]:
    """Make what the routes are called with, by kind: theirs, others', and what is not there."""
    article = {"title": "VPN", "text": "Renew it."}
    made = {
        who: (await post(desk, "knowledge/articles", article, Role.AGENT, who=who)).json()
        for who in (ME, "bob")
    }
    for who in (ME, "bob"):
        body = {"name": who, "group": "service-desk"}
        assert (await desk.clients["routing"].put(f"/agents/{who}", json=body)).is_success
    return {
        "ticket": {
            "own": await ticket(desk, ME, Role.AGENT, who="bo"),
            "others": await ticket(desk, "bob", Role.AGENT, who="bo"),
            "reported": await ticket(desk, "bob", Role.INTEGRATION, who=ME),
            "absent": ABSENT,
        },
        "article": {
            "own": made[ME]["article_id"],
            "others": made["bob"]["article_id"],
            "absent": ABSENT,
        },
        "agent": {"own": ME, "others": "bob", "absent": "nobody"},
        "agreement": {
            "own": await agreement(desk, "mine", ME),
            "others": await agreement(desk, "theirs", "bob"),
            "absent": "none",
        },
        "policies": {"any": "standard"},
        "calendars": {"any": "office"},
    }


def kind_of(path: str) -> str | None:
    """Return the kind of object that a route is about."""
    for word in ("ticket", "article", "agent", "agreement", "policies", "calendars"):
        if path.startswith((f"/{word}s/{{", f"/{word}/{{")):
            return word
    return None


class Calls:
    """The routes of a service with bodies that its own documentation gives."""

    def __init__(self, desk: InProcessDesk, service: str, document: dict[str, Any]) -> None:
        self._desk = desk
        self._service = service
        self._paths = document["paths"]

    async def status(self, row: str, roles: tuple[Role, ...], name: str) -> int:
        method, _, path = row.partition(" ")
        operation = self._paths[path.replace(":path}", "}")][method.lower()]
        content = operation.get("requestBody", {}).get("content", {})
        body = next((one["example"] for one in content.values() if "example" in one), None)
        body = PLAIN.get(row, body)
        filled = path
        for part in ("{id:path}", "{id}", "{agent_id}", "{delivery_id}"):
            filled = filled.replace(part, name)
        filled = filled.replace("{number}", "1")
        query = {"q": "vpn"} if path == "/search" else {}
        query |= {"target": "x"} if path == "/deliveries/redrive" else {}
        headers = self._desk.bearer(ME, *roles)
        if path == "/events":
            headers["Content-Type"] = "application/cloudevents+json"
        answer = await self._desk.clients[self._service].request(
            method, filled, json=body, params=query, headers=headers
        )
        assert answer.status_code < 500, (row, roles, answer.text)
        return answer.status_code


async def several(calls: list[Any]) -> list[Any]:
    found: list[Any] = []
    for start in range(0, len(calls), AT_ONCE):
        found += await asyncio.gather(*calls[start : start + AT_ONCE])
    return found


def rows_of(service: str) -> Iterator[tuple[str, bool]]:
    """Yield the routes of a service that need a token, and whether it asks for the object."""
    access = ROOMS[service]().access
    for name, row in access.rows.items():
        if is_route(name) and not row.is_open:
            yield name, any(row.roles.values())


@pytest.mark.timeout(240)
async def test_every_route_lets_in_whom_its_row_names_and_no_pair_of_roles_more(
    desk: InProcessDesk,
) -> None:
    names = await objects(desk)
    await desk.settle()
    wrong: list[str] = []
    for service, client in desk.clients.items():
        document = (await client.get("/openapi.json")).json()
        calls = Calls(desk, service, document)
        access = ROOMS[service]().access
        for row, is_limited in rows_of(service):
            kind = kind_of(row.partition(" ")[2])
            for relation, name in names.get(kind or "", {"any": ABSENT}).items():
                alone = dict(
                    zip(
                        Role,
                        await several([calls.status(row, (role,), name) for role in Role]),
                        strict=True,
                    )
                )
                for role, status in alone.items():
                    if (status == 403) and role in access.rows[row].roles and not is_limited:
                        wrong.append(f"{service} {row} {role} {relation}: {status}")
                    if (status != 403) and role not in access.rows[row].roles:
                        wrong.append(f"{service} {row} {role} {relation}: {status}")
                if not is_limited:
                    continue
                pairs = [*combinations(Role, 2)]
                found = await several([calls.status(row, pair, name) for pair in pairs])
                for (one, other), status in zip(pairs, found, strict=True):
                    is_let_in = alone[one] not in REFUSED or alone[other] not in REFUSED
                    if (status not in REFUSED) != is_let_in:
                        wrong.append(f"{service} {row} {one}+{other} {relation}: {status}")
        unsigned = await client.get("/openapi.json", headers={"Authorization": ""})
        assert unsigned.status_code == 200
    assert wrong == []


TICKET_ROUTES: Final = {
    "GET intake/tickets/{}": {"own": "requester", "reported": "integration"},
    "GET intake/tickets/{}/comments": {"own": "requester", "reported": "integration"},
    "GET intake/tickets/{}/links": {"own": "requester", "reported": "integration"},
    "POST intake/tickets/{}/comments": {"own": "requester", "reported": "integration"},
    "POST intake/tickets/{}/cancel": {"own": "requester", "reported": "integration"},
    "POST intake/tickets/{}/rate": {"own": "requester"},
    "GET sla/tickets/{}": {"own": "requester", "reported": "integration"},
    "GET reporting/tickets/{}/timeline": {"own": "requester"},
}


async def test_who_may_with_some_tickets_is_told_nothing_of_others(desk: InProcessDesk) -> None:
    names = (await objects(desk))["ticket"]
    await desk.settle()
    bodies = {"comments": {"text": "?"}, "cancel": {"reason": "no"}, "rate": {"score": 5}}
    for route, allowed in TICKET_ROUTES.items():
        method, _, door = route.partition(" ")
        service, _, path = door.partition("/")
        client = desk.clients[service]
        for role in (Role.REQUESTER, Role.INTEGRATION):
            if role not in allowed.values():
                continue
            answers: dict[str, httpx.Response] = {}
            for relation, name in names.items():
                body = bodies.get(path.rpartition("/")[2]) if method == "POST" else None
                answers[relation] = await client.request(
                    method, f"/{path.format(name)}", json=body, headers=desk.bearer(ME, role)
                )
            absent = said(answers["absent"])
            for relation, answer in answers.items():
                if allowed.get(relation) == role:
                    assert answer.status_code not in REFUSED, (route, role, relation)
                else:
                    assert said(answer) == absent, (route, role, relation)


def said(answer: httpx.Response) -> tuple[int, str]:
    """Return what an answer tells but for the id that was asked for, and the instant."""
    detail = answer.json().get("detail", "")
    return answer.status_code, detail[:9] if answer.status_code == 404 else detail


async def test_a_caller_without_a_role_or_a_token_gets_nowhere(desk: InProcessDesk) -> None:
    for service, client in desk.clients.items():
        for row, _ in rows_of(service):
            method, _, path = row.partition(" ")
            for headers, status in (({"Authorization": ""}, 401), (desk.bearer(ME), 403)):
                answer = await client.request(method, path, headers=headers)
                assert answer.status_code == status, (service, row)


# --- Finer rights, and ids in bodies -------------------------------------------------------------


async def test_reading_with_one_role_is_no_writing_by_another(desk: InProcessDesk) -> None:
    theirs = await ticket(desk, "bob", Role.AGENT, who="bo")
    both = (Role.AUDITOR, Role.REQUESTER)
    note = {"text": "psst", "visibility": "internal"}
    for verb, body in (("comments", note), ("close", {}), ("rate", {"score": 1})):
        answer = await post(desk, f"intake/tickets/{theirs}/{verb}", body, *both)
        assert answer.status_code == 404, (verb, answer.text)


async def test_nobody_rates_what_they_solved_themselves(desk: InProcessDesk) -> None:
    mine = await ticket(desk, ME, Role.REQUESTER, who=ME)
    await post(desk, f"intake/tickets/{mine}/resolve", {"resolution": "me"}, Role.AGENT)
    both = (Role.AGENT, Role.REQUESTER)
    for roles in (both, (Role.REQUESTER,), (Role.ADMIN,)):
        answer = await post(desk, f"intake/tickets/{mine}/rate", {"score": 5}, *roles)
        assert answer.status_code in REFUSED, roles
    await post(desk, f"intake/tickets/{mine}/reopen", {"reason": "no"}, Role.REQUESTER)
    done = {"resolution": "bo"}
    await post(desk, f"intake/tickets/{mine}/resolve", done, Role.AGENT, who="bo")
    answer = await post(desk, f"intake/tickets/{mine}/rate", {"score": 5}, Role.REQUESTER)
    assert answer.status_code == 200


async def test_a_part_is_split_off_only_from_a_ticket_that_one_may_touch(
    desk: InProcessDesk,
) -> None:
    theirs = await ticket(desk, "bob", Role.AGENT, who="bo")
    mine = await ticket(desk, ME, Role.REQUESTER, who=ME)
    reported = await ticket(desk, "bob", Role.INTEGRATION, who=ME)
    report = {"requester": {"id": ME}, "title": "a part"}

    async def split(whole: str, role: Role) -> tuple[int, str]:
        answer = await post(desk, "intake/tickets", report | {"split_from": whole}, role)
        return answer.status_code, answer.json().get("detail", "").replace(whole, "")

    for role in (Role.REQUESTER, Role.INTEGRATION):
        assert await split(theirs, role) == await split(ABSENT, role) == (422, "no ticket ")
    assert (await split(mine, Role.REQUESTER))[0] == 201
    assert (await split(reported, Role.INTEGRATION))[0] == 201
    assert (await split(theirs, Role.AGENT))[0] == 201
    parts = [report | {"split_from": theirs}] * 3
    answer = await post(desk, "intake/tickets:batch", {"tickets": parts}, Role.REQUESTER)
    assert [one["status"] for one in answer.json()["results"]] == [422] * 3
    await desk.settle()
    links = (await desk.clients["intake"].get(f"/tickets/{theirs}/links")).json()["links"]
    assert len(links) == 1, "the agent's"


async def test_an_agent_speaks_for_themselves(desk: InProcessDesk) -> None:
    await objects(desk)
    off = {"available": False}
    for who, role, status in (("bob", Role.AGENT, 403), (ME, Role.AGENT, 200)):
        answer = await post(desk, f"routing/agents/{who}/availability", off, role)
        assert answer.status_code == status
    answer = await post(desk, "routing/agents/bob/availability", off, Role.MANAGER)
    assert answer.status_code == 200
    theirs = await ticket(desk, "bob", Role.AGENT, who="bo")
    as_bob = {"agent_id": "bob"}
    answer = await post(desk, f"intake/tickets/{theirs}/start", as_bob, Role.AGENT)
    assert (answer.status_code, answer.json()["field"]) == (403, "/agent_id")
    answer = await post(desk, f"intake/tickets/{theirs}/start", as_bob, Role.MANAGER)
    assert answer.status_code == 200


async def test_an_article_is_published_by_somebody_who_did_not_write_it(
    desk: InProcessDesk,
) -> None:
    made = await post(desk, "knowledge/articles", {"title": "VPN", "text": "?"}, Role.AGENT)
    door = f"knowledge/articles/{made.json()['article_id']}"
    for role in (Role.AGENT, Role.MANAGER):
        answer = await post(desk, f"{door}/publish", {}, role)
        assert answer.status_code == 403, role
    revision = {"title": "VPN", "text": "Renew it."}
    path = "/" + door.partition("/")[2]
    headers = desk.bearer("bob", Role.AGENT)
    answer = await desk.clients["knowledge"].put(path, json=revision, headers=headers)
    assert answer.status_code == 200
    for who, status in ((ME, 403), ("bob", 403), ("eve", 200)):
        answer = await post(desk, f"{door}/publish", {}, Role.AGENT, who=who)
        assert answer.status_code == status, who
    reader = desk.bearer("ann", Role.REQUESTER)
    for who, role, seen in (("bob", Role.AGENT, 404), ("cy", Role.ADMIN, 404)):
        revision["text"] = f"{who} says"
        wait = {"Prefer": "wait=5"}
        await desk.clients["knowledge"].put(
            path, json=revision, headers=desk.bearer(who, role) | wait
        )
        found = await desk.clients["knowledge"].get(path, headers=reader)
        assert found.status_code == seen, who
    assert (await post(desk, f"{door}/publish", {}, Role.ADMIN, who="cy")).status_code == 200
    revision["text"] = "an admin's word is live at once"
    headers = desk.bearer("cy", Role.ADMIN) | {"Prefer": "wait=5"}
    await desk.clients["knowledge"].put(path, json=revision, headers=headers)
    found = await desk.clients["knowledge"].get(path, headers=reader)
    assert found.json()["text"] == revision["text"]


async def test_a_revision_and_its_publication_at_one_moment_put_nobodys_own_words_live(
    desk: InProcessDesk,
) -> None:
    made = await post(desk, "knowledge/articles", {"title": "VPN", "text": "?"}, Role.AGENT)
    path = f"/articles/{made.json()['article_id']}"
    client, bob = desk.clients["knowledge"], desk.bearer("bob", Role.AGENT)
    for number in range(20):
        body = {"title": "VPN", "text": f"bob's {number}"}
        revised, published = await asyncio.gather(
            client.put(path, json=body, headers=bob),
            client.post(f"{path}/publish", json={}, headers=bob),
        )
        assert revised.status_code == 200
        assert published.status_code in (200, 403)
        again = await client.post(f"{path}/publish", json={}, headers=bob)
        assert again.status_code == 403, published.text
        read = await post(desk, f"knowledge{path}/publish", {}, Role.AGENT, who="eve")
        assert read.status_code == 200


async def test_a_party_signs_for_itself(desk: InProcessDesk) -> None:
    await agreement(desk, "a", "acme")
    door = "sla/agreements/a/sign-offs"
    customer, provider = (
        {"version": 1, "party": one, "signatory": "Al"} for one in ("customer", "provider")
    )
    for body, role, who, status in (
        (customer, Role.MANAGER, "mo", 403),
        (provider, Role.CUSTOMER, "acme", 403),
        (customer, Role.CUSTOMER, "other", 404),
        (customer, Role.CUSTOMER, "acme", 200),
        (provider, Role.MANAGER, "mo", 200),
    ):
        answer = await post(desk, door, body, role, who=who)
        assert answer.status_code == status, (role, who, answer.text)
    await desk.settle()
    for who, seen in (("acme", ["a"]), ("other", [])):
        client, headers = desk.clients["sla"], desk.bearer(who, Role.CUSTOMER)
        found = (await client.get("/agreements", headers=headers)).json()["agreements"]
        assert [one["agreement_id"] for one in found] == seen


async def test_a_requester_sees_the_public_part_of_their_timeline(desk: InProcessDesk) -> None:
    mine = await ticket(desk, ME, Role.REQUESTER, who=ME)
    door = f"intake/tickets/{mine}"
    for visibility in ("internal", "public"):
        note = {"text": visibility, "visibility": visibility}
        await post(desk, f"{door}/comments", note, Role.AGENT, who="bo")
    hold = {"reason": "vendor", "note": "he is always late"}
    await post(desk, f"{door}/hold", hold, Role.AGENT, who="bo")
    await desk.settle()
    path = f"/tickets/{mine}/timeline"
    client = desk.clients["reporting"]
    seen = (await client.get(path, headers=desk.bearer(ME, Role.REQUESTER))).text
    assert "vendor" in seen
    assert "public" in seen
    for secret in ("internal", "always late", "routing"):
        assert secret not in seen
        assert secret in (await client.get(path)).text


# --- Names in addresses --------------------------------------------------------------------------

NAMES: Final = ("%7f", "%20", "%E2%80%AE", "..%2f", "%2e%2e", "a%20", "%E3%80%80", "%C2%A0x")


async def test_names_in_addresses_are_such_as_events_can_hold_and_people_can_read(
    desk: InProcessDesk,
) -> None:
    agent = {"name": "Bo", "group": "service-desk"}
    hours = {"zone": "UTC", "weekly": {"mon": [["09:00", "17:00"]]}}
    for path, service, body in (
        ("/agents/{}", "routing", agent),
        ("/calendars/{}", "sla", hours),
        ("/outages/a/{}", "sla", {"service": "m", "started_at": "2026-02-03T01:00:00Z"}),
    ):
        for name in NAMES:
            answer = await desk.clients[service].put(path.format(name), json=body)
            assert answer.status_code in (404, 405, 422), (path, name, answer.text)
    assert (await desk.clients["routing"].put("/agents/%7f", json=agent)).status_code == 422
    assert (await desk.clients["routing"].put("/agents/李 Bo", json=agent)).status_code == 200
    await desk.settle()
    assert (await desk.clients["routing"].get("/agents")).status_code == 200


async def test_webhooks_are_signed_or_the_desk_does_not_start(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_NOTIFY_URL", "http://127.0.0.1:9/news")
    with pytest.raises(StartupError, match="DESK_WEBHOOK_SECRET"):
        async with in_process_desk(make_database, tmp_path, services=("intake",)):
            pass
    secret = webhook_secret(tmp_path).get_secret_value()
    assert len(secret) > 30
    assert webhook_secret(tmp_path).get_secret_value() == secret


async def test_metrics_of_one_service_are_not_those_of_all(desk: InProcessDesk) -> None:
    for name, client in desk.clients.items():
        shown = (await client.get("/metrics")).text
        assert set(re.findall(r'service="(\w+)"', shown)) == {name}
