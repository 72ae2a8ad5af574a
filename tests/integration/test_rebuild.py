"""Rebuilds: one at a time, in bounded memory, resumed after a kill, the same as live."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import asyncpg
import pytest
from support.past import stage

from services.intake.projections import READ_MODEL as BOARD
from services.intake.wiring import room
from shared.clock import SystemClock
from shared.journal.journal import Journal
from shared.log.port import Record, TopicPartition
from shared.replay.rebuild import ensure, rebuild, verify
from shared.runtime.consumer import Consumer, applied_offsets
from shared.runtime.fence import HOLD, SupersededError, hold_fold
from shared.telemetry.metrics import MetricRegistry

TOPICS = room().spec.topics
NEXT_BOARD = replace(BOARD, views=("CREATE VIEW newer AS SELECT 1 AS one",))


class GatedLog:
    """A log that holds its readers at a gate and knows how many wait there."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self.gate = asyncio.Event()
        self.readers = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def reader(self, name: str) -> "GatedReader":
        self.readers += 1
        return GatedReader(self, self._log.reader(name))


class GatedReader:
    def __init__(self, log: GatedLog, reader: Any) -> None:
        self._log, self._reader = log, reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def fetch(self, **limits: Any) -> Sequence[Record]:
        await self._log.gate.wait()
        return await self._reader.fetch(**limits)


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
        with pytest.raises(SupersededError, match="this program has 1-"):
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
