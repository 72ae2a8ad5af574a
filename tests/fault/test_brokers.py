"""Brokers of a three-node cluster die, freeze and restart under load; nothing is lost."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from support.bent_log import fault_seed
from support.invariants import check_invariants
from support.load import Load
from support.world import (
    Fault,
    Follower,
    World,
    desk_on,
    environment,
    freeze_a_broker,
    kill_a_broker,
    lose_the_quorum,
    restart_all_brokers,
)

from shared.testing.kafka import KafkaCluster

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("cluster"),
]


@pytest.fixture(scope="module")
def cluster(kafka_reason: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    with KafkaCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("fault", "delay_seconds_max"),
    [
        (kill_a_broker, 12),
        (freeze_a_broker, 15),
        (restart_all_brokers, 10),
        (lose_the_quorum, 40),
    ],
)
def test_a_fault_of_the_brokers_loses_nothing_and_never_shuts_the_door(
    fault: Fault,
    delay_seconds_max: float,
    cluster: KafkaCluster,
    tmp_path: Path,
    topic_prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = environment(topic_prefix)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with desk_on(cluster, tmp_path / "desk", env) as desk:
        with (
            Load(desk.client, per_second=50) as load,
            Follower(desk.client, load) as follower,
        ):
            load.wait_for(50)
            follower.take_delay()
            load.slowest_seconds = load.silence_seconds_max = 0.0
            fault(World(cluster, desk, load, Random(fault_seed()), env=env))
            load.wait_for(20)
            door = load.slowest_seconds
            load.stop()
            desk.settle()
            delay = follower.take_delay()
        check_invariants(desk.data, load.acknowledged, cluster.bootstrap_servers)
        print(f"{fault.__name__}: pipeline {delay:.1f} s, slowest answer {door:.2f} s")
        assert set(load.answers) <= {"201", "200"}, "intake refused nothing"
        assert door < 2
        assert delay < delay_seconds_max
