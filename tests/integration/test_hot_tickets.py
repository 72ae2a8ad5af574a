"""Tickets on which a lot is said: no command costs more for it, and nobody is turned away."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from support.histories import created
from support.inprocess import in_process_desk

from services.intake.domain.commands import CommentTicket, ResolveTicket, TicketCommand
from services.intake.domain.ticket import Ticket
from services.intake.handlers import DECIDER
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCommented, TicketCreated
from shared.contracts.sendable import UnsendableError
from shared.errors import (
    IllegalTransitionError,
    ReusedIdError,
    StaleSequenceError,
)
from shared.journal.committer import Committer
from shared.journal.handler import CommandHandler, Intent, Written, read_states
from shared.journal.history import HistoryDoor, PastBatch, PastEvent, PastStream, TakenOver
from shared.journal.journal import Append, Draft, Fate, Journal
from shared.log.embedded import EmbeddedLog
from shared.log.port import RECORD_BYTES_MAX
from shared.postgres.migrate import migrate
from shared.postgres.pool import Connection, Pool, open_pool
from shared.telemetry.metrics import MetricRegistry

T = UUID(int=1)
NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
LINEAGE = Lineage(actor="test", correlation_id="c")
LONG = 1_500
_FETCHED = """
SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
WHERE schemaname = 'kernel' AND relname = 'journal'
"""
READ_MAX = 14 + 32 + 1 + 1
"""Of each type the last, the tail, the comment asked for, and where the snapshot ends."""


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        return NOW


class CountingJournal(Journal):
    """Counts how often it is asked to append."""

    appended = 0

    async def append(self, connection: Connection, appends: Sequence[Append]) -> list[Fate]:
        self.appended += 1
        return await super().append(connection, appends)


class Replica:
    """One of the processes that write one database."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.journal = CountingJournal("intake", Clock())
        metrics = MetricRegistry().for_service("test")
        self.committer = Committer(self.journal, pool, metrics, outbox_max=10**6)
        self.handler = CommandHandler[TicketCommand, Ticket](DECIDER, self.committer, pool)


@asynccontextmanager
async def replicas(
    make_database: Callable[[str], str], count: int
) -> AsyncGenerator[list[Replica]]:
    dsn = make_database("hot")
    await migrate(dsn)
    async with AsyncExitStack() as stack:
        found: list[Replica] = []
        for number in range(count):
            pool = await open_pool(dsn, role="desk_app", name=f"r{number}", size_max=4)
            found.append(Replica(await stack.enter_async_context(pool)))
        yield found


def said(number: int) -> Draft:
    comment = TicketCommented(
        ticket_id=T,
        comment_id=UUID(int=number),
        author_id="bo",
        author_role="agent",
        visibility="public",
        text="we are on it",
    )
    return Draft(comment, NOW)


def say(number: int, text: str = "we are on it", expected: int | None = None) -> Intent[Any]:
    command = CommentTicket(T, UUID(int=number), "bo", "agent", "public", text)
    return Intent(str(T), command, NOW, LINEAGE, expected)


async def fill(replica: Replica, comments: int) -> None:
    drafts = (Draft(created(T), NOW), *(said(n) for n in range(1, comments + 1)))
    async with replica.pool.acquire() as connection, connection.transaction():
        await replica.journal.append(connection, [Append(str(T), 0, drafts, LINEAGE)])


async def rows_read(pool: Pool, *commands: TicketCommand) -> int:
    """Return how many rows of the journal are read to decide commands on the ticket."""
    async with pool.acquire() as connection, connection.transaction():
        before = await connection.fetchval(_FETCHED)
        await read_states(connection, DECIDER, {str(T): commands})
        return await connection.fetchval(_FETCHED) - before


async def test_a_command_reads_no_more_of_a_long_past_than_of_a_short_one(
    make_database: Callable[[str], str],
) -> None:
    async with replicas(make_database, 1) as (one,):
        await fill(one, LONG)
        assert await rows_read(one.pool) >= LONG, "the first who reads it takes a snapshot"
        for number in (7, LONG, LONG + 1):
            assert await rows_read(one.pool, say(number).command) <= READ_MAX
        for number in range(LONG + 1, LONG + 101):
            written = await one.handler.handle(say(number))
            assert written.sequence == number + 1
            assert await rows_read(one.pool, say(number + 1).command) <= READ_MAX
        assert await one.handler.handle(say(7)) == Written(str(T), LONG + 101, ())
        with pytest.raises(ReusedIdError):
            await one.handler.handle(say(7, "something else"))
        assert await one.pool.fetchval("SELECT max(cardinality(kept)) FROM kernel.snapshot") <= 15


async def test_the_import_door_reads_no_more_than_was_sent(
    make_database: Callable[[str], str],
) -> None:
    async with replicas(make_database, 1) as (one,):
        door = HistoryDoor(one.journal, one.committer, one.pool, Clock())
        data = msgspec.Raw(msgspec.json.encode(created(T)))
        event = PastEvent(type=TicketCreated.TYPE, time=NOW, actor="ann", data=data)
        past = PastBatch(source="old", streams=(PastStream(stream_id=str(T), events=(event,)),))
        assert await door.take_over(past, "cli") == [TakenOver(str(T), added=1)]
        for number in range(1, 201):
            await one.handler.handle(say(number))
        async with one.pool.acquire() as connection:
            read = await one.journal.read_beginnings(connection, {str(T): 1})
        assert len(read[str(T)]) == 1
        assert await door.take_over(past, "cli") == [TakenOver(str(T), known=1)]
        other = msgspec.structs.replace(event, time=datetime(2025, 1, 5, 9, tzinfo=UTC))
        changed = PastStream(stream_id=str(T), events=(other,))
        (refused,) = await door.take_over(PastBatch(source="old", streams=(changed,)), "cli")
        assert isinstance(refused.error, ReusedIdError)


