"""A desk on a Kafka cluster under load, and what may befall it. Tests and the soak share this."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import TracebackType

import asyncpg
import httpx

from shared.postgres.embedded import EmbeddedPostgres
from shared.postgres.postmaster import read_postmaster
from shared.testing.kafka import KafkaCluster
from support.desk import DESK, DeskProcess
from support.load import Load

FREEZE_SECONDS = 6.0
AWAY_SECONDS = 3.0


class Follower:
    """Watches how long a ticket needs from its acknowledgement until routing has assigned it."""

    def __init__(self, client: httpx.Client, load: Load) -> None:
        self._client = client
        self._load = load
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self._seen: set[str] = set()
        self.delay_seconds_max = 0.0

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._thread.join(30)

    def take_delay(self) -> float:
        """Return the longest delay since this was asked last."""
        longest, self.delay_seconds_max = self.delay_seconds_max, 0.0
        return longest

    def _run(self) -> None:
        while not self._stopping.is_set():
            fresh = self._load.acknowledged - self._seen
            if not fresh:
                self._stopping.wait(0.02)
                continue
            ticket, began = fresh.pop(), time.monotonic()
            while not self._stopping.is_set() and not self._is_assigned(ticket):
                self._stopping.wait(0.02)
            self.delay_seconds_max = max(self.delay_seconds_max, time.monotonic() - began)
            self._seen |= fresh | {ticket}  # one at a time; the others went the same way

    def _is_assigned(self, ticket: str) -> bool:
        try:
            answer = self._client.get(f"/routing/tickets/{ticket}", timeout=5)
        except (httpx.HTTPError, RuntimeError):
            return False
        return answer.status_code == 200 and bool(answer.json()["group"])


@dataclass
class World:
    """What a fault may touch; `tell` writes down what was done."""

    cluster: KafkaCluster
    desk: DeskProcess
    load: Load
    chance: Random
    tell: Callable[[str], None] = print
    env: dict[str, str] = field(default_factory=dict[str, str])


Fault = Callable[[World], None]


def kill_a_broker(world: World) -> None:
    """SIGKILL one of three brokers under load; it comes back a little later."""
    node = world.chance.choice(world.cluster.nodes)
    world.tell(f"SIGKILL of the broker on port {node.port}")
    node.kill()
    world.load.wait_for(20)
    time.sleep(AWAY_SECONDS)
    node.start()
    world.load.wait_for(20)


def freeze_a_broker(world: World, seconds: float = FREEZE_SECONDS) -> None:
    """SIGSTOP one of three brokers: its sockets stay open and nobody answers."""
    node = world.chance.choice(world.cluster.nodes)
    world.tell(f"SIGSTOP of the broker on port {node.port} for {seconds:g} s")
    node.pause()
    time.sleep(seconds)
    node.resume()
    world.load.wait_for(20)


def restart_all_brokers(world: World) -> None:
    """Restart one broker after the other, the active controller among them."""
    for node in world.chance.sample(world.cluster.nodes, len(world.cluster.nodes)):
        world.tell(f"restart of the broker on port {node.port}")
        node.stop()
        node.start()
        world.load.wait_for(5)


def lose_the_quorum(world: World) -> None:
    """SIGKILL two of three brokers; nothing can be written until one is back."""
    lost = world.chance.sample(world.cluster.nodes, 2)
    world.tell("SIGKILL of two brokers of three")
    for node in lost:
        node.kill()
    world.load.wait_for(20)
    time.sleep(AWAY_SECONDS)
    for node in lost:
        node.launch()
    for node in lost:
        node.wait_until_ready()
    world.load.wait_for(20)


def kill_the_desk(world: World) -> None:
    """SIGKILL the desk, and start it again on the same data."""
    world.tell("SIGKILL of the desk")
    world.desk.stop(signal.SIGKILL)
    world.desk.start()
    world.load.wait_for(20)


def freeze_the_desk(world: World, seconds: float = FREEZE_SECONDS + 1) -> None:
    """SIGSTOP the desk for longer than its leases last."""
    world.tell(f"SIGSTOP of the desk for {seconds:g} s")
    process = world.desk.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)
    world.load.wait_for(20)


def end_postgres(world: World) -> None:
    """End the database server: in order, at once, or with SIGKILL."""
    name = world.chance.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
    found = read_postmaster(world.desk.data / "postgres")
    assert found is not None
    world.tell(f"{name.name} to PostgreSQL")
    os.kill(found.pid, name)
    world.load.wait_for(20, seconds=60)


def cut_sessions(world: World, seconds: float = 4.0) -> None:
    """End random sessions of the desk in its database, again and again."""
    cut = asyncio.run(_cut_sessions(world.desk.data, world.chance, seconds))
    world.tell(f"{cut} database sessions cut in {seconds:g} s")
    world.load.wait_for(20)


async def _cut_sessions(data: Path, chance: Random, seconds: float) -> int:
    server = await EmbeddedPostgres.attach(data)
    assert server is not None
    connection = await asyncpg.connect(server.dsn("postgres"))
    cut, until = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            sessions = await connection.fetch(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid()"
            )
            if sessions:
                pid = chance.choice(sessions)["pid"]
                cut += await connection.fetchval("SELECT pg_terminate_backend($1)::int", pid)
            await asyncio.sleep(0.1)
    finally:
        await connection.close()
    return cut


def rebuild_under_load(world: World) -> None:
    """Rebuild every read model while tickets come in."""
    world.tell("rebuild of all read models")
    done = world.desk.run("replay", "rebuild")
    assert done.returncode == 0, done.stderr
    world.load.wait_for(5)


def kill_a_rebuild(world: World) -> None:
    """SIGKILL a rebuild at a random moment."""
    moment = world.chance.uniform(0.5, 3.0)
    world.tell(f"SIGKILL of a rebuild after {moment:.1f} s")
    command = [DESK, "replay", "rebuild", "--data", world.desk.data]
    rebuild = subprocess.Popen(
        command, env={**os.environ, **world.env}, stdout=subprocess.DEVNULL, stderr=sys.stderr
    )
    time.sleep(moment)
    rebuild.kill()
    rebuild.wait()
    world.load.wait_for(5)


FAULTS: tuple[Fault, ...] = (
    kill_a_broker,
    freeze_a_broker,
    restart_all_brokers,
    lose_the_quorum,
    kill_the_desk,
    freeze_the_desk,
    end_postgres,
    cut_sessions,
    rebuild_under_load,
    kill_a_rebuild,
)


def desk_on(cluster: KafkaCluster, data: Path, env: dict[str, str]) -> DeskProcess:
    """Return a desk whose log is the cluster; its topics are kept three times."""
    return DeskProcess(data, "--kafka", cluster.bootstrap_servers, env=env)


def environment(prefix: str) -> dict[str, str]:
    """Return the settings of a desk on three brokers."""
    return {
        "DESK_TOPIC_PREFIX": prefix,
        "DESK_PARTITIONS": "2",
        "DESK_REPLICATION_FACTOR": "3",
        "DESK_LOG_LEVEL": "WARNING",
    }


def readiness(desk: DeskProcess) -> dict[str, dict[str, object]]:
    """Return what readiness says, ready or not."""
    return json.loads(desk.client.get("/health/ready").content)["checks"]
