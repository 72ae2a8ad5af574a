"""What is said and what happened comes in pages, each of which costs the same."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from services.intake import queries
from shared.http.auth import Role

COMMENTS = 23


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path, services=["intake", "reporting"]) as one:
        yield one


async def pages(
    client: httpx.AsyncClient, path: str, limit: int, headers: dict[str, str] | None = None
) -> list[list[Any]]:
    """Return the rows of every page, followed by their links."""
    found: list[list[Any]] = []
    link: str | None = f"{path}?limit={limit}"
    while link is not None:
        answer = await client.get(link, headers=headers)
        assert answer.status_code == 200, answer.text
        (rows,) = answer.json().values()
        found.append(rows)
        link = answer.links["next"]["url"] if "next" in answer.links else None
    return found


async def say(desk: InProcessDesk, ticket: str, count: int, **body: Any) -> None:
    for number in range(count):
        text = {"text": f"comment {number}", **body}
        answer = await desk.clients["intake"].post(f"/tickets/{ticket}/comments", json=text)
        assert answer.status_code == 201


async def test_comments_come_in_pages_and_a_requester_sees_the_public_ones(
    desk: InProcessDesk,
) -> None:
    ticket = await desk.report(1)
    await say(desk, ticket, COMMENTS)
    await say(desk, ticket, 5, visibility="internal")
    await desk.settle()
    path, client = f"/tickets/{ticket}/comments", desk.clients["intake"]
    whole = await pages(client, path, 10)
    assert [len(rows) for rows in whole] == [10, 10, 8]
    assert [row["sequence"] for rows in whole for row in rows] == list(range(2, COMMENTS + 7))
    public = await pages(client, path, 10, desk.bearer("ann", Role.REQUESTER))
    assert [row["text"] for rows in public for row in rows] == [
        f"comment {number}" for number in range(COMMENTS)
    ]
    assert (await client.get(f"{path}?limit=201")).status_code == 422
    assert (await client.get(f"{path}?cursor=nonsense")).status_code == 422


async def test_a_ticket_shows_some_links_and_a_list_has_them_all(desk: InProcessDesk) -> None:
    whole = await desk.report(1)
    parts = sorted([await desk.report(n, split_from=whole) for n in range(2, 9)])
    await desk.settle()
    client = desk.clients["intake"]
    found = await pages(client, f"/tickets/{whole}/links", 3)
    assert [len(rows) for rows in found] == [3, 3, 1]
    links = [row for rows in found for row in rows]
    assert links == [{"ticket_id": part, "relation": "split_off"} for part in parts]
    assert (await client.get(f"/tickets/{whole}")).json()["links"] == links


async def test_a_timeline_comes_in_pages_in_the_order_of_time(desk: InProcessDesk) -> None:
    ticket = await desk.report(1)
    await say(desk, ticket, COMMENTS)
    await desk.settle()
    client, path = desk.clients["reporting"], f"/tickets/{ticket}/timeline"
    found = await pages(client, path, 10)
    assert [len(rows) for rows in found] == [10, 10, COMMENTS - 19]
    moments = [row for rows in found for row in rows]
    assert [row["sequence"] for row in moments] == list(range(1, COMMENTS + 2))
    assert moments == (await client.get(f"{path}?limit=200")).json()["timeline"]
    assert (await client.get(f"/tickets/{UUID(int=9)}/timeline")).status_code == 404
    assert (await client.get(f"{path}?cursor=WzFd")).status_code == 422, "of another list"


@pytest.mark.parametrize("public_only", [False, True])
async def test_a_page_of_comments_is_read_from_an_index(
    desk: InProcessDesk, *, public_only: bool
) -> None:
    ticket = await desk.report(1)
    await say(desk, ticket, COMMENTS)
    await desk.settle()
    pool = desk.rooms["intake"].service.pool
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan TO off")

        class Explaining:
            """Asks for the plan instead of the rows."""

            async def fetch(self, sql: str, *values: Any) -> list[Any]:
                rows = await connection.fetch(f"EXPLAIN {sql}", *values)
                plan = "\n".join(row[0] for row in rows)
                assert "Index Cond: ((ticket_id = " in plan
                assert "comment_seq >" in plan
                assert "Sort" not in plan
                return []

        explaining: Any = Explaining()
        await queries.list_comments(
            explaining, UUID(ticket), public_only=public_only, limit=10, after=3
        )
