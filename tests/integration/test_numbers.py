"""Numbers that people read out: never given twice, whoever else brings some."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from support.histories import START, created
from support.inprocess import in_process_desk

from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.runtime.numbers import Numbers, is_behind, raise_past


@pytest.fixture
async def pool(make_database: Callable[[str], str]) -> AsyncGenerator[Pool]:
    dsn = make_database("service")
    await migrate(dsn)
    made = await open_pool(dsn, role="desk_app", name="test", size_max=6)
    yield made
    await made.close()


async def raised(pool: Pool, number: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await raise_past(connection, number)


async def test_the_first_number_of_all_counts_as_given_once_it_is(pool: Pool) -> None:
    assert await is_behind(pool, 1)
    await raised(pool, 1)
    assert not await is_behind(pool, 1)
    assert await Numbers(pool).take(2) == [2, 3]


async def test_numbers_only_rise(pool: Pool) -> None:
    numbers = Numbers(pool)
    await raised(pool, 40)
    await raised(pool, 20)
    assert await numbers.take() == [41]


async def test_none_is_double_while_the_sequence_is_raised(pool: Pool) -> None:
    two = Numbers(pool), Numbers(pool)
    taken: list[int] = []

    async def take(numbers: Numbers) -> None:
        for _ in range(150):
            taken.extend(await numbers.take(3))

    async def rise() -> None:
        for number in range(0, 1_500, 5):
            await raised(pool, number)

    await asyncio.gather(take(two[0]), take(two[1]), rise())
    assert len(set(taken)) == len(taken) == 900


async def test_a_past_may_bring_numbers_like_ours(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path, services=["intake"]) as desk:
        streams = [past(UUID(int=1), "INC-000002"), past(UUID(int=2), "INC0000093")]
        answer = await desk.clients["intake"].post(
            "/history:batch", json={"source": "old-desk", "streams": streams}
        )
        assert [one["added"] for one in answer.json()["results"]] == [1, 1], answer.text
        for number in range(3):
            await desk.report(number)
        await desk.settle()
        board = await desk.rooms["intake"].service.pool.fetch("SELECT number FROM board ORDER BY 1")
    assert sorted(row[0] for row in board) == [
        "INC-000002",
        "INC-000003",
        "INC-000004",
        "INC-000005",
        "INC0000093",
    ]


def past(ticket_id: UUID, number: str) -> dict[str, object]:
    """The past of a ticket that another desk made."""
    data = msgspec.to_builtins(msgspec.structs.replace(created(ticket_id), number=number))
    first = {"type": "ticket.created", "time": START.isoformat(), "actor": "a", "data": data}
    return {"stream_id": str(ticket_id), "events": [first]}
