"""The broker cannot be reached, in four ways: tickets are taken all the same, and arrive later."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.desk import DeskProcess, eventually
from support.invariants import check_invariants
from support.load import Load
from support.world import readiness

from shared.testing.kafka import KafkaNode, free_port
from shared.testing.proxy import Mode, TcpProxy

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180), pytest.mark.xdist_group("network")]
MEMORY_MB_MAX = 60


@pytest.fixture(scope="module")
def proxy(kafka_reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TcpProxy]:
    """A broker that clients reach through a proxy only."""
    door = free_port()
    node = KafkaNode(tmp_path_factory.mktemp("kafka"), advertised_port=door)
    with TcpProxy(door, node.port) as proxy:
        node.start()
        try:
            yield proxy
        finally:
            node.stop()


def memory_mb(desk: DeskProcess) -> float:
    assert desk.process is not None
    status = Path(f"/proc/{desk.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def waiting(desk: DeskProcess) -> list[object]:
    return [check["degraded"] for check in readiness(desk).values() if check.get("degraded")]


@pytest.mark.parametrize("mode", ["refuse", "reset", "black_hole", "delay"])
def test_a_broker_out_of_reach_does_not_shut_the_door(
    mode: Mode,
    proxy: TcpProxy,
    tmp_path: Path,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = {"DESK_TOPIC_PREFIX": topic_prefix, "DESK_PARTITIONS": "2"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    broker = f"127.0.0.1:{proxy.port}"
    with DeskProcess(tmp_path / "desk", "--kafka", broker, env=env) as desk:
        with Load(desk.client, per_second=50) as load:
            load.wait_for(20)
            before = memory_mb(desk)
            proxy.set_mode(mode)
            try:
                load.wait_for(100)
                if mode != "delay":  # slow is not away
                    eventually(lambda: waiting(desk), seconds=30)
                    assert desk.client.get("/health/ready").status_code == 200
                load.wait_for(100)
            finally:
                proxy.set_mode("pass")
            load.wait_for(20)
        assert load.slowest_seconds < 2
        assert set(load.answers) == {"201"}, "nothing was refused, nothing was sent twice"
        desk.settle()
        assert not waiting(desk)
        assert memory_mb(desk) - before < MEMORY_MB_MAX
        check_invariants(desk.data, load.acknowledged, broker)


def test_a_desk_ends_when_it_is_asked_while_its_broker_is_silent(
    proxy: TcpProxy, tmp_path: Path, topic_prefix: str
) -> None:
    env = {"DESK_TOPIC_PREFIX": topic_prefix, "DESK_PARTITIONS": "2"}
    broker = f"127.0.0.1:{proxy.port}"
    with DeskProcess(tmp_path / "desk", "--kafka", broker, env=env) as desk:
        proxy.set_mode("black_hole")
        try:
            with Load(desk.client, per_second=20) as load:
                load.wait_for(20)
                eventually(lambda: waiting(desk), seconds=30)
            assert desk.stop() == 0, "nothing had to be ended by force"
        finally:
            proxy.set_mode("pass")
