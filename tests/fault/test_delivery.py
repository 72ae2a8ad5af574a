"""The log delivers twice, from the beginning again, or in another order; or it is away for long."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from random import Random

import asyncpg
import pytest
from support.bent_log import LONG, Away, Repeating, Shuffled, Slow, fault_seed, measured
from support.inprocess import InProcessDesk, in_process_desk

from services.host import ROOMS
from shared.contracts.registry import TOPICS
from shared.log.embedded import EmbeddedLog
from shared.log.port import Log, Outgoing
from shared.replay.rebuild import read_log

WAITING = 500_000 if LONG else 5_000


async def work(desk: InProcessDesk, chance: Random, tickets: int, first: int = 0) -> set[str]:
    """Report tickets and carry each a random way on; return their ids."""
    client = desk.clients["intake"]
    acknowledged: set[str] = set()
    for number in range(first, first + tickets):
        ticket = await desk.report(number)
        acknowledged.add(ticket)
        steps: list[tuple[str, dict[str, str]]] = [("start", {})]
        for _ in range(chance.randrange(3)):
            steps += [("hold", {"reason": "vendor"}), ("resume", {})]
        steps.append(("resolve", {"resolution": "done"}))
        for verb, body in steps[: chance.randrange(len(steps) + 1)]:
            answer = await client.post(f"/tickets/{ticket}/{verb}", json=body)
            assert answer.is_success, answer.text
    return acknowledged


async def nothing_is_parked(desk: InProcessDesk) -> None:
    for client in desk.clients.values():
        assert (await client.get("/quarantine")).json()["quarantine"] == []


async def test_batches_sent_again_after_they_were_stored_change_nothing(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    chance = Random(fault_seed())
    bent: list[Repeating] = []

    def wrap(log: Log) -> Log:
        bent.append(Repeating(log, chance))
        return bent[0]

    async with in_process_desk(make_database, tmp_path, wrap=wrap) as desk:
        acknowledged = await work(desk, chance, 20)
        await desk.settle()
        measured(f"{bent[0].denied} batches were stored and sent again")
        assert bent[0].denied
        await nothing_is_parked(desk)
        await desk.check(acknowledged)


async def test_every_record_a_second_time_changes_nothing(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    chance = Random(fault_seed())
    async with in_process_desk(make_database, tmp_path) as desk:
        acknowledged = await work(desk, chance, 20)
        await desk.settle()
        writer, copied = desk.log.writer("again"), 0
        async for records in read_log(desk.log, {}, await desk.log.end_offsets(TOPICS)):
            await writer.send([Outgoing(r.topic, r.key or b"", r.value or b"") for r in records])
            copied += len(records)
        acknowledged |= await work(desk, chance, 5, first=20)
        await desk.settle()
        measured(f"{copied} records were copied")
        await nothing_is_parked(desk)
        await desk.check(acknowledged)


@pytest.mark.parametrize("rewound", sorted(ROOMS))
async def test_a_service_that_reads_everything_again_comes_to_the_same(
    rewound: str, make_database: Callable[[str], str], tmp_path: Path
) -> None:
    chance = Random(fault_seed())
    log = await EmbeddedLog(make_database("log")).open()
    try:
        async with in_process_desk(make_database, tmp_path, log=log) as desk:
            acknowledged = await work(desk, chance, 10)
            await desk.settle()
        before = {p: end for p, end in (await log.end_offsets(TOPICS)).items() if end}
        connection = await asyncpg.connect(desk.dsns[rewound])
        await connection.execute("UPDATE kernel.consumer_offset SET next_offset = 0")
        await connection.close()
        async with in_process_desk(make_database, tmp_path, log=log, dsns=desk.dsns) as desk:
            await desk.settle(10)
            await desk.check(acknowledged)
            assert before == {p: e for p, e in (await log.end_offsets(TOPICS)).items() if e}
            acknowledged |= await work(desk, chance, 3, first=10)
            await desk.settle()
            await desk.check(acknowledged)
    finally:
        await log.close()


async def test_any_order_among_topics_comes_to_what_a_replay_in_order_comes_to(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    chance = Random(fault_seed())
    async with in_process_desk(
        make_database, tmp_path, wrap=lambda log: Shuffled(log, chance)
    ) as desk:
        acknowledged = await work(desk, chance, 40)
        await desk.settle()
        await desk.check(acknowledged)


async def report_many(desk: InProcessDesk, batch: int, size: int = 100) -> int:
    """Report a batch; return the status."""
    tickets = [{"requester": {"id": "ann"}, "title": f"Ticket {n}"} for n in range(size)]
    answer = await desk.clients["intake"].post(
        "/tickets:batch", json={"tickets": tickets}, headers={"Idempotency-Key": f"batch-{batch}"}
    )
    if answer.status_code == 429:
        assert int(answer.headers["Retry-After"]) > 0
    return answer.status_code


@pytest.mark.timeout(900 if LONG else 60)
async def test_a_large_outbox_is_bounded_and_drains_while_intake_goes_on(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    bent: list[Away] = []

    def wrap(log: Log) -> Log:
        bent.append(Away(log))
        return bent[0]

    services = ("intake", "reporting")
    async with in_process_desk(make_database, tmp_path, wrap=wrap, services=services) as desk:
        committer = desk.rooms["intake"].service.committer
        committer._outbox_max = WAITING
        bent[0].is_away = True
        batch = 0
        while (status := await report_many(desk, batch)) != 429:
            assert status == 200
            batch += 1
            assert batch <= WAITING // 100 + 2, "the limit is kept between two measurements too"
        assert (await desk.clients["intake"].get("/health/live")).status_code == 200
        assert committer.outbox_length > WAITING
        loop = asyncio.get_running_loop()
        began = loop.time()
        bent[0].is_away = False
        acknowledged: set[str] = set()
        async with asyncio.timeout(600):
            while await report_many(desk, batch) == 429:
                await asyncio.sleep(0.05)
            accepted_after = loop.time() - began
            acknowledged.add(await desk.report(1))
        await desk.settle(600)
        measured(
            f"{batch * 100} waited; accepted again after {accepted_after:.2f} s,"
            f" all applied after {loop.time() - began:.2f} s"
        )
        await desk.check(acknowledged)


async def test_a_slow_consumer_holds_nobody_up_shows_its_lag_and_catches_up(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    bent: list[Slow] = []

    def wrap(log: Log) -> Log:
        bent.append(Slow(log, "sla"))
        return bent[0]

    async def behind(name: str) -> int:
        ready = (await desk.clients[name].get("/health/ready")).json()
        return ready["checks"]["loops"].get("behind", -1)

    async with in_process_desk(make_database, tmp_path, wrap=wrap) as desk:
        acknowledged = await work(desk, Random(fault_seed()), 30)
        others = [name for name in desk.dsns if name != "sla"]
        async with asyncio.timeout(20):
            while not (
                await behind("sla") > 20 and [await behind(name) for name in others] == [0] * 4
            ):
                await asyncio.sleep(0.1)
        metrics = (await desk.clients["sla"].get("/metrics")).text
        lags = [
            float(line.rpartition(" ")[2])
            for line in metrics.splitlines()
            if line.startswith("desk_consumer_lag_records{") and 'service="sla"' in line
        ]
        measured(f"sla was {sum(lags):.0f} records behind")
        assert sum(lags) > 20
        bent[0].is_slow = False
        await desk.settle()
        await desk.check(acknowledged)
