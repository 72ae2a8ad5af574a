"""Rebuilds: one at a time, in bounded memory, resumed after a kill, the same as live."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from support.held_log import BreakingLog, GatedLog
from support.past import Stage, stage

from services.host import ROOMS
from services.intake.projections import READ_MODEL as BOARD
from services.intake.wiring import room
from shared.clock import SystemClock
from shared.contracts.registry import INBOUND, decode_record
from shared.errors import UnavailableError
from shared.journal.journal import Journal
from shared.log.port import LogUnavailableError, Outgoing, Record, TopicPartition
from shared.replay import reading, shadow
from shared.replay.rebuild import ensure, read_log, rebuild, verify
from shared.runtime.consumer import Consumer, applied_offsets
from shared.runtime.fence import HOLD, SupersededError, hold_fold
from shared.runtime.read_model import Fold, ReadModel, Table
from shared.telemetry.metrics import MetricRegistry

TOPICS = room().spec.topics
NEXT_BOARD = replace(BOARD, views=("CREATE VIEW newer AS SELECT 1 AS one",))


async def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_of_those_who_start_at_once_one_builds_and_the_others_find_it_done(
    make_database: Callable[[str], str],
) -> None:
    async with stage(make_database, BOARD, 30) as at:
        await at.pretend(TOPICS)
        logs = [GatedLog(at.log) for _ in range(3)]
        starters = [asyncio.create_task(ensure(NEXT_BOARD, log, at.replay)) for log in logs]
        await until(lambda: any(log.readers for log in logs))
        for log in logs:
            log.gate.set()
        assert sorted(await asyncio.gather(*starters)) == [False, False, True]
        assert sorted(log.readers > 0 for log in logs) == [False, False, True]
        assert await at.app.fetchval("SELECT count(*) FROM read.board") == 30
        assert all(verdict.agrees for verdict in await verify(NEXT_BOARD, at.log, at.replay))


async def test_who_loses_the_lock_while_building_changes_nothing(
    make_database: Callable[[str], str],
) -> None:
    async with stage(make_database, BOARD, 30) as at:
        await at.pretend(TOPICS)
        held, free = GatedLog(at.log), GatedLog(at.log)
        loser = asyncio.create_task(rebuild(NEXT_BOARD, held, at.replay))
        await until(lambda: held.readers)
        owner = await asyncpg.connect(at.dsn)
        assert (
            await owner.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_locks"
                " JOIN pg_stat_activity USING (pid)"
                " WHERE locktype = 'advisory' AND datname = current_database()"
            )
            == 1
        )
        await owner.close()
        free.gate.set()
        assert await ensure(NEXT_BOARD, free, at.replay)
        held.gate.set()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await loser
        assert all(verdict.agrees for verdict in await verify(NEXT_BOARD, at.log, at.replay))


async def test_what_was_read_with_the_old_fold_is_not_committed_after_the_switch(
    make_database: Callable[[str], str],
) -> None:
    async with stage(make_database, BOARD, 30) as at:
        places = [TopicPartition(topic, n) for topic in TOPICS for n in range(2)]
        old = Consumer(
            pool=at.app,
            reader=at.log.reader("old"),
            journal=Journal("intake", SystemClock()),
            model=BOARD,
            react=None,
            archive=None,
            clock=SystemClock(),
            metrics=MetricRegistry().for_service("intake"),
        )
        await old.assign(places)
        assert await rebuild(NEXT_BOARD, at.log, at.replay) == {}
        with pytest.raises(SupersededError, match=f"this program has {BOARD.version}-"):
            await old.step(1)
        await old.close()
        assert not any((await applied_offsets(at.app)).values())
        assert await at.app.fetchval("SELECT count(*) FROM read.board") == 0


async def test_a_switch_waits_for_who_is_writing_and_keeps_out_who_comes_later(
    make_database: Callable[[str], str],
) -> None:
    async with stage(make_database, BOARD, 5) as at:
        async with at.app.acquire() as writing, writing.transaction():
            await hold_fold(writing, BOARD.fingerprint)
            switching = asyncio.create_task(rebuild(NEXT_BOARD, at.log, at.replay))
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ExclusiveLock'"
            async with asyncio.timeout(10):
                while not await at.app.fetchval(waits):
                    await asyncio.sleep(0.01)
            later = asyncio.create_task(at.app.fetchval(HOLD, BOARD.fingerprint))
            await asyncio.sleep(0.1)
            assert not switching.done()
            assert not later.done(), "it would keep the switch waiting for ever"
        await switching
        assert await later is None


async def table_rows(at: Stage, model: ReadModel, name: str = "read") -> dict[str, list[Any]]:
    return {
        table.name: sorted(
            map(tuple, await at.app.fetch(f"SELECT {_columns(table)} FROM {name}.{table.name}")),
            key=repr,
        )
        for table in model.tables
    }


def _columns(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)


def folded(model: ReadModel, records: Sequence[Record]) -> dict[str, list[Any]]:
    """Return what one fold of everything in memory makes, in rows as PostgreSQL gives them."""
    fold = Fold(model)
    for record in records:
        fold.add(decode_record(record))
    return {
        table.name: sorted(
            (
                tuple(
                    UUID(value)
                    if column.sql_type == "uuid"
                    and value is not None
                    and not isinstance(value, UUID)
                    else value
                    for column, value in zip(table.columns, row, strict=True)
                )
                for row in fold.rows(table)
            ),
            key=repr,
        )
        for table in model.tables
    }


@pytest.mark.parametrize("service", ["intake", "sla", "reporting", "routing"])
async def test_in_whatever_chunks_a_rebuild_makes_what_one_fold_makes(
    service: str, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ROOMS[service]().spec
    monkeypatch.setattr(shadow, "ROWS_MAX", 40)
    monkeypatch.setattr(reading, "BATCH_SIZE_MAX", 25)
    async with stage(make_database, spec.read_model, 100) as at:
        told: list[Record] = []
        topics = [topic for topic in spec.topics if topic != INBOUND]
        async for records in read_log(at.log, {}, await at.log.end_offsets(topics)):
            told += records
        again = [Outgoing(r.topic, r.key or b"", r.value or b"") for r in told[::7]]
        await at.log.writer("test").send(again)  # what a restarted writer sends twice
        await at.pretend(spec.topics)
        monkeypatch.setattr(shadow.Fold, "add", watched(sizes := [0]))
        await rebuild(spec.read_model, at.log, at.replay)
        assert max(sizes) < 150, "no more than a chunk is held"
        monkeypatch.undo()
        assert await table_rows(at, spec.read_model) == folded(spec.read_model, told)
        assert all(verdict.agrees for verdict in await verify(spec.read_model, at.log, at.replay))


def watched(sizes: list[int]) -> Any:
    add = Fold.add

    def counted(fold: Fold, event: Any) -> None:
        add(fold, event)
        sizes.append(fold.size)

    return counted


@pytest.mark.parametrize("service", ["sla", "reporting"])
async def test_a_rebuild_that_was_stopped_goes_on_where_it_was(
    service: str, make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ROOMS[service]().spec
    monkeypatch.setattr(shadow, "ROWS_MAX", 40)
    monkeypatch.setattr(reading, "BATCH_SIZE_MAX", 25)
    async with stage(make_database, spec.read_model, 60) as at:
        ends = await at.pretend(spec.topics)
        wanted = sum(n for place, n in ends.items() if spec.read_model.folds(place.topic))
        read = stops = 0
        for fetches in (2, 3, 2, 4, 10**6):
            log = BreakingLog(at.log, fetches)
            stops += 1
            with suppress(LogUnavailableError):
                await rebuild(spec.read_model, log, at.replay)
                break
            read += log.read
        assert stops == 5
        assert read + log.read < 1.6 * wanted, "little is read again"
        await at.pretend(spec.topics)
        assert all(verdict.agrees for verdict in await verify(spec.read_model, at.log, at.replay))


async def test_a_rollback_only_catches_up(make_database: Callable[[str], str]) -> None:
    async with stage(make_database, BOARD, 60) as at:
        await at.pretend(TOPICS)
        await rebuild(BOARD, at.log, at.replay)
        assert await ensure(NEXT_BOARD, at.log, at.replay)
        log = BreakingLog(at.log, 10**6)
        assert await ensure(BOARD, log, at.replay)
        assert log.read == 0
        assert await at.app.fetchval("SELECT count(*) FROM read.board") == 60
        assert all(verdict.agrees for verdict in await verify(BOARD, at.log, at.replay))
        assert await ensure(NEXT_BOARD, log, at.replay)
        assert log.read == 0
        assert all(verdict.agrees for verdict in await verify(NEXT_BOARD, at.log, at.replay))


async def test_verify_says_which_row_differs_and_leaves_nothing(
    make_database: Callable[[str], str],
) -> None:
    async with stage(make_database, BOARD, 20) as at:
        await at.pretend(TOPICS)
        await rebuild(BOARD, at.log, at.replay)
        await at.app.execute("UPDATE read.board SET title = 'x' WHERE number = 'INC-000007'")
        board, *others = await verify(BOARD, at.log, at.replay)
        assert board.difference is not None
        assert (board.difference.column, board.difference.live) == ("title", '"x"')
        assert not board.agrees
        assert all(verdict.agrees for verdict in others)
        left = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('read_next', 'read_check')"
        assert await at.app.fetchval(left) == 0
        with pytest.raises(UnavailableError, match=f"this program has {NEXT_BOARD.version}-"):
            await verify(NEXT_BOARD, at.log, at.replay)
