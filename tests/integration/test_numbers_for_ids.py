"""Whatever takes a ticket's id takes its number, and tells no more by it."""

import re
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from support.bent_log import Away
from support.inprocess import InProcessDesk, in_process_desk

from shared.http.issuers import Role
from shared.log.port import Log

ABSENT: Final = str(UUID(int=7))
UNKNOWN: Final = "INC-987654"


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path) as running:
        yield running


async def made(desk: InProcessDesk, path: str, body: dict[str, Any]) -> tuple[str, str]:
    """Return id and number of something new."""
    answer = (
        await desk.clients[path.partition("/")[0]].post(path.partition("/")[2], json=body)
    ).json()
    return answer.get("ticket_id") or answer["article_id"], answer["number"]


async def ticket(desk: InProcessDesk, requester: str = "ann") -> tuple[str, str]:
    return await made(desk, "intake/tickets", {"requester": {"id": requester}, "title": "VPN"})


async def routes(desk: InProcessDesk) -> list[tuple[str, str, str, Any]]:
    """Return service, method, path and body of every route with a ticket or article in its path."""
    found: list[tuple[str, str, str, Any]] = []
    for service, client in desk.clients.items():
        document = (await client.get("/openapi.json")).json()
        for path, methods in document["paths"].items():
            if re.match(r"/(tickets|articles)/\{id\}", path):
                for method, operation in methods.items():
                    content = operation.get("requestBody", {}).get("content", {})
                    example = content.get("application/json", {}).get("example")
                    found.append((service, method.upper(), path, example))
    return found


def without(answer: httpx.Response, *words: str) -> tuple[int, str]:
    """Return an answer without its words for what was asked after, and what always differs."""
    text = re.sub(r'"(trace_id|correlation_id|read_at)":"[^"]*"', "", answer.text)
    text = re.sub(r"known at [-\d:.T+]*", "", text)
    for word in words:
        text = text.replace(word, "IT")
    return answer.status_code, text


async def test_every_route_takes_the_number_for_the_id(desk: InProcessDesk) -> None:
    ticket_id, number = await ticket(desk)
    article = await made(desk, "knowledge/articles", {"title": "VPN", "text": "Renew it."})
    await desk.settle()
    reads = [one for one in await routes(desk) if one[1] == "GET"]
    assert {service for service, *_ in reads} == set(desk.clients)
    for service, _, path, _ in reads:
        known = article if path.startswith("/articles") else (ticket_id, number)
        by_id, by_number = [
            await desk.clients[service].get(path.replace("{id}", word)) for word in known
        ]
        assert by_number.status_code == 200, f"{service} {path}: {by_number.text}"
        assert without(by_number, *known) == without(by_id, *known)


async def test_an_unknown_number_is_as_an_unknown_id_to_whom_it_may_not_concern(
    desk: InProcessDesk,
) -> None:
    hidden_id, hidden = await ticket(desk, "bob")
    await desk.settle()
    caller = desk.bearer("eve", Role.REQUESTER, Role.INTEGRATION)
    count = 0
    for service, method, path, body in await routes(desk):
        if path.startswith("/articles"):
            continue
        answers = [
            without(
                await desk.clients[service].request(
                    method, path.replace("{id}", word), json=sent, headers=caller
                ),
                word,
            )
            for sent in (body, {"no such": "field"})
            for word in (UNKNOWN, hidden, hidden_id, ABSENT)
        ]
        assert len(set(answers[:4])) == len(set(answers[4:])) == 1, f"{service} {path}: {answers}"
        assert answers[0][0] in (403, 404)
        assert hidden_id not in answers[1][1]
        count += answers[0][0] == 404
    assert count >= 6


async def test_who_may_see_everything_is_told_that_nothing_is_called_so(
    desk: InProcessDesk,
) -> None:
    for service, method, path, body in await routes(desk):
        answer = await desk.clients[service].request(
            method, path.replace("{id}", UNKNOWN), json=body
        )
        if path.endswith("/rate"):  # for requesters alone
            continue
        assert answer.status_code == 404, f"{service} {method} {path}: {answer.text}"
        assert UNKNOWN in answer.json()["detail"]


async def test_a_body_may_name_a_ticket_by_its_number(desk: InProcessDesk) -> None:
    first, second = await ticket(desk), await ticket(desk)
    intake = desk.clients["intake"]
    refused = await intake.post(f"/tickets/{first[1]}/merge", json={"into": UNKNOWN})
    assert (refused.status_code, refused.json()["field"]) == (422, "/into")
    assert refused.json()["detail"] == f"no ticket {UNKNOWN}"
    merged = await intake.post(f"/tickets/{first[1]}/merge", json={"into": second[1]})
    assert merged.is_success, merged.text
    await desk.settle()
    links = (await intake.get(f"/tickets/{first[1]}/links")).json()["links"]
    assert [link["ticket_id"] for link in links] == [second[0]]


async def test_intake_knows_a_number_at_once(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path, services=["intake"]) as desk:
        for place in range(20):
            _, number = await ticket(desk)
            answer = await desk.clients["intake"].post(f"/tickets/{number}/start", json={})
            assert answer.status_code == 200, f"{place}: {answer.text}"


async def test_intake_knows_a_number_while_the_log_is_away(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    logs: list[Away] = []

    def wrapped(log: Log) -> Log:
        logs.append(Away(log))
        return logs[0]

    async with in_process_desk(make_database, tmp_path, services=["intake"], wrap=wrapped) as desk:
        logs[0].is_away = True
        ticket_id, number = await ticket(desk)
        answer = await desk.clients["intake"].post(f"/tickets/{number}/start", json={})
        assert (answer.status_code, answer.json()["id"]) == (200, ticket_id)
        logs[0].is_away = False
        await desk.settle()
