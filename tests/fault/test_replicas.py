"""Replicas come, go, and come back as zombies: nothing is lost, nothing is done twice."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from random import Random

import asyncpg
import httpx
import pytest
from support.bent_log import LONG, Held, fault_seed, measured
from support.desk import DESK
from support.inprocess import InProcessDesk, in_process_desk
from support.invariants import broken_invariants
from support.replicas import Reports, until

from services.settings import DeskSettings
from shared.clock import SystemClock
from shared.contracts.registry import TOPICS
from shared.http.auth import ALL_SERVICES, LocalIssuer, Role
from shared.log.embedded import EmbeddedLog
from shared.log.port import Log
from shared.postgres.migrate import migrate
from shared.postgres.server_user import dying_with_parent
from shared.runtime import leases
from shared.runtime.consumer import applied_offsets

SERVICES = ("intake", "sla", "reporting")
CHANGES = 60 if LONG else 5


@pytest.mark.timeout(600 if LONG else 60)
async def test_replicas_that_come_and_go_lose_and_double_nothing(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    chance = Random(fault_seed())
    log = await EmbeddedLog(make_database("log")).open()
    async with in_process_desk(make_database, tmp_path, log=log, services=SERVICES) as first:
        desks = [first]
        reports = Reports(desks, chance)
        running = asyncio.create_task(reports.run())
        stacks: list[tuple[InProcessDesk, AsyncExitStack]] = []
        for change in range(CHANGES):
            if len(stacks) == 2 or (stacks and chance.random() < 0.4):
                desk, stack = stacks.pop(chance.randrange(len(stacks)))
                desks.remove(desk)
                await stack.aclose()
            else:
                stack = AsyncExitStack()
                another = in_process_desk(
                    make_database, tmp_path, log=log, dsns=first.dsns, replica=f"r{change}"
                )
                desk = await stack.enter_async_context(another)
                stacks.append((desk, stack))
                desks.append(desk)
            await asyncio.sleep(chance.uniform(0.2, 1.5))
        reports.stopping = True
        await running
        while stacks:
            desk, stack = stacks.pop()
            desks.remove(desk)
            await stack.aclose()
        await first.settle()
        measured(f"{len(reports.acknowledged)} tickets, {reports.refused} refusals")
        assert len(reports.acknowledged) > 50
        await first.check(reports.acknowledged)
    await log.close()


def lose_leases(desk: InProcessDesk) -> None:
    """Let a replica live on without ever renewing a lease, as one that was stopped for long."""
    for one in desk.rooms.values():
        for task in one.service._tasks:
            if task.get_name().endswith("leases"):
                task.cancel()


async def test_a_zombie_between_fetch_and_commit_changes_nothing(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "TTL_SECONDS", 2)
    log = await EmbeddedLog(make_database("log")).open()
    held = Held(log)

    def hold(_: Log) -> Log:
        return held

    async with in_process_desk(
        make_database, tmp_path, log=log, wrap=hold, services=SERVICES, replica="zombie"
    ) as zombie:
        acknowledged = {await zombie.report(number) for number in range(5)}
        await zombie.settle()
        held.gate.clear()
        acknowledged |= {await zombie.report(number) for number in range(5, 15)}
        await until(lambda: held.holding == set(SERVICES))
        lose_leases(zombie)
        async with in_process_desk(
            make_database, tmp_path, log=log, dsns=zombie.dsns, replica="heir"
        ) as heir:
            await heir.settle()
            offsets = {
                name: await applied_offsets(one.service.pool) for name, one in heir.rooms.items()
            }
            behind = [
                name
                for name, one in zombie.rooms.items()
                if any(offsets[name][p] > n for p, n in one.service.consumer.positions.items())
            ]
            assert set(behind) == set(SERVICES), "the heir has gone further than the zombie"
            board = await asyncpg.connect(heir.dsns["intake"])
            await board.execute("CREATE TABLE kept AS TABLE read.board; DELETE FROM read.board")
            held.gate.set()
            await until(
                lambda: all(
                    one.service.consumer.positions.items() >= offsets[name].items()
                    for name, one in zombie.rooms.items()
                )
            )
            assert await board.fetchval("SELECT count(*) FROM read.board") == 0, "it wrote"
            await board.execute("INSERT INTO read.board TABLE kept; DROP TABLE kept")
            await board.close()
            await heir.check(acknowledged)
            acknowledged |= {await heir.report(number) for number in range(15, 40)}
            await heir.settle()
            await heir.check(acknowledged)
    await log.close()


async def test_replicas_that_start_at_once_on_an_empty_database_do_not_trip_over_each_other(
    make_database: Callable[[str], str],
) -> None:
    for number in range(3):
        dsn = make_database(f"empty{number}")
        reached = await asyncio.gather(*(migrate(dsn) for _ in range(4)))
        assert sorted(map(len, reached)) == [0, 0, 0, 1]


class Served:
    """`desk serve intake` as a process of its own."""

    def __init__(self, name: str, folder: Path, dsn: str, log_dsn: str, token: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        env = {
            "INTAKE_DATABASE_URL": dsn,
            "DESK_LOG_URL": log_dsn,
            "DESK_REPLICA": name,
            "DESK_SIGNING_KEY": str(folder / "signing-key.json"),
        }
        with (folder / f"{name}.log").open("wb") as told:
            self.process = subprocess.Popen(
                [DESK, "serve", "intake", "--port", str(port)],
                env={**os.environ, **env},
                stdout=told,
                stderr=told,
                preexec_fn=dying_with_parent(signal.SIGTERM),  # noqa: PLW1509 no threads here
            )
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers)

    def is_ready(self) -> bool:
        try:
            return self.client.get("/health/ready").status_code == 200
        except httpx.TransportError:
            return False

    def report(self, number: int) -> str:
        body = {"requester": {"id": "ann"}, "title": f"Report {number}"}
        answer = self.client.post(
            "/tickets", json=body, headers={"Idempotency-Key": f"key-{number}"}, timeout=10
        )
        assert answer.is_success, answer.text
        return answer.json()["ticket_id"]

    def end(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        assert self.process.wait(20) == 0


async def stop_between_transactions(served: Served, connection: asyncpg.Connection) -> None:
    """SIGSTOP a replica; not where it holds locks, which others then wait for."""
    for _ in range(50):
        served.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.3)  # the sessions of the other finish what they are at
        if not await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in transaction%' AND state_change < now() - interval '0.2 s'"
        ):
            return
        served.process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.1)
    raise AssertionError("always within a transaction")


@pytest.mark.timeout(120)
async def test_a_process_stopped_past_its_lease_comes_back_as_a_harmless_zombie(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    log_dsn, dsn = make_database("log"), make_database("intake")
    log = await EmbeddedLog(log_dsn).open()
    await log.create_topics(TOPICS, DeskSettings().partitions)
    issuer = LocalIssuer.load_or_create(tmp_path / "signing-key.json")
    token = issuer.issue(
        "test",
        [Role.ADMIN],
        services=[ALL_SERVICES],
        expires_in=timedelta(days=1),
        now=SystemClock().now(),
    )
    connection = await asyncpg.connect(dsn)
    one = Served("one", tmp_path, dsn, log_dsn, token)
    await until(one.is_ready, 30)
    two = Served("two", tmp_path, dsn, log_dsn, token)
    try:
        await until(two.is_ready, 30)
        acknowledged = {one.report(0), two.report(1)}
        await stop_between_transactions(one, connection)
        number = 2
        async with asyncio.timeout(20):  # until the leases of the stopped one have passed on
            while await connection.fetchval(
                "SELECT count(*) FROM kernel.lease WHERE holder = 'one'"
                " AND name NOT LIKE 'member:%'"
            ):
                acknowledged.add(two.report(number))
                number += 1
                await asyncio.sleep(0.05)
        acknowledged |= {two.report(n) for n in range(number, number + 20)}
        one.process.send_signal(signal.SIGCONT)
        await until(one.is_ready)
        acknowledged |= {one.report(n) for n in range(number + 20, number + 40)}
        acknowledged |= {one.report(n) for n in range(number)}  # told twice, made once
        assert len(acknowledged) == number + 40
        async with asyncio.timeout(20):
            while broken := await broken_invariants({"intake": dsn}, log, acknowledged):
                measured(f"not yet: {broken[0]}")
                await asyncio.sleep(0.2)
    finally:
        one.end()
        two.end()
        await connection.close()
        await log.close()
