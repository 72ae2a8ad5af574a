"""An admin raises the number of partitions: seen, survived, refused or taken up, as documented."""

import asyncio
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from support.desk import DESK, DeskProcess, eventually
from support.invariants import check_invariants
from support.load import Load
from support.world import readiness

from shared.contracts.registry import TOPICS

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


async def raise_partitions(broker: str, topics: Sequence[str], count: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker)
    await admin.start()
    try:
        await admin.create_partitions({topic: NewPartitions(count) for topic in topics})
    finally:
        await admin.close()


def alarms(desk: DeskProcess) -> set[str]:
    details = (str(check.get("detail", "")) for check in readiness(desk).values())
    return {detail for detail in details if "partitions now" in detail}


def test_raised_partitions_are_seen_and_are_taken_up_once_all_topics_have_them(
    tmp_path: Path, kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {"DESK_TOPIC_PREFIX": topic_prefix, "DESK_PARTITIONS": "2"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    physical = [topic_prefix + topic for topic in TOPICS]
    data = tmp_path / "desk"
    with DeskProcess(data, "--kafka", kafka_bootstrap, env=env) as desk:
        with Load(desk.client, per_second=50) as load:
            load.wait_for(20)
            asyncio.run(raise_partitions(kafka_bootstrap, physical[1:2], 3))
            (alarm,) = eventually(lambda: alarms(desk), seconds=30)
            assert f"{TOPICS[1]} has 3 partitions now" in alarm
            load.wait_for(50)
        acknowledged = set(load.acknowledged)
    refused = subprocess.run(
        [DESK, "run", "--data", data, "--port", "0", "--kafka", kafka_bootstrap],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert refused.returncode != 0
    assert "all topics must have the same number of partitions" in refused.stderr
    asyncio.run(raise_partitions(kafka_bootstrap, [physical[0], *physical[2:]], 3))
    with DeskProcess(data, "--kafka", kafka_bootstrap, env=env) as desk:
        with Load(desk.client, per_second=50, name="after") as load:
            load.wait_for(50)
        desk.settle()
        assert not alarms(desk)
        check_invariants(data, acknowledged | load.acknowledged, kafka_bootstrap)
