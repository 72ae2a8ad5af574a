"""Deliveries over real HTTP on loopback: who is slow, refuses or fails harms nobody else."""

import asyncio
import hashlib
import hmac
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from support.deliverer import delivering
from support.receivers import Receiver, receiving

from shared.clock import SystemClock
from shared.deliveries import webhook
from shared.deliveries.rules import ATTEMPTS_MAX, GIVE_UP_AFTER
from shared.deliveries.sender import LANES_MAX, STREAMS_MAX, DeliverySender
from shared.journal.journal import Journal
from shared.postgres import migrate as migrations
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.runtime.unit import Outbound, Unit

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
TESTS = Path(__file__).parents[1]


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at


@pytest.fixture
async def dsn(make_database: Callable[[str], str]) -> str:
    made = make_database("service")
    await migrate(made)
    return made


@pytest.fixture
async def pool(dsn: str) -> AsyncGenerator[Pool]:
    made = await open_pool(dsn, role="desk_app", name="test", size_max=3)
    yield made
    await made.close()


def named(url: str, stream_id: str, sequence: int) -> Outbound:
    """A delivery whose body says which it is."""
    body = f"{stream_id}/{sequence}"
    return Outbound(uuid5(UUID(int=1), url + body), url, body.encode(), stream_id, sequence)


async def decide(pool: Pool, *outbound: Outbound, now: datetime = NOW) -> None:
    async with pool.acquire() as connection, connection.transaction():
        unit = Unit(connection, Journal("intake", SetClock()), now)
        for one in outbound:
            unit.deliver(one)
        await unit.flush()


async def settle(deliveries: DeliverySender) -> None:
    """Send what is due, until nothing is."""
    while await deliveries.step() or deliveries._turns:
        if deliveries._turns:
            await asyncio.wait(deliveries._turns)


async def states(pool: Pool) -> dict[str, int]:
    rows = await pool.fetch("SELECT state, count(*) FROM kernel.delivery GROUP BY 1")
    return dict(map(tuple, rows))


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def in_order(bodies: Sequence[str]) -> bool:
    """Whether each stream's sequences, as first told, only grow."""
    last: dict[str, int] = {}
    for stream_id, _, number in (body.partition("/") for body in dict.fromkeys(bodies)):
        if int(number) <= last.get(stream_id, 0):
            return False
        last[stream_id] = int(number)
    return True


async def test_a_delivery_is_signed_retried_and_sent_once(dsn: str, pool: Pool) -> None:
    receiver, clock = Receiver(answers=["500 Oh"]), SetClock()
    async with receiving(receiver), delivering(dsn, clock) as deliveries:
        for _ in range(2):  # decided twice, delivered once
            await decide(pool, named(receiver.url, "a", 1))
        await settle(deliveries)
        assert len(receiver.seen) == 1
        await settle(deliveries)
        assert len(receiver.seen) == 1, "it waits before it tries again"
        clock.at += timedelta(seconds=2)
        await settle(deliveries)
        clock.at += timedelta(days=2)
        await settle(deliveries)
    assert await states(pool) == {"sent": 1}
    expected = "sha256=" + hmac.new(b"secret", b"a/1", hashlib.sha256).hexdigest()
    assert [request.signature for request in receiver.seen] == [expected] * 2
    assert len({request.delivery for request in receiver.seen}) == 1


async def test_one_that_is_refused_and_one_that_nobody_takes_are_given_up_visibly(
    dsn: str, pool: Pool
) -> None:
    picky, clock = Receiver(then="422 No\n\nwe take no such thing"), SetClock()
    async with receiving(picky), delivering(dsn, clock) as deliveries:
        await decide(pool, named(picky.url, "a", 1), named("http://127.0.0.1:9/", "a", 1))
        for _ in range(ATTEMPTS_MAX + 3):
            await settle(deliveries)
            clock.at += timedelta(hours=1)
        assert len(picky.seen) == ATTEMPTS_MAX
        assert await states(pool) == {"pending": 1, "dead": 1}, "who is away may come back"
        clock.at = NOW + GIVE_UP_AFTER
        await settle(deliveries)
    errors = await pool.fetch("SELECT last_error FROM kernel.delivery WHERE state = 'dead'")
    assert any("ConnectError" in row[0] for row in errors)
    assert any(row[0] == "HTTP 422: we take no such thing" for row in errors)


