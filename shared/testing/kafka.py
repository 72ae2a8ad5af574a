"""Real Kafka from Maven's jars: KRaft nodes on loopback, ended with their owner.

Also a command: `python -m shared.testing.kafka --port 9092 --data .desk-kafka`.
"""

import argparse
import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from shared.ids import random_id
from shared.postgres.server_user import dying_with_parent
from shared.testing.kafka_jars import POM, fetch_jars, unavailable

__all__ = ["KafkaCluster", "KafkaNode", "fetch_jars", "unavailable"]

_LOG_CONFIG: Final = POM.parent / "log4j2.properties"
_CLUSTER_ID: Final = "ZGVza2xlZGdlci10ZXN0cw"
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.1
_JVM: Final = ("-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_PORTS: Final = range(20_000, 32_000)  # below those the kernel lends to clients


class KafkaNode:
    """Broker and controller in one JVM. `data` is kept over restarts; port 0 takes a free one.

    `controllers` maps the id of every node of the cluster to its controller's port; without it
    the node is a cluster by itself. `advertised_port` is where it tells clients to come to, if a
    proxy stands before it.
    """

    def __init__(
        self,
        data: Path,
        port: int = 0,
        *,
        node_id: int = 1,
        controllers: Mapping[int, int] | None = None,
        advertised_port: int | None = None,
    ) -> None:
        self._data = data.resolve()
        self._node_id = node_id
        self._controllers = controllers or {node_id: free_port()}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = port or free_port()
        self._advertised_port = advertised_port or self.port

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The JVM's process id, None unless it was launched."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Launch the node and wait until it serves; format its storage first if it is new.

        Raises: RuntimeError with the end of the broker's log if it does not come up.
        """
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start the process only. Call from a thread that lasts: the node dies with it."""
        if self._process is not None:
            raise RuntimeError(f"Kafka node {self._node_id} runs already")
        if not _is_free(self.port):
            raise RuntimeError(f"port {self.port} is in use")
        self._data.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties()
        if not (self._data / "log" / "meta.properties").exists():
            self._format(properties)
        with (self._data / "broker.log").open("ab") as output:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", [str(properties)]),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGKILL),  # noqa: PLW1509 one call, no lock
            )

    def wait_until_ready(self) -> None:
        """Wait until the cluster counts this node among its brokers.

        Raises: RuntimeError, with the process gone, when it ends or takes too long.
        """
        deadline = time.monotonic() + _START_SECONDS
        while self._is_running() and time.monotonic() < deadline:
            if _accepts(self.port) and self._node_id in _brokers_seen_by(self.bootstrap_servers):
                return
            time.sleep(_POLL_SECONDS)
        self.kill()
        raise RuntimeError(f"Kafka did not start: {self._last_words()}")

    def wait(self) -> int:
        """Wait until the process ends; return its exit code."""
        return 0 if self._process is None else self._process.wait()

    def stop(self) -> None:
        """End the node in order, by force if it takes too long."""
        self.terminate()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self.kill()

    def terminate(self) -> None:
        """Ask the node to end, also while it is paused; do not wait."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL the node."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """SIGSTOP the node: its sockets stay open, and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused node go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _last_words(self) -> str:
        for name in ("kafka.log", "broker.log"):
            with suppress(FileNotFoundError):
                if words := (self._data / name).read_text(errors="replace").strip():
                    return words[-1000:]
        return "it said nothing"

    def _java(self, main: str, arguments: Sequence[str]) -> list[str]:
        logging = [
            f"-Dlog4j2.configurationFile={_LOG_CONFIG}",
            f"-Ddesk.kafka.log={self._data / 'kafka.log'}",
        ]
        return ["java", *_JVM, *logging, "-cp", f"{fetch_jars()}/*", main, *arguments]

    def _format(self, properties: Path) -> None:
        command = ["format", "--cluster-id", _CLUSTER_ID, "--config", str(properties)]
        done = subprocess.run(
            self._java("kafka.tools.StorageTool", command),
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_SECONDS,
        )
        if done.returncode != 0:
            raise RuntimeError(
                f"cannot format Kafka's storage: {(done.stdout + done.stderr)[-1000:]}"
            )

    def _write_properties(self) -> Path:
        copies = min(3, len(self._controllers))
        in_sync = max(1, copies - 1)
        controller = f"127.0.0.1:{self._controllers[self._node_id]}"
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in self._controllers.items())
        settings = {
            "process.roles": "broker,controller",
            "node.id": self._node_id,
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._advertised_port}",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": voters,
            "log.dirs": self._data / "log",
            "log.retention.ms": -1,
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
            "group.initial.rebalance.delay.ms": 0,
            # A dead node is noticed in 3 s, not 9.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "replica.lag.time.max.ms": 5000,
        }
        path = self._data / "server.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return path


class KafkaCluster:
    """One or three nodes, each in a folder of `data`. As a context: started, and gone after."""

    def __init__(self, data: Path, nodes: int = 3) -> None:
        controllers = {node_id: free_port() for node_id in range(1, nodes + 1)}
        self.nodes = tuple(
            KafkaNode(data / f"node-{node_id}", node_id=node_id, controllers=controllers)
            for node_id in controllers
        )

    def __enter__(self) -> "KafkaCluster":
        """Start every node; none is left behind when one fails."""
        try:
            for node in self.nodes:
                node.launch()
            for node in self.nodes:
                node.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop every node."""
        self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect: every node, so that any may be away."""
        return ",".join(node.bootstrap_servers for node in self.nodes)

    def stop(self) -> None:
        """End all nodes, together: without a majority none can end alone in good order."""
        for node in self.nodes:
            node.terminate()
        for node in self.nodes:
            node.stop()


def free_port() -> int:
    """Return a port nobody uses, that stays free while its node is down for a moment."""
    for _ in range(100):
        port = _PORTS[random_id().int % len(_PORTS)]
        if _is_free(port):
            return port
    raise RuntimeError("no free port found")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _brokers_seen_by(bootstrap_servers: str) -> set[int]:
    """Ask a node, on a thread, so that a caller inside an event loop may ask too."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _describe(bootstrap_servers)).result()


async def _describe(bootstrap_servers: str) -> set[int]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers, request_timeout_ms=5000)
    try:
        await client.start()
        cluster: dict[str, Any] = await client.describe_cluster()
    except KafkaError:
        return set()
    finally:
        await client.close()
    return {broker["node_id"] for broker in cluster["brokers"]}


def main() -> int:
    """Run a broker until Ctrl-C or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(description="A one-node Kafka broker on loopback.")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--data", type=Path, default=Path(".desk-kafka"))
    options = parser.parse_args()
    node = KafkaNode(options.data, options.port)
    asked: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        """Interrupt; what is raised while an object is finalized is lost, an ended node is not."""
        asked.append(number)
        node.terminate()
        signal.default_int_handler(number, frame)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        reason = unavailable() or _serve(node)
    except KeyboardInterrupt:
        return 0
    except (OSError, RuntimeError) as error:
        reason = str(error)
    finally:
        node.stop()
    if asked:
        return 0
    sys.stderr.write(f"kafka: {reason}\n")
    return 1


def _serve(node: KafkaNode) -> str:
    """Run the node, and say why it ended although nobody asked it to."""
    node.start()
    sys.stdout.write(f"ready: {node.bootstrap_servers}\n")
    sys.stdout.flush()
    return f"the broker ended by itself with code {node.wait()}"


if __name__ == "__main__":
    sys.exit(main())
