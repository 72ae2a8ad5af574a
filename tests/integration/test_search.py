"""Search over HTTP: tickets and articles by their words, ranked, marked, page by page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from services.intake.queries import search
from services.knowledge import queries
from shared.http.auth import Role

TEXTS = [
    ("Printer jams", "the tray of the printers on floor 3"),
    ("Cannot print", "printer, printer, printer: nothing happens"),
    ("VPN drops", "printer and mail as well, says invoice_2024.pdf"),
    ("打印机无法连接网络", "办公室的打印机"),
    ("Mail is down again", ""),
]
REPORTED = Path(__file__).parents[3] / "shared/data/reported-faults/b11-search.json"


async def found(client: httpx.AsyncClient, query: str, **more: Any) -> list[str]:
    """Follow a search to its end, and return the titles."""
    titles: list[str] = []
    url = f"/tickets?q={query}"
    while True:
        answer = await client.get(url, **more)
        assert answer.status_code == 200, answer.text
        titles += [ticket["title"] for ticket in answer.json()["tickets"]]
        if "Link" not in answer.headers:
            return titles
        url = answer.headers["Link"].split(";")[0].strip("<>")


async def fill(desk: InProcessDesk, texts: list[tuple[str, str]]) -> None:
    for number, (title, description) in enumerate(texts):
        await desk.report(
            number,
            title=title,
            description=description,
            requester={"id": "ann" if number % 2 else "o'neil ~\\"},
        )
    await desk.settle()


async def test_tickets_are_found_ranked_marked_and_only_by_who_may(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_process_desk(make_database, tmp_path, services=["intake"]) as desk:
        client = desk.clients["intake"]
        await fill(desk, TEXTS)
        by_rank = ["Printer jams", "Cannot print", "VPN drops"]
        assert await found(client, "printers") == by_rank, "title, often, once"
        assert await found(client, "printers&sort=newest") == by_rank[::-1]
        assert await found(client, "printers&limit=1") == by_rank
        assert await found(client, "is down") == ["Mail is down again"]
        assert await found(client, "pdf") == ["VPN drops"]
        assert await found(client, "机") == ["打印机无法连接网络"]

        answer = (await client.get("/tickets?q=PRINTER floor")).json()
        assert answer["match"] == "all"
        (ticket,) = answer["tickets"]
        assert ticket["relevance"] > 0
        marked = {
            one["field"]: [one["text"][first:after] for first, after in one["marks"]]
            for one in ticket["highlights"]
        }
        assert marked == {"title": ["Printer"], "description": ["printers", "floor"]}

        answer = (await client.get("/tickets?q=printer unheard")).json()
        assert answer["match"] == "any", "no ticket has both words"
        assert [ticket["title"] for ticket in answer["tickets"]] == by_rank
        assert await found(client, "printer unheard&limit=2") == by_rank

        ann = {"headers": desk.bearer("ann", Role.REQUESTER)}
        assert await found(client, "printer", **ann) == ["Cannot print"]
        neil = {"headers": desk.bearer("o'neil ~\\", Role.REQUESTER)}
        assert await found(client, "printer", **neil) == ["Printer jams", "VPN drops"]
        assert await found(client, "printer&status=closed") == []
        assert await found(client, "printer&status=new&open=true&requester=ann") == ["Cannot print"]

        monkeypatch.setattr(search, "POOL_MAX", 2)
        assert await found(client, "printer&limit=1") == [
            "Cannot print",
            "VPN drops",
            "Printer jams",
        ]
        monkeypatch.setattr(search, "VISITED_MAX", 1)
        assert await found(client, "printer&requester=ann&sort=priority") == ["Cannot print"]
        assert await found(client, "printer&status=new") == by_rank[::-1], "one by one, all seen"

        for query in ("q=???", "sort=relevance"):
            answer = await client.get(f"/tickets?{query}")
            assert answer.status_code == 422, answer.text
            assert answer.json()["field"] in {"q", "sort"}


@pytest.mark.realdata
@pytest.mark.skipif(not REPORTED.exists(), reason="the reported searches are not here")
async def test_what_was_reported_not_to_be_found_is_found(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    reported = json.loads(REPORTED.read_text())
    services = ["intake", "knowledge"]
    async with in_process_desk(make_database, tmp_path, services=services) as desk:
        intake, knowledge = (desk.clients[name] for name in services)
        title_of = {name: title for name, title, _ in reported["texts"]}
        for name, title, text in reported["texts"]:
            key = {"Idempotency-Key": f"search-{name}"}
            report = {"requester": {"id": "ann"}, "title": title, "description": text}
            assert (await intake.post("/tickets", json=report, headers=key)).is_success
            body = {"title": title, "text": text or title}
            drafted = await knowledge.post("/articles", json=body, headers=key)
            address = f"/articles/{drafted.json()['article_id']}/publish"
            assert (await knowledge.post(address, json={})).is_success
        await desk.settle()
        lost: list[str] = []
        for query, wanted, _ in reported["queries"]:
            tickets = (await intake.get("/tickets", params={"q": query})).json()["tickets"]
            hits = (await knowledge.get("/search", params={"q": query})).json()["hits"]
            lost += [
                f"{query}: {[one['title'] for one in seen]}"
                for seen in (tickets, hits)
                if title_of.get(wanted) not in [one["title"] for one in seen]
            ]
        assert lost == []


async def test_no_number_of_drafts_hides_a_published_article(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "POOL_MAX", 4)
    monkeypatch.setattr(queries, "ANY_MIN", 2)
    monkeypatch.setattr(queries, "VISITED_MAX", 3)
    async with in_process_desk(make_database, tmp_path, services=["knowledge"]) as desk:
        client = desk.clients["knowledge"]

        async def draft(title: str, **more: str) -> str:
            body = {"title": title, "text": "renew the vpn certificate"} | more
            return (await client.post("/articles", json=body)).json()["article_id"]

        for title in ("VPN old", "VPN older"):
            published = await client.post(f"/articles/{await draft(title)}/publish", json={})
            assert published.is_success
        await draft("VPN zh", language="zh")
        for number in range(20):
            await draft(f"VPN draft {number}")
        await desk.settle()
        reader = desk.bearer("ann", Role.REQUESTER)
        for query in ("vpn certificate", "vpn", "certificate unheard"):
            answer = await client.get("/search", params={"q": query}, headers=reader)
            titles = {hit["title"] for hit in answer.json()["hits"]}
            assert titles == {"VPN old", "VPN older"}, query
        chinese = await client.get("/search", params={"q": "vpn", "language": "zh"})
        assert [hit["title"] for hit in chinese.json()["hits"]] == ["VPN zh"]
        assert len((await client.get("/search", params={"q": "vpn"})).json()["hits"]) <= 10