async def test_bad_receivers_beside_a_good_one_do_not_delay_it(dsn: str, pool: Pool) -> None:
    good, slow, failing = Receiver(), Receiver(seconds=3), Receiver(then="500 Oh")
    holes = [Receiver(then=None) for _ in range(LANES_MAX + 4)]
    receivers = [good, slow, failing, *holes]
    decided: dict[str, float] = {}
    async with receiving(*receivers), delivering(dsn, SystemClock()) as deliveries:
        loop = asyncio.get_running_loop()
        pulse: list[float] = []

        async def work() -> None:
            while True:
                await deliveries.step()
                pulse.append(loop.time())

        await decide(pool, named(good.url, "first", 1), now=SystemClock().now())
        await settle(deliveries)
        working = asyncio.create_task(work())
        now = SystemClock().now()
        await decide(pool, *(named(hole.url, "first", 1) for hole in holes), now=now)
        await until(lambda: sum(len(hole.seen) for hole in holes) >= LANES_MAX)
        for number in range(1, 21):
            for stream in range(5):
                decided[f"s{stream}/{number}"] = loop.time()
            batch = [named(r.url, f"s{s}", number) for r in receivers for s in range(5)]
            await decide(pool, *batch, now=SystemClock().now())
            await asyncio.sleep(0.1)
        await until(lambda: len(good.seen) >= 101)
        working.cancel()
        await asyncio.wait([working])
    waits = sorted(one.at - decided[one.body.decode()] for one in good.seen[1:])
    print(f"good: p50 {waits[50]:.2f} s, p99 {waits[98]:.2f} s; beats {len(pulse)}")
    assert waits[98] < webhook.TIMEOUT_SECONDS / 2, "a black hole is waited for twice as long"
    assert max(b - a for a, b in pairwise(pulse)) < 5
    assert len(good.bodies) == len(set(good.bodies)), "nothing is doubled"
    assert in_order(good.bodies)
    assert in_order(slow.bodies)
    assert len(failing.seen) <= STREAMS_MAX + 10, "it is probed, not hammered"
    assert all(hole.at_once_max <= STREAMS_MAX for hole in holes)


async def test_one_that_fails_holds_back_later_ones_of_its_stream_only(
    dsn: str, pool: Pool
) -> None:
    receiver, clock = Receiver(answers=["500 Oh"]), SetClock()
    async with receiving(receiver), delivering(dsn, clock) as deliveries:
        await decide(pool, *(named(receiver.url, "a", n) for n in (3, 2, 1)))
        await settle(deliveries)
        assert receiver.bodies == ["a/1"]
        await decide(pool, named(receiver.url, "a", 4), named(receiver.url, "b", 1))
        await settle(deliveries)
        assert receiver.bodies == ["a/1", "b/1"]
        clock.at += timedelta(seconds=2)
        await settle(deliveries)
    assert receiver.bodies == ["a/1", "b/1", "a/1", "a/2", "a/3", "a/4"]
    assert await states(pool) == {"sent": 5}


async def test_after_a_dead_one_its_stream_goes_on(dsn: str, pool: Pool) -> None:
    receiver, clock = Receiver(answers=["410 Gone"]), SetClock()
    async with receiving(receiver), delivering(dsn, clock) as deliveries:
        await decide(pool, *(named(receiver.url, "a", n) for n in (1, 2, 3)))
        await settle(deliveries)
    assert receiver.bodies == ["a/1", "a/2", "a/3"]
    assert await states(pool) == {"dead": 1, "sent": 2}


async def test_a_failing_receiver_rests_longer_each_time(dsn: str, pool: Pool) -> None:
    receiver, clock = Receiver(then="500 Oh"), SetClock()
    tries: list[int] = []
    async with receiving(receiver), delivering(dsn, clock) as deliveries:
        await decide(pool, *(named(receiver.url, f"s{n}", 1) for n in range(200)))
        for _ in range(8):
            before = len(receiver.seen)
            await settle(deliveries)
            tries.append(len(receiver.seen) - before)
            clock.at += timedelta(seconds=2)
        assert tries == [STREAMS_MAX + 1, 1, 0, 1, 0, 0, 0, 1]
        receiver.then = "200 OK"
        clock.at += timedelta(minutes=5)
        await settle(deliveries)
    assert await states(pool) == {"sent": 200}


@pytest.mark.parametrize("status", ["429 Slow down", "503 Later", "301 Moved"])
async def test_a_receiver_is_left_alone_as_long_as_it_asks(
    status: str, dsn: str, pool: Pool
) -> None:
    receiver, other, clock = Receiver(), Receiver(), SetClock()
    async with receiving(receiver, other), delivering(dsn, clock) as deliveries:
        receiver.answers = [f"{status}\nRetry-After: 90\nLocation: {other.url}"]
        await decide(pool, named(receiver.url, "a", 1))
        await settle(deliveries)
        await decide(pool, named(receiver.url, "b", 1))
        clock.at += timedelta(seconds=89)
        await settle(deliveries)
        assert receiver.bodies == ["a/1"]
        clock.at += timedelta(seconds=1)
        await settle(deliveries)
    assert sorted(receiver.bodies) == ["a/1", "a/1", "b/1"]
    assert other.seen == [], "a redirect is not followed"