def counts(outcomes: Sequence[Written | BaseException]) -> tuple[list[int], list[BaseException]]:
    return (
        sorted(one.sequence for one in outcomes if isinstance(one, Written)),
        [one for one in outcomes if not isinstance(one, Written)],
    )


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_hundred_comments_at_once_all_get_in(
    make_database: Callable[[str], str], count: int
) -> None:
    async with replicas(make_database, count) as desks:
        await fill(desks[0], 0)
        outcomes = await asyncio.gather(
            *(desks[n % count].handler.handle(say(n + 1)) for n in range(100)),
            return_exceptions=True,
        )
        sequences, errors = counts(outcomes)
        assert not errors
        assert sequences == list(range(2, 102)), "each is told its own"
        rounds = sum(desk.journal.appended for desk in desks)
        assert rounds <= 3 + 10 * (count - 1), "they are written together, and do not race"
        assert all(not desk.handler._lines for desk in desks), "nobody is left in a line"


async def test_who_names_a_sequence_learns_whether_it_stood(
    make_database: Callable[[str], str],
) -> None:
    async with replicas(make_database, 2) as desks:
        await fill(desks[0], 0)
        outcomes = await asyncio.gather(
            *(desks[n % 2].handler.handle(say(n + 1, expected=1)) for n in range(20)),
            return_exceptions=True,
        )
        sequences, errors = counts(outcomes)
        assert sequences == [2]
        assert {type(error) for error in errors} == {StaleSequenceError}


async def test_in_a_line_each_is_decided_on_what_those_before_it_did(
    make_database: Callable[[str], str],
) -> None:
    async with replicas(make_database, 1) as (one,):
        await fill(one, 0)
        resolve = Intent[Any](str(T), ResolveTicket(T, "bo", "done"), NOW, LINEAGE)
        other = Intent[Any](str(T), ResolveTicket(T, "cy", "done better"), NOW, LINEAGE)
        outcomes: list[Any] = await asyncio.gather(
            *(one.handler.handle(i) for i in (resolve, resolve, other, say(1), say(1, "other"))),
            return_exceptions=True,
        )
        assert [type(one) for one in outcomes] == [
            Written,
            Written,
            IllegalTransitionError,
            Written,
            ReusedIdError,
        ]
        assert [len(one.events) for one in outcomes if isinstance(one, Written)] == [1, 0, 1]
        assert [one.sequence for one in outcomes if isinstance(one, Written)] == [2, 2, 3]


async def test_what_cannot_be_written_does_not_cost_those_in_line_with_it(
    make_database: Callable[[str], str],
) -> None:
    async with replicas(make_database, 1) as (one,):
        await fill(one, 0)
        outcomes = await asyncio.gather(
            *(
                one.handler.handle(say(n, "x" * RECORD_BYTES_MAX if n == 2 else "x"))
                for n in range(1, 5)
            ),
            return_exceptions=True,
        )
        sequences, errors = counts(outcomes)
        assert sequences == [2, 3, 4]
        assert [type(error) for error in errors] == [UnsendableError]


async def test_a_hot_ticket_holds_up_no_other(make_database: Callable[[str], str]) -> None:
    async with replicas(make_database, 1) as (one,):
        await fill(one, 0)
        strangers = [UUID(int=100 + n) for n in range(20)]
        openings = [Append(str(s), 0, (Draft(created(s), NOW),), LINEAGE) for s in strangers]
        stale = Append(str(T), 0, (said(1),), LINEAGE)
        async with one.pool.acquire() as connection, connection.transaction():
            fates = await one.journal.append(connection, [*openings[:10], stale, *openings[10:]])
        assert fates == [True] * 10 + [False] + [True] * 10


@pytest.mark.timeout(120)
async def test_a_hundred_comments_over_two_replicas_are_all_shown_page_by_page(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    log = await EmbeddedLog(make_database("log")).open()
    async with (
        in_process_desk(make_database, tmp_path, log=log, services=["intake"]) as one,
        in_process_desk(
            make_database, tmp_path, log=log, dsns={"intake": one.dsns["intake"]}, replica="two"
        ) as two,
    ):
        ticket = await one.report(1)
        clients = [one.clients["intake"], two.clients["intake"]]

        async def comment(number: int) -> httpx.Response:
            return await clients[number % 2].post(
                f"/tickets/{ticket}/comments", json={"text": f"comment {number}"}
            )

        answers = await asyncio.gather(*(comment(n) for n in range(100)))
        assert [answer.status_code for answer in answers] == [201] * 100
        assert sorted(answer.json()["sequence"] for answer in answers) == list(range(2, 102))
        await one.settle()
        await one.check([ticket])
    await log.close()
