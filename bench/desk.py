"""A desk to measure: the whole of it, or some services; replicas of a service beside it."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from services.host import kafka_log
from services.settings import DeskSettings
from shared.log.embedded import EmbeddedLog
from shared.log.port import Log
from shared.postgres.embedded import EmbeddedPostgres
from shared.terminal.folder import key_file

DESK: Final = Path(sys.executable).parent / "desk"
_START_SECONDS: Final = 60
_SETTLE_SECONDS_MAX: Final = 600


class Desk:
    """A desk of its own in `data`, ended whatever happens."""

    def __init__(
        self, data: Path, kafka: str | None, services: Sequence[str] = (), role: str = "all"
    ) -> None:
        self.data = data
        self.kafka = kafka
        self._options = [part for name in services for part in ("--service", name)]
        self._role = role
        self._topic_prefix = f"{data.parent.name}-"  # a broker may serve several desks
        self._process: subprocess.Popen[bytes] | None = None
        self._replicas: list[subprocess.Popen[bytes]] = []
        self.url = ""
        self.token = ""

    def start(self) -> float:
        """Start; return the seconds to the first answer from a ready desk."""
        (self.data / "desk.json").unlink(missing_ok=True)
        began = time.perf_counter()
        options = [*self._options, *(["--kafka", self.kafka] if self.kafka else [])]
        with self._log() as log:
            self._process = subprocess.Popen(
                [DESK, "run", "--data", self.data, "--port", "0", *options],
                stdout=log,
                stderr=log,
                env={**os.environ, **self._settings(), "DESK_ROLE": self._role},
            )
        while time.perf_counter() - began < _START_SECONDS:
            try:
                self.url = json.loads((self.data / "desk.json").read_text())["url"]
                self.token = (self.data / "cli-token").read_text()
                if httpx.get(f"{self.url}/health/ready").status_code == 200:
                    return time.perf_counter() - began
            except (OSError, httpx.TransportError, ValueError):
                pass
            time.sleep(0.01)
        raise RuntimeError(f"the desk did not start: {self._last_words()}")

    def add_replica(self, service: str, name: str) -> None:
        """Start a worker of one service: its relay, its consumer and its timers, no door."""
        server = self.postgres_dsn
        log = {"DESK_KAFKA": self.kafka} if self.kafka else {"DESK_LOG_URL": server("log")}
        settings = {
            f"{service.upper()}_DATABASE_URL": server(service),
            "DESK_SIGNING_KEY": str(key_file(self.data)),
            "DESK_ROLE": "worker",
            "DESK_REPLICA": name,
        }
        with self._log() as output:
            self._replicas.append(
                subprocess.Popen(
                    [DESK, "serve", service, "--port", "0"],
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **self._settings(), **settings, **log},
                )
            )

    async def open_log(self) -> Log:
        """Open the log of the desk."""
        if self.kafka is not None:
            return kafka_log(DeskSettings(topic_prefix=self._topic_prefix), self.kafka)
        return await EmbeddedLog(self.postgres_dsn("log")).open()

    def postgres_dsn(self, database: str) -> str:
        """Return where a database of the running desk is."""
        with ThreadPoolExecutor(1) as thread:  # the caller may be inside an event loop
            server = thread.submit(asyncio.run, EmbeddedPostgres.attach(self.data)).result()
        if server is None:
            raise RuntimeError(f"the desk has no database: {self._last_words()}")
        return server.dsn(database)

    def replica_peak_mb(self) -> float:
        """Return the most memory that any of the replicas has had, in MB."""
        peaks = [
            int(Path(f"/proc/{one.pid}/status").read_text().split("VmHWM:")[1].split()[0])
            for one in self._replicas
        ]
        return max(peaks) / 1024

    def stop_replicas(self) -> None:
        """End the replicas."""
        while self._replicas:
            replica = self._replicas.pop()
            replica.send_signal(signal.SIGTERM)
            replica.wait(30)

    def stop(self) -> None:
        """End it all."""
        self.stop_replicas()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def memory_mb(self) -> float:
        """Proportional memory of the desk and its PostgreSQL, in MB."""
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                if str(self.data).encode() in command or self._is_backend(folder):
                    rollup = (folder / "smaps_rollup").read_text()
                    total += int(rollup.split("\nPss:")[1].split()[0])
            except (OSError, IndexError, ValueError):
                continue
        return total / 1024

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 JSON
        """Send one request and return the answer's JSON."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()

    def backlog(self) -> tuple[int, int]:
        """Events waiting for the log, and records not applied yet, over all services."""
        checks = httpx.get(f"{self.url}/health/ready", timeout=30).json()["checks"].values()
        loops = [check for check in checks if "round" in check]
        return sum(c["outbox"] for c in loops), sum(c["behind"] for c in loops)

    def settle(self) -> float:
        """Wait until nothing is on its way; return the seconds that took."""
        began, quiet = time.perf_counter(), 0
        while quiet < 3 and time.perf_counter() - began < _SETTLE_SECONDS_MAX:
            quiet = quiet + 1 if self.backlog() == (0, 0) else 0
            time.sleep(1.1)
        return time.perf_counter() - began - 3.3

    def _settings(self) -> dict[str, str]:
        return {"DESK_LOG_LEVEL": "WARNING", "DESK_TOPIC_PREFIX": self._topic_prefix}

    def _log(self) -> Any:  # noqa: ANN401 a file
        return (self.data.parent / "desk.log").open("ab")

    def _last_words(self) -> str:
        return (self.data.parent / "desk.log").read_text()[-1000:]

    def _is_backend(self, folder: Path) -> bool:
        postmaster = (self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0]
        return folder.joinpath("stat").read_text().rpartition(")")[2].split()[1] == postmaster


@contextmanager
def a_desk(kafka: str | None, services: Sequence[str] = (), role: str = "all") -> Iterator[Desk]:
    """Make a desk that is gone afterwards, with its data; the caller starts it."""
    folder = Path(tempfile.mkdtemp(prefix="desk-bench-"))
    desk = Desk(folder / "desk", kafka, services, role)
    try:
        yield desk
    finally:
        desk.stop()
        shutil.rmtree(folder, ignore_errors=True)