async def test_an_endless_answer_is_not_read_to_its_end(dsn: str, pool: Pool) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent += 65_536
        except ConnectionError:
            writer.close()
            ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with delivering(dsn, SetClock()) as deliveries:
        await decide(pool, named(url, "a", 1))
        await settle(deliveries)
    await ended.wait()
    server.close()
    assert await states(pool) == {"sent": 1}
    assert sent < 16 * 1024 * 1024, "some is in the sockets' buffers"


async def test_two_replicas_send_each_once_and_in_order(dsn: str, pool: Pool) -> None:
    receivers = [Receiver(seconds=0.01), Receiver(), Receiver(seconds=0.05)]
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(receiving(*receivers))
        two = [await stack.enter_async_context(delivering(dsn, SystemClock())) for _ in "ab"]

        async def work(deliveries: DeliverySender) -> None:
            while True:
                await deliveries.step()

        working = [asyncio.create_task(work(one)) for one in two]
        now = SystemClock().now()
        for number in range(1, 21):
            batch = [named(r.url, f"s{s}", number) for r in receivers for s in range(4)]
            await decide(pool, *batch, now=now)
        await until(lambda: sum(len(one.seen) for one in receivers) >= 240)
        for task in working:
            task.cancel()
        await asyncio.wait(working)
    for receiver in receivers:
        assert len(receiver.bodies) == len(set(receiver.bodies)) == 80
        assert in_order(receiver.bodies)
    assert await states(pool) == {"sent": 240}


async def test_one_killed_while_sending_is_followed_when_its_claim_has_ended(
    dsn: str, pool: Pool
) -> None:
    receiver = Receiver(answers=["200 OK"], then=None)
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    async with receiving(receiver), delivering(dsn, SystemClock()) as other:
        await decide(pool, *(named(receiver.url, "a", n) for n in (1, 2, 3)))
        process = subprocess.Popen(
            [sys.executable, "-m", "support.deliverer", dsn], env=environment
        )
        try:
            await until(lambda: receiver.bodies == ["a/1", "a/2"])
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        receiver.then = "200 OK"
        assert await other.step() == 0, "the dead one's claim still stands"
        assert len(receiver.seen) == 2
        ago = "interval '1 minute'"
        await pool.execute(f"UPDATE kernel.lane SET claimed_until = claimed_until - {ago}")
        await pool.execute(
            f"UPDATE kernel.delivery SET next_at = next_at - {ago} WHERE state = 'pending'"
        )
        await settle(other)
    assert receiver.bodies == ["a/1", "a/2", "a/2", "a/3"]
    assert receiver.seen[1].delivery == receiver.seen[2].delivery
    assert await states(pool) == {"sent": 3}


async def test_what_the_version_before_inserts_is_sent_too(dsn: str, pool: Pool) -> None:
    receiver, clock = Receiver(answers=["500 Oh"]), SetClock()
    async with receiving(receiver), delivering(dsn, clock) as deliveries:
        for number in (1, 2):
            await pool.execute(
                "INSERT INTO kernel.delivery (id, target, body, next_at) VALUES ($1, $2, $3, $4)",
                UUID(int=number),
                receiver.url,
                b"old/%d" % number,
                NOW,
            )
        clock.at = SystemClock().now()
        await settle(deliveries)
        clock.at += timedelta(seconds=2)
        await settle(deliveries)
    assert await states(pool) == {"sent": 2}, "each has a stream of its own"


async def test_a_database_of_the_version_before_keeps_its_deliveries(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = migrations.KERNEL["kernel"]
    before = tmp_path / "migrations" / "versions"
    before.mkdir(parents=True)
    shutil.copy(kernel.parent / "env.py", before.parent)
    shutil.copy(kernel / "0001_kernel.py", before)
    dsn = make_database("before")
    with monkeypatch.context() as patch:
        patch.setitem(migrations.KERNEL, "kernel", before)
        await migrate(dsn)
    pool = await open_pool(dsn, role="desk_app", name="test", size_max=1)
    insert = (
        "INSERT INTO kernel.delivery (id, target, body, state, next_at) VALUES ($1,'x','',$2,$3)"
    )
    await pool.executemany(insert, [(UUID(int=1), "sent", NOW), (UUID(int=2), "pending", NOW)])
    await migrate(dsn)
    await pool.execute(insert, UUID(int=3), "pending", NOW)
    assert await states(pool) == {"sent": 1, "pending": 2}
    assert await pool.fetchval("SELECT count(DISTINCT stream_id) FROM kernel.delivery") == 3
    await pool.close()
