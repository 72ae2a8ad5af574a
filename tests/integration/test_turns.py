"""One at a time in the whole desk: exclusion that nobody can lose unnoticed (ADR 0018)."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from support.histories import created
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import promise

from services.sla.handlers import rules as rule_handlers
from shared.clock import SystemClock
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCreated
from shared.errors import UnavailableError
from shared.journal.committer import Committer
from shared.journal.handler import CommandHandler, Decider, Intent
from shared.journal.journal import Append, Draft, Journal
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.postgres.turn import HeldTurn, Turn
from shared.runtime.catch_up import catch_up
from shared.telemetry.metrics import MetricRegistry

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
LINEAGE = Lineage(actor="test", correlation_id="c")
DECIDER = Decider[TicketCreated, int](
    0, lambda command, seen: [] if seen else [command], lambda seen, _event, _at: seen + 1
)
COUNT = "SELECT count(*) FROM kernel.journal"
KILL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass
class Writer:
    """One process of a service: a pool, a committer and a turn of its own."""

    pool: Pool
    committer: Committer
    handler: CommandHandler[TicketCreated, int]
    turn: Turn


@asynccontextmanager
async def writers(dsn: str) -> AsyncGenerator[list[Writer]]:
    await migrate(dsn)
    journal, made = Journal("intake", SystemClock()), list[Writer]()
    for _ in range(2):
        pool = await open_pool(dsn, role="desk_app", name="test", size_max=3)
        metrics = MetricRegistry().for_service("test")
        committer = Committer(journal, pool, metrics, outbox_max=100)
        handler = CommandHandler(DECIDER, committer, pool)
        made.append(Writer(pool, committer, handler, Turn(pool, "test")))
    try:
        yield made
    finally:
        for writer in made:
            await writer.pool.close()


def opening(number: int) -> Intent[TicketCreated]:
    ticket_id = UUID(int=number)
    return Intent(str(ticket_id), created(ticket_id), NOW, LINEAGE)


def append(number: int, turn: HeldTurn | None = None, expected: int = 0) -> Append:
    ticket_id = UUID(int=number)
    return Append(str(ticket_id), expected, (Draft(created(ticket_id), NOW),), LINEAGE, turn)


async def test_of_two_who_read_the_same_one_reads_again(
    make_database: Callable[[str], str],
) -> None:
    async with writers(make_database("service")) as (one, two):
        both_have_read = asyncio.Barrier(2)
        seen: list[int] = []

        def work(writer: Writer, number: int) -> Callable[[HeldTurn], Any]:
            async def attempt(turn: HeldTurn) -> int:
                count = await writer.pool.fetchval(COUNT)
                seen.append(count)
                if len(seen) <= 2:
                    await both_have_read.wait()
                await writer.handler.handle_in_turn([opening(number)], turn)
                return count

            return attempt

        decided = await asyncio.gather(one.turn.run(work(one, 1)), two.turn.run(work(two, 2)))
        assert sorted(decided) == [0, 1], "whoever came second had read what the first wrote"
        assert seen[:2] == [0, 0]


async def test_who_never_gets_his_turn_is_told_that_nothing_was_stored(
    make_database: Callable[[str], str],
) -> None:
    async with writers(make_database("service")) as (one, two):
        others = iter(range(100, 200))

        async def work(turn: HeldTurn) -> None:
            await two.turn.run(
                lambda theirs: two.handler.handle_in_turn([opening(next(others))], theirs)
            )
            await one.handler.handle_in_turn([opening(1), opening(2)], turn)

        with pytest.raises(UnavailableError, match="nothing was stored"):
            await one.turn.run(work)
        stored = await one.pool.fetch("SELECT stream_id FROM kernel.journal")
        assert not {str(UUID(int=1)), str(UUID(int=2))} & {row["stream_id"] for row in stored}


async def cut_sessions(dsn: str, *pools: Pool) -> None:
    """End all sessions, and let the pools give out none of them: who meets one is told 503."""
    own = await asyncpg.connect(dsn)
    await own.execute(KILL)
    await own.close()
    for pool in pools:
        await pool.expire_connections()


async def test_sessions_cut_in_the_middle_of_a_turn_put_no_two_at_it(
    make_database: Callable[[str], str],
) -> None:
    dsn = make_database("service")
    async with writers(dsn) as (one, two):
        counts: list[int] = []

        async def work(turn: HeldTurn) -> None:
            counts.append(await one.pool.fetchval(COUNT))
            if len(counts) == 1:
                await cut_sessions(dsn, one.pool, two.pool)
                await two.turn.run(lambda theirs: two.handler.handle_in_turn([opening(2)], theirs))
            await one.handler.handle_in_turn([opening(1)], turn)

        await one.turn.run(work)
        assert counts == [0, 1]


async def fates(writer: Writer, *groups: Sequence[Append]) -> list[list[bool]]:
    """Append groups of several callers in one transaction."""
    return list(await asyncio.gather(*(writer.committer.append(group) for group in groups)))


async def test_a_lost_turn_leaves_its_appends_out_whole_and_the_others_of_its_commit_alone(
    make_database: Callable[[str], str],
) -> None:
    async with writers(make_database("service")) as (one, _):
        lost, held = HeldTurn("test", 7), HeldTurn("test", 0)
        found = await fates(one, [append(1, lost), append(2, lost)], [append(3)], [append(4, held)])
        assert found == [[False, False], [True], [True]]
        assert await one.pool.fetchval(COUNT) == 2
        assert await fates(one, [append(5, held)]) == [[False]], "a turn is used once"


async def test_a_stranger_in_the_same_commit_takes_a_turn_out_whole(
    make_database: Callable[[str], str],
) -> None:
    async with writers(make_database("service")) as (one, _):
        turn = HeldTurn("test", 0)
        found = await fates(one, [append(1)], [append(1, turn), append(2, turn)])
        assert found == [[True], [False, False]]
        assert await one.pool.fetchval(COUNT) == 1


async def test_of_two_turns_of_one_number_in_one_commit_one_is_lost(
    make_database: Callable[[str], str],
) -> None:
    async with writers(make_database("service")) as (one, _):
        found = await fates(one, *([append(n, HeldTurn("test", 0))] for n in (1, 2)))
        assert sorted(found) == [[False], [True]]


async def test_what_belongs_to_a_turn_is_appended_all_or_none(
    make_database: Callable[[str], str],
) -> None:
    async with writers(make_database("service")) as (one, _):
        turn = HeldTurn("test", 0)
        found = await fates(one, [append(1, turn), append(2, turn, expected=9)], [append(1)])
        assert found == [[False, False], [True]], "who comes after it finds the stream as it was"


@pytest.fixture
async def replicas(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[list[InProcessDesk]]:
    async with in_process_desk(make_database, tmp_path, services=("sla",)) as one:
        await one.settle()
        async with in_process_desk(
            make_database, tmp_path, services=("sla",), log=one.log, dsns=one.dsns, replica="two"
        ) as two:
            yield [one, two]


@pytest.mark.parametrize("is_cut", [False, True], ids=["", "sessions cut"])
async def test_rules_published_at_two_replicas_at_once_are_published_one_after_the_other(
    replicas: list[InProcessDesk], monkeypatch: pytest.MonkeyPatch, *, is_cut: bool
) -> None:
    both, waited = asyncio.Barrier(2), list[object]()

    async def caught_up(service: Any, *_: object) -> None:
        await catch_up(service)
        waited.append(service)
        if is_cut and len(waited) == 2:
            services = [desk.rooms["sla"].service for desk in replicas]
            pools = [pool for one in services for pool in (one.pool, one.work_pool)]
            await cut_sessions(replicas[0].dsns["sla"], *pools)
        if len(waited) <= 2:
            await both.wait()  # both have read what is published, and hold their turns

    monkeypatch.setattr(rule_handlers, "catch_up", caught_up)
    etag = (await replicas[0].clients["sla"].get("/policies/standard")).headers["ETag"]

    async def publish(desk: InProcessDesk, seconds: int) -> int:
        answer = await desk.clients["sla"].put(
            "/policies/standard", json={"targets": [promise(seconds)]}, headers={"If-Match": etag}
        )
        return answer.status_code

    statuses = await asyncio.gather(*map(publish, replicas, (3600, 7200)))
    assert sorted(statuses) == [200, 412], "the second has read what the first published"
    own = await asyncpg.connect(replicas[0].dsns["sla"])
    assert await own.fetchval("SELECT token FROM kernel.turn WHERE name = 'rules'") == 1
    await own.close()
