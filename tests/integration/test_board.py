"""The board: tickets by age or by priority, page by page, and found by their words."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.inprocess import in_process_desk

WORDS = [
    ("VPN drops every hour", "since the update of the client"),
    ("Printer jams", "paper gets stuck"),
    ("打印机无法连接网络", "办公室的打印机"),
    ("Cannot print", "the printers of floor 3 are gone"),
]


async def titles(client: httpx.AsyncClient, query: str) -> list[str]:
    """Follow a list to its end, two tickets a page."""
    found: list[str] = []
    url = f"/tickets?limit=2&{query}"
    while True:
        answer = await client.get(url)
        assert answer.status_code == 200, answer.text
        found += [ticket["title"] for ticket in answer.json()["tickets"]]
        if "Link" not in answer.headers:
            return found
        url = answer.headers["Link"].split(";")[0].strip("<>")


async def test_tickets_are_listed_by_priority_and_age_and_found_by_words(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path, services=["intake", "routing"]) as desk:
        client = desk.clients["intake"]
        urgent: dict[str, Any] = {"impact": "high", "urgency": "high"}
        for number, (title, description) in enumerate(WORDS):
            more = urgent if number == 3 else {"impact": "low", "urgency": "low"}
            await desk.report(number, title=title, description=description, **more)
        done = await desk.report(9, title="Printer solved", description="", **urgent)
        answer = await client.post(f"/tickets/{done}/resolve", json={"resolution": "cable"})
        assert answer.is_success, answer.text
        await desk.settle()
        newest = [title for title, _ in WORDS][::-1]
        assert await titles(client, "open=true") == newest
        assert await titles(client, "") == ["Printer solved", *newest]
        assert await titles(client, "open=false") == ["Printer solved"]
        by_rank = await titles(client, "open=true&sort=priority")
        assert by_rank == ["Cannot print", *(title for title, _ in WORDS[:3])]
        assert await titles(client, "q=printers&open=true&sort=newest") == [
            "Cannot print",
            "Printer jams",
        ]
        assert await titles(client, "q=stuck printer") == ["Printer jams"]
        assert await titles(client, "q=打印机") == ["打印机无法连接网络"]
        assert await titles(client, "q=unheard") == []


@pytest.mark.parametrize("query", ["sort=oldest", "open=perhaps", "q=", "sort=priority&cursor=eA"])
async def test_a_list_that_cannot_be_is_refused(
    query: str, make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path, services=["intake"]) as desk:
        answer = await desk.clients["intake"].get(f"/tickets?{query}")
        assert answer.status_code == 422, answer.text
        assert answer.headers["Content-Type"].startswith("application/problem+json")
