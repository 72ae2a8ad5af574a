"""R3: whatever the order in which a log delivers, the read model is the same.

Two folds that look right and are not stand beside it: if the interleavings could not tell them
from a right one, this test would prove nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.histories import day, delivered

from services.intake.projections import READ_MODEL as BOARD
from services.reporting.projections import READ_MODEL as TICKETS
from services.routing.projections import READ_MODEL as ROUTING
from services.sla.projections import READ_MODEL as CLOCKS
from shared.contracts.registry import Recorded
from shared.postgres.migrate import migrate
from shared.postgres.pool import open_pool
from shared.replay import schema
from shared.runtime.read_model import Fold, ReadModel, write

MODELS = [BOARD, TICKETS, ROUTING, CLOCKS]
SEEDS = st.integers(0, 10_000)


def rows(model: ReadModel, events: list[Recorded]) -> dict[str, list[Any]]:
    fold = Fold(model)
    for event in events:
        fold.add(event)
    return rows_of(fold, model)


def rows_of(fold: Fold, model: ReadModel) -> dict[str, list[Any]]:
    return {table.name: sorted(map(plain, fold.rows(table)), key=repr) for table in model.tables}


def plain(row: Iterable[Any]) -> tuple[Any, ...]:
    """Return a row with its ids as text, as the fold has them where PostgreSQL has UUIDs."""
    return tuple(str(value) if isinstance(value, UUID) else value for value in row)


@pytest.mark.parametrize("model", MODELS, ids=["intake", "reporting", "routing", "sla"])
@given(history=SEEDS, order=SEEDS)
@settings(max_examples=150, deadline=None)
def test_any_order_and_any_duplication_give_the_same_rows(
    model: ReadModel, history: int, order: int
) -> None:
    events = day(history)
    assert rows(model, delivered(events, order)) == rows(model, events)


@given(history=SEEDS, order=SEEDS, cut=st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_folding_all_is_folding_the_rest_onto_a_prefix(
    history: int, order: int, cut: float
) -> None:
    events = delivered(day(history), order)
    place = int(len(events) * cut)
    fold = Fold(BOARD)
    for event in events[:place]:
        fold.add(event)
    for event in events[place:]:
        fold.add(event)
    assert {t.name: sorted(map(plain, fold.rows(t)), key=repr) for t in BOARD.tables} == rows(
        BOARD, events
    )


def arrival_fold(events: list[Recorded]) -> dict[Any, Any]:
    """The first broken fold: the last one to arrive wins."""
    state: dict[Any, Any] = {}
    for event in events:
        for facet in BOARD.project(event):
            state[event.stream_id, type(facet)] = facet
    return state


def offset_fold(events: list[Recorded]) -> dict[Any, Any]:
    """The second broken fold: guarded by the offset, which says nothing across topics."""
    state: dict[Any, tuple[int, Any]] = {}
    ends: dict[str, int] = {}
    for event in events:
        offset = ends[event.type] = ends.get(event.type, 0) + 1
        for facet in BOARD.project(event):
            key = (event.stream_id, type(facet))
            if key not in state or state[key][0] < offset:
                state[key] = (offset, facet)
    return {key: facet for key, (_, facet) in state.items()}


@pytest.mark.parametrize("broken", [arrival_fold, offset_fold])
def test_the_interleavings_tell_a_broken_fold_from_a_right_one(
    broken: Callable[[list[Recorded]], dict[Any, Any]],
) -> None:
    diverged = 0
    for seed in range(200):
        events = day(seed)
        diverged += broken(delivered(events, seed)) != broken(delivered(events, seed + 1))
    assert diverged > 100


def test_postgresql_folds_like_memory(make_database: Callable[[str], str]) -> None:
    asyncio.run(_compare_with_sql(make_database("fold")))


async def _compare_with_sql(dsn: str) -> None:
    await migrate(dsn)
    pool = await open_pool(dsn, role="desk_replay", name="fold", size_max=1)
    async with pool.acquire() as connection:
        for seed in range(12):
            for model in MODELS:
                transaction = connection.transaction()
                await transaction.start()
                await schema.create(connection, model, schema.LIVE)
                await _apply_in_batches(connection, model, seed)
                expected = rows(model, day(seed))
                for table in model.tables:
                    columns = ", ".join(column.name for column in table.columns)
                    found = await connection.fetch(f"SELECT {columns} FROM read.{table.name}")
                    assert sorted(map(plain, found), key=repr) == expected[table.name]
                await transaction.rollback()
    await pool.close()


async def _apply_in_batches(connection: Any, model: ReadModel, seed: int) -> None:
    chance = Random(seed)
    events = delivered(day(seed), seed)
    while events:
        size = chance.randrange(1, 9)
        fold = Fold(model)
        for event in events[:size]:
            fold.add(event)
        await write(connection, model, fold, schema.LIVE)
        del events[:size]


def test_the_guard_in_sql_is_what_keeps_the_order_out(make_database: Callable[[str], str]) -> None:
    """Break the code: without the guard, some order must give other rows."""
    board = BOARD.tables[0]
    guarded = board.upsert("read", board.shapes)
    unguarded = guarded.sql.replace("> coalesce(old.", ">= 0 + 0 * coalesce(old.")
    assert unguarded != guarded.sql

    async def diverges() -> bool:
        dsn = make_database("unguarded")
        await migrate(dsn)
        connection: asyncpg.Connection[Any] = await asyncpg.connect(dsn)
        results: set[str] = set()
        for order in range(6):
            async with connection.transaction():
                await schema.create(connection, BOARD, schema.LIVE)
                for event in delivered(day(3), order):
                    fold = Fold(BOARD)
                    fold.add(event)
                    if batch := list(fold.rows(board)):
                        await connection.execute(unguarded, *guarded.arguments(batch))
                results.add(
                    str(
                        await connection.fetch("SELECT title, status FROM read.board ORDER BY 1, 2")
                    )
                )
                await connection.execute("DROP SCHEMA read CASCADE")
        await connection.close()
        return len(results) > 1

    assert asyncio.run(diverges())
