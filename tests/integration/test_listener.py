"""News by LISTEN: a connection that is lost, or silent, is made anew by who waits for news."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from support.inprocess import in_process_desk

from shared.log.embedded import EmbeddedLog
from shared.log.port import Outgoing, TopicPartition
from shared.postgres import listener
from shared.postgres.listener import Listener
from shared.runtime import service

PLACE = TopicPartition("ticket.created", 0)


@pytest.fixture
async def admin(make_database: Callable[[str], str]) -> AsyncGenerator[asyncpg.Connection]:
    connection = await asyncpg.connect(make_database("news"))
    yield connection
    await connection.close()


@asynccontextmanager
async def listening(dsn: str) -> AsyncGenerator[tuple[Listener, list[str | None]]]:
    news: list[str | None] = []
    one = Listener(dsn, name="test listener", channel="news", on_news=news.append)
    await one.ensure()
    yield one, news
    one.close()


async def pid_of(admin: asyncpg.Connection, name: str) -> int | None:
    return await admin.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE application_name = $1", name
    )


async def cut(admin: asyncpg.Connection, name: str) -> None:
    async with asyncio.timeout(10):
        while (pid := await pid_of(admin, name)) is None:
            await asyncio.sleep(0.02)
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
        while await pid_of(admin, name) == pid:
            await asyncio.sleep(0.02)


async def until(news: list[str | None], wanted: list[str | None]) -> None:
    async with asyncio.timeout(10):
        while news != wanted:
            await asyncio.sleep(0.02)


async def test_a_connection_that_is_cut_is_noticed_and_made_anew(
    make_database: Callable[[str], str], admin: asyncpg.Connection
) -> None:
    async with listening(make_database("service")) as (one, news):
        await cut(admin, "test listener")
        await until(news, [None, None])
        await one.ensure()
        assert news == [None, None, None], "news may have come between"


async def test_a_connection_that_is_silent_is_made_anew(
    make_database: Callable[[str], str],
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "CHECK_SECONDS", 0)
    monkeypatch.setattr(listener, "ANSWER_SECONDS", 0.2)
    dsn = make_database("service")
    async with listening(dsn) as (one, news):
        silent = await pid_of(admin, "test listener")
        assert silent is not None
        os.kill(silent, signal.SIGSTOP)
        try:
            await one.ensure()
        finally:
            os.kill(silent, signal.SIGCONT)
        assert len(news) > 1, "it was made anew"
        del news[:]
        teller = await asyncpg.connect(dsn)
        await teller.execute("NOTIFY news, 'heard'")
        await until(news, ["heard"])
        await teller.close()


async def test_readers_of_the_embedded_log_are_woken_after_their_connection_was_cut(
    make_database: Callable[[str], str], admin: asyncpg.Connection
) -> None:
    log = await EmbeddedLog(make_database("log")).open()
    await log.create_topics([PLACE.topic], 1)
    reader, writer = log.reader("test"), log.writer("test")
    await reader.assign({PLACE: 0})
    await reader.fetch(records_max=1, wait_seconds=0)
    await cut(admin, "log listener")
    waiting = asyncio.create_task(reader.fetch(records_max=1, wait_seconds=60))
    async with asyncio.timeout(20):
        while await pid_of(admin, "log listener") is None:
            await asyncio.sleep(0.02)
        await writer.send([Outgoing(PLACE.topic, b"k", b"v")])
        assert [record.offset for record in await waiting] == [0]
    await reader.close()
    await log.close()


async def test_the_relay_is_woken_after_its_connection_was_cut(
    make_database: Callable[[str], str],
    admin: asyncpg.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without news it would look again only after a minute, which the test does not wait."""
    async with in_process_desk(make_database, tmp_path, services=["intake"]) as desk:
        relay = desk.rooms["intake"].service
        await cut(admin, "intake outbox listener")
        async with asyncio.timeout(20):
            while await pid_of(admin, "intake outbox listener") is None:
                await asyncio.sleep(0.02)
            monkeypatch.setattr(service, "_LOOK_IN_SECONDS", 60)
            await asyncio.sleep(1)  # what is under way waits no longer than it used to
            await desk.report(1)
            while await relay.pool.fetchval("SELECT count(*) FROM kernel.outbox"):
                await asyncio.sleep(0.02)
