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
from shared.log.port import Record
from shared.replay.rebuild import ensure, rebuild, verify

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
