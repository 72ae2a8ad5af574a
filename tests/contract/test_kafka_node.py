import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from shared.testing.kafka import KafkaCluster, KafkaNode, free_port, unavailable

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]
PLACE = TopicPartition("kept", 0)

OWNER = dedent("""
    import sys
    from pathlib import Path
    from shared.testing.kafka import KafkaNode

    node = KafkaNode(Path(sys.argv[1]))
    node.start()
    node.pause()
    print(node.pid, flush=True)
    sys.stdin.read()
""")


@pytest.fixture(autouse=True)
def jars() -> None:
    """These tests kill brokers, so they need their own, whatever broker the run was given."""
    reason = unavailable()
    if reason is None:
        return
    if os.environ.get("CI") == "true" and "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        pytest.fail(f"CI needs Kafka: {reason}")
    pytest.skip(f"no Kafka of our own: {reason}")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KafkaNode]:
    node = KafkaNode(tmp_path / "kafka")
    node.start()
    yield node
    node.stop()


async def create_topic(servers: str, copies: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=copies)])
    await admin.close()


async def send(servers: str, value: bytes) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, request_timeout_ms=5000
    )
    await producer.start()
    await producer.send_and_wait(PLACE.topic, value, partition=PLACE.partition)
    await producer.stop()


async def read(servers: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    consumer.assign([PLACE])
    await consumer.seek_to_beginning(PLACE)
    values = [(await consumer.getone()).value for _ in range(count)]
    await consumer.stop()
    return values


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}/fd").exists() or not os.listdir(f"/proc/{pid}/fd")


async def test_a_record_outlives_the_kill_of_its_broker(node: KafkaNode) -> None:
    await create_topic(node.bootstrap_servers)
    await send(node.bootstrap_servers, b"one")
    assert await read(node.bootstrap_servers, 1) == [b"one"]
    node.kill()
    node.start()
    await send(node.bootstrap_servers, b"two")
    assert await read(node.bootstrap_servers, 2) == [b"one", b"two"]


async def test_three_nodes_go_on_without_one(tmp_path: Path) -> None:
    with KafkaCluster(tmp_path, nodes=3) as cluster:
        await create_topic(cluster.bootstrap_servers, copies=3)
        await send(cluster.bootstrap_servers, b"one")
        lost, *others = cluster.nodes
        lost.kill()
        await send(others[0].bootstrap_servers, b"two")
        lost.start()
        assert await read(lost.bootstrap_servers, 2) == [b"one", b"two"]


def test_a_paused_node_is_silent_until_it_is_resumed_and_can_be_stopped(node: KafkaNode) -> None:
    assert node.pid is not None
    state = Path(f"/proc/{node.pid}/stat")
    node.pause()
    eventually(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
    node.resume()
    node.wait_until_ready()
    node.pause()
    began = time.monotonic()
    node.stop()
    assert time.monotonic() - began < 10
    assert node.pid is None


def test_a_killed_owner_leaves_no_broker_even_a_paused_one(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert not is_gone(pid)
    owner.kill()
    owner.communicate()
    eventually(lambda: is_gone(pid))


def test_a_port_in_use_is_said_in_one_line(node: KafkaNode, tmp_path: Path) -> None:
    with run_command(node.port, tmp_path / "second") as second, killed_at_last(second):
        out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (1, "")
    assert err == f"kafka: port {node.port} is in use\n"


@pytest.mark.parametrize("name", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_when_it_is_ready_keeps_its_data_and_ends_cleanly(
    tmp_path: Path, name: signal.Signals
) -> None:
    port = free_port()
    for _ in range(2):
        with run_command(port, tmp_path / "kafka") as command, killed_at_last(command):
            assert command.stdout is not None
            assert command.stdout.readline() == f"ready: 127.0.0.1:{port}\n"
            command.send_signal(name)
            _, err = command.communicate(timeout=60)
            assert (command.returncode, err) == (0, "")
    logged = (tmp_path / "kafka" / "kafka.log").read_text()
    assert logged.count("Kafka Server started") == 2


@contextmanager
def killed_at_last(command: subprocess.Popen[str]) -> Iterator[None]:
    """Leave no broker behind, whatever became of the test."""
    try:
        yield
    finally:
        command.kill()


def run_command(port: int, data: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shared.testing.kafka", "--port", str(port), "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
