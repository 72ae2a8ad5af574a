"""Write topics.yaml beside this file: the contracts' topics as resources of Strimzi.

Run it from the root of the repository: `.venv/bin/python -m deploy.k8s.components.strimzi.topics`.
"""  # noqa: INP001 a script beside its output, no part of a package

from pathlib import Path
from typing import Final

from shared.contracts.registry import TOPICS

FILE: Final = Path(__file__).with_name("topics.yaml")
HEADER: Final = "# Generated from shared/contracts by topics.py; do not edit.\n"
TOPIC: Final = """\
---
apiVersion: kafka.strimzi.io/v1
kind: KafkaTopic
metadata:
  name: {name}
  labels: {{strimzi.io/cluster: desk}}
spec:
  topicName: {topic}
  partitions: 6
  replicas: 3
  config:
    cleanup.policy: delete
    retention.ms: "-1"
"""


def render() -> str:
    """Return the file's text: kept for ever, never compacted, all with six partitions (R1).

    Kubernetes allows no underscore in names, Kafka does; so `topicName` is the real one.
    """
    return HEADER + "".join(
        TOPIC.format(name=topic.replace("_", "-"), topic=topic) for topic in sorted(TOPICS)
    )


if __name__ == "__main__":
    FILE.write_text(render())
