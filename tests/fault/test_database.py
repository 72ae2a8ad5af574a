"""PostgreSQL ends, or ends its sessions, under load: the desk waits, comes back, loses nothing."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from random import Random

import asyncpg
import pytest
from support.bent_log import LONG, fault_seed, measured
from support.desk import DeskProcess, eventually
from support.inprocess import in_process_desk
from support.invariants import check_invariants
from support.load import Load

from shared.postgres.embedded import EmbeddedPostgres
from shared.postgres.postmaster import read_postmaster
from shared.runtime.consumer import applied_offsets

SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
    " AND pid <> pg_backend_pid() AND datname <> 'postgres'"
)
CUT_SECONDS = 60 if LONG else 4
HELD_SECONDS = 150 if LONG else 4


def postmaster(data: Path) -> int:
    """Return the process id of the desk's database server, once it has one."""
    return eventually(lambda: read_postmaster(data / "postgres")).pid


def nothing_is_lost(desk: DeskProcess, load: Load) -> None:
    assert desk.process is not None
    assert desk.process.poll() is None, "the desk itself lived on"
    desk.settle()
    check_invariants(desk.data, load.acknowledged)
    measured(f"longest silence {load.silence_seconds_max:.2f} s; answers {dict(load.answers)}")
    assert load.silence_seconds_max < 15
    assert not load.answers["500"], "an outage is not a mistake of ours"


@pytest.mark.timeout(120)
def test_a_database_server_that_ends_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    with DeskProcess(tmp_path / "desk") as desk:
        with Load(desk.client, per_second=100) as load:
            for name in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGKILL):
                load.wait_for(20)
                before = postmaster(desk.data)
                os.kill(before, name)
                eventually(lambda ended=before: postmaster(desk.data) != ended)
                load.wait_for(20)
        nothing_is_lost(desk, load)


async def cut_sessions(data: Path, chance: Random) -> int:
    """End a random session of the desk every now and then; return how many were ended."""
    server = await EmbeddedPostgres.attach(data)
    assert server is not None
    connection = await asyncpg.connect(server.dsn("postgres"))
    loop, cut = asyncio.get_running_loop(), 0
    until = loop.time() + CUT_SECONDS
    while loop.time() < until:
        if pids := [row["pid"] for row in await connection.fetch(SESSIONS)]:
            cut += await connection.fetchval(
                "SELECT pg_terminate_backend($1)::int", chance.choice(pids)
            )
        await asyncio.sleep(chance.uniform(0, 0.05))
    await connection.close()
    return cut


@pytest.mark.timeout(240)
def test_sessions_ended_at_random_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = Random(fault_seed())
    with DeskProcess(tmp_path / "desk") as desk:
        with Load(desk.client, per_second=200) as load:
            load.wait_for(20)
            cut = asyncio.run(cut_sessions(desk.data, chance))
            load.wait_for(20)
        measured(f"{cut} sessions were ended")
        assert cut > 5 * CUT_SECONDS
        nothing_is_lost(desk, load)


@pytest.mark.timeout(60 + HELD_SECONDS)
async def test_transactions_left_open_hold_up_only_whom_they_lock_out(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    services = ("intake", "routing", "sla", "reporting")
    async with in_process_desk(make_database, tmp_path, services=services) as desk:
        acknowledged = {await desk.report(0)}
        await desk.settle()
        reader = await asyncpg.connect(desk.dsns["intake"])
        snapshot = reader.transaction(isolation="repeatable_read")
        await snapshot.start()
        seen = await reader.fetchval("SELECT count(*) FROM kernel.journal")
        locker = await asyncpg.connect(desk.dsns["sla"])
        lock = locker.transaction()
        await lock.start()
        await locker.execute("SELECT FROM kernel.consumer_offset FOR UPDATE")
        loop, number = asyncio.get_running_loop(), 1
        until = loop.time() + HELD_SECONDS
        while loop.time() < until:
            acknowledged.add(await desk.report(number))
            number += 1
            await asyncio.sleep(0.05)
        waits = await locker.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        assert waits, "sla's consumer waits for the lock"
        ends = await desk.log.end_offsets(["ticket.created"])
        for name in ("routing", "reporting"):
            applied = await applied_offsets(desk.rooms[name].service.pool)
            assert sum(applied[place] for place in ends) > number // 2, f"{name} goes on"
        assert await reader.fetchval("SELECT count(*) FROM kernel.journal") == seen
        await lock.rollback()
        await snapshot.rollback()
        await locker.close()
        await reader.close()
        measured(f"{number} tickets while transactions were open for {HELD_SECONDS} s")
        await desk.settle()
        await desk.check(acknowledged)
