"""A real Kafka broker from Maven's jars: one KRaft node on loopback, ended with its owner.

Also a command: `python -m shared.testing.kafka --port 9092 --data .desk/kafka`.
"""

import argparse
import contextlib
import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

POM: Final = Path(__file__).parents[2] / "deploy" / "kafka" / "pom.xml"
JARS: Final = POM.parent / "target" / "jars"
_CLUSTER_ID: Final = "ZGVza2xlZGdlci10ZXN0cw"
_START_SECONDS: Final = 60
_STOP_SECONDS: Final = 15
_JVM: Final = ("-Xmx384m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def unavailable() -> str | None:
    """Return why Kafka cannot be had here, None if it can."""
    java = shutil.which("java")
    if java is None:
        return "Java is not installed"
    if shutil.which("mvn") is None and not JARS.is_dir():
        return "Maven is not installed"
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    major = int(version.split('"')[1].split(".")[0]) if '"' in version else 0
    return None if major >= 17 else f"Kafka 4 needs Java 17, this is Java {major}"


def fetch_jars() -> None:
    """Have Maven bring the broker's jars, unless they are there. Raises: RuntimeError."""
    if JARS.is_dir() and any(JARS.glob("kafka_*.jar")):
        return
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    fetched = subprocess.run(command, capture_output=True, text=True, check=False)
    if fetched.returncode != 0:
        raise RuntimeError(f"Maven could not bring Kafka: {fetched.stdout[-1000:]}")


class KafkaNode:
    """Broker and controller in one JVM. `data` is kept over restarts; port 0 takes a free one."""

    def __init__(self, data: Path, port: int = 0) -> None:
        self._data = data
        self.port = port or _free_port()
        self._controller_port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The JVM's process id while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Format the storage if it is new, start, and wait until clients can connect.

        Raises: RuntimeError with the end of the broker's log if it does not come up.
        """
        fetch_jars()
        self._data.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties()
        if not (self._data / "log" / "meta.properties").exists():
            self._run_tool(
                "kafka.tools.StorageTool",
                ["format", "-t", _CLUSTER_ID, "-c", str(properties), "--standalone"],
            )
        with (self._data / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", [str(properties)]),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 one call
            )
        self._wait_until_ready()

    def stop(self) -> None:
        """End the broker in order, by force if it takes too long."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """SIGKILL the broker."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _java(self, main: str, arguments: list[str]) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={_log_config(self._data)}"
        return ["java", *_JVM, logging, "-cp", f"{JARS}/*", main, *arguments]

    def _run_tool(self, main: str, arguments: list[str]) -> None:
        done = subprocess.run(
            self._java(main, arguments), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{main}: {(done.stdout + done.stderr)[-1000:]}")

    def _write_properties(self) -> Path:
        path = self._data / "server.properties"
        path.write_text(
            "\n".join(
                (
                    "process.roles=broker,controller",
                    "node.id=1",
                    f"listeners=PLAINTEXT://127.0.0.1:{self.port},"
                    f"CONTROLLER://127.0.0.1:{self._controller_port}",
                    f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}",
                    "controller.listener.names=CONTROLLER",
                    f"controller.quorum.bootstrap.servers=127.0.0.1:{self._controller_port}",
                    f"log.dirs={self._data / 'log'}",
                    "auto.create.topics.enable=false",
                    "offsets.topic.replication.factor=1",
                    "offsets.topic.num.partitions=1",
                    "transaction.state.log.replication.factor=1",
                    "share.coordinator.state.topic.replication.factor=1",
                    "group.initial.rebalance.delay.ms=0",
                    "log.retention.ms=-1",
                )
            )
        )
        return path

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            ended = self._process is None or self._process.poll() is not None
            if ended:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        self.kill()
        log = (self._data / "kafka.log").read_text(errors="replace")
        raise RuntimeError(f"Kafka did not start: {log[-1000:]}")


def _log_config(data: Path) -> Path:
    """Write a logging configuration: Kafka's own words into a file, nothing to the screen."""
    log = data / "kafka.log"
    log.write_bytes(b"")
    path = data / "log4j2.properties"
    path.write_text(
        "appender.file.type=File\nappender.file.name=file\n"
        f"appender.file.fileName={log}\n"
        "appender.file.layout.type=PatternLayout\n"
        "appender.file.layout.pattern=%d{ISO8601} %p %m (%c)%n\n"
        "rootLogger.level=info\nrootLogger.appenderRef.file.ref=file\n"
    )
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent() -> None:
    """Have the kernel end the broker with its owner, however that dies."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def main() -> int:
    """Run a broker until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A one-node Kafka broker on loopback.")
    parser.add_argument("--port", type=int, default=9092)
    parser.add_argument("--data", type=Path, default=Path(".desk-kafka"))
    options = parser.parse_args()
    if (reason := unavailable()) is not None:
        print(f"kafka: {reason}", file=sys.stderr)  # noqa: T201 a command's own words
        return 1
    node = KafkaNode(options.data.resolve(), options.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        node.start()
        print(f"ready: {node.bootstrap_servers}", flush=True)  # noqa: T201 a command's own words
        signal.pause()
    except KeyboardInterrupt:
        return 0
    finally:
        node.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
