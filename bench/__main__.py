"""`python -m bench`: the design's budgets beside what this machine does.

A benchmark, not a test: it never fails for being slow. Figures of one run compare with each other
and with the calibration endpoint of the same run, not with those of another machine.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from bench.client import closed_loop, open_loop, request
from shared.clock import SystemClock
from shared.testing.kafka import KafkaNode, unavailable

ROOT: Final = Path(__file__).parents[1]
out: Final = Console()


@dataclass(frozen=True)
class Figure:
    """One line of the table; `is_met` is None where the budget names no number."""

    path: str
    budget: str
    measured: str
    ratio: float | None
    is_met: bool | None


class Desk:
    """A desk of its own, ended whatever happens."""

    def __init__(self, data: Path, kafka: str | None) -> None:
        self.data = data
        self._options = ["--kafka", kafka] if kafka else []
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.token = ""

    def start(self) -> float:
        """Start; return the seconds to the first answer from a ready desk."""
        (self.data / "desk.json").unlink(missing_ok=True)
        began = time.perf_counter()
        desk = Path(sys.executable).parent / "desk"
        with (self.data.parent / "desk.log").open("ab") as log:
            self._process = subprocess.Popen(
                [desk, "run", "--data", self.data, "--port", "0", *self._options],
                stdout=log,
                stderr=log,
                env={**os.environ, "DESK_LOG_LEVEL": "WARNING"},
            )
        while time.perf_counter() - began < 60:
            try:
                self.url = json.loads((self.data / "desk.json").read_text())["url"]
                self.token = (self.data / "cli-token").read_text()
                if httpx.get(f"{self.url}/health/ready").status_code == 200:
                    return time.perf_counter() - began
            except (OSError, httpx.TransportError, ValueError):
                pass
            time.sleep(0.01)
        raise RuntimeError("the desk did not start; see desk.log")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
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

    def _is_backend(self, folder: Path) -> bool:
        postmaster = (self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0]
        return folder.joinpath("stat").read_text().rpartition(")")[2].split()[1] == postmaster

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
        while quiet < 3 and time.perf_counter() - began < 300:
            quiet = quiet + 1 if self.backlog() == (0, 0) else 0
            time.sleep(1.1)
        return time.perf_counter() - began - 3.3


def _ticket(number: int) -> bytes:
    record = {
        "requester": {"id": f"user-{number % 997}"},
        "title": f"Report {number}",
        "category": "network",
        "urgency": "medium",
    }
    return json.dumps(record).encode()


def _batch(_number: int) -> bytes:
    return b'{"tickets":[' + b",".join(_ticket(n) for n in range(100)) + b"]}"


@contextmanager
def _desk(kafka: str | None) -> Iterator[tuple[Desk, float, float]]:
    folder = Path(tempfile.mkdtemp(prefix="desk-bench-"))
    desk = Desk(folder / "desk", kafka)
    try:
        cold = desk.start()
        desk.stop()
        yield desk, cold, desk.start()
    finally:
        desk.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def _http(desk: Desk, seconds: float) -> list[Figure]:
    live = request("GET", "/health/live", desk.token)
    calibration = await closed_loop(
        desk.address, lambda _: live, connections=128, seconds=seconds / 2
    )
    scale = calibration.rate
    figures = [
        Figure("calibration: GET /health/live", "–", _rate(scale, "/s"), 1.0, None),
    ]
    single = _batch(0)
    one = await closed_loop(
        desk.address,
        lambda n: request("POST", "/intake/tickets", desk.token, _ticket(n)),
        connections=128,
        seconds=seconds,
    )
    figures.append(
        Figure(
            "one ticket per request, 128 connections",
            "≥ 2,500/s, p99 < 120 ms",
            f"{_rate(one.rate, '/s')}, p99 {one.percentile(0.99):.0f} ms",
            one.rate / scale,
            one.rate >= 2_500 and one.percentile(0.99) < 120,
        )
    )
    desk.settle()
    offered = await open_loop(
        desk.address,
        lambda n: request("POST", "/intake/tickets", desk.token, _ticket(n)),
        per_second=1_000,
        seconds=seconds,
    )
    figures.append(
        Figure(
            "the same at 1,000/s offered",
            "p99 < 25 ms",
            f"{_rate(offered.rate, '/s')}, p99 {offered.percentile(0.99):.0f} ms",
            offered.rate / scale,
            offered.percentile(0.99) < 25,
        )
    )
    desk.settle()
    batches = await closed_loop(
        desk.address,
        lambda _: request("POST", "/intake/tickets:batch", desk.token, single),
        connections=4,
        seconds=seconds,
    )
    waiting, behind = desk.backlog()
    tickets = batches.rate * 100
    figures.append(
        Figure(
            "batches of 100",
            "≥ 15,000 tickets/s, outbox empty",
            f"{_rate(tickets, ' tickets/s')}; {waiting:,} in outboxes, {behind:,} unread",
            tickets / scale,
            tickets >= 15_000 and waiting < 2_000,
        )
    )
    return figures


def _rate(value: float, unit: str) -> str:
    return f"{value:,.0f}{unit}"


def _pipeline(desk: Desk) -> list[Figure]:
    _, behind = desk.backlog()
    took = desk.settle()
    return [
        Figure(
            "all five services catching up, on one core",
            "≥ 30,000 records/s (one projector)",
            f"{_rate(behind / took if took > 0 else 0, ' records/s')} ({behind:,} in {took:.1f} s)",
            None,
            None if behind < 10_000 else behind / took >= 30_000,
        )
    ]


def _replay(desk: Desk, kafka: str | None) -> Figure:
    began = time.perf_counter()
    command = [Path(sys.executable).parent / "desk", "replay", "verify", "reporting", "--json"]
    options = ["--kafka", kafka] if kafka else []
    subprocess.run([*command, "--data", desk.data, *options], capture_output=True, check=True)
    took = time.perf_counter() - began
    partitions = desk.ask("GET", "/reporting/audit")["partitions"]
    records = sum(partition["size"] for partition in partitions)
    budget = 50_000 if kafka else 150_000
    return Figure(
        "replay verify of reporting from the log, process start included",
        f"≥ {budget:,} records/s for a rebuild",
        f"{_rate(records / took, ' records/s')} ({records:,} in {took:.1f} s)",
        None,
        records / took >= budget,
    )


def _timers(desk: Desk, count: int) -> Figure:
    promise = {"name": "resolution", "calendar": "24x7", "goal_seconds": 8, "warn_percent": None}
    usual = desk.ask("GET", "/sla/policy")["targets"]
    desk.ask("PUT", "/sla/policy", {"targets": [promise]})
    ids: list[str] = []
    for _ in range(count // 100):
        body = json.loads(_batch(0))
        results = desk.ask("POST", "/intake/tickets:batch", body)["results"]
        ids += [result["ticket"]["ticket_id"] for result in results]
    desk.ask("PUT", "/sla/policy", {"targets": usual})
    time.sleep(12)
    desk.settle()
    lateness: list[float] = []
    for ticket in ids[:: max(1, len(ids) // 200)]:
        for event in desk.ask("GET", f"/reporting/tickets/{ticket}/timeline")["timeline"]:
            if event["type"] == "sla.breached":
                due, told = (_seconds(event[name]) for name in ("time", "recorded_at"))
                lateness.append(told - due)
    lateness.sort()
    worst = lateness[int(len(lateness) * 0.99)] if lateness else float("nan")
    return Figure(
        f"breach detected after due, {len(ids):,} due within seconds",
        "p99 < 1 s",
        f"p99 {worst:.2f} s over a sample of {len(lateness)}",
        None,
        worst < 1,
    )


def _seconds(instant: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(instant).timestamp()


async def _visible(desk: Desk, seconds: float) -> Figure:
    headers = {"Authorization": f"Bearer {desk.token}"}
    delays: list[float] = []

    async def follow(client: httpx.AsyncClient, ticket: str, began: float) -> None:
        while time.perf_counter() - began < 10:
            routed = await client.get(f"/routing/tickets/{ticket}")
            clocks = await client.get(f"/sla/tickets/{ticket}")
            if routed.is_success and routed.json()["group"] and clocks.json()["clocks"]:
                delays.append(time.perf_counter() - began)
                return
            await asyncio.sleep(0.02)

    async with httpx.AsyncClient(base_url=desk.url, headers=headers, timeout=30) as client:

        async def one(number: int) -> None:
            began = time.perf_counter()
            made = await client.post("/intake/tickets", json=json.loads(_ticket(number)))
            if number % 20 == 0:
                await follow(client, made.json()["ticket_id"], began)

        async with asyncio.TaskGroup() as group:
            for number in range(int(200 * seconds)):
                group.create_task(one(number))
                await asyncio.sleep(1 / 200)
    delays.sort()
    worst = delays[int(len(delays) * 0.99)] * 1000 if delays else float("nan")
    return Figure(
        "created → prioritised, assigned, clock running, over HTTP, at 200/s",
        "p99 < 300 ms",
        f"p99 {worst:.0f} ms over a sample of {len(delays)}",
        None,
        worst < 300,
    )


def measure(kafka: str | None, *, seconds: float) -> list[Figure]:
    """Measure everything on one log."""
    with _desk(kafka) as (desk, cold, warm):
        time.sleep(3)
        memory = desk.memory_mb()
        figures = [
            Figure(
                "start to first answer",
                "< 5 s",
                f"{warm:.1f} s (first time {cold:.1f} s)",
                None,
                warm < 5,
            ),
            Figure("memory at rest", "< 400 MB", f"{memory:.0f} MB", None, memory < 400),
            asyncio.run(_visible(desk, seconds)),
        ]
        figures.append(_timers(desk, 2_000))
        figures += asyncio.run(_http(desk, seconds))
        figures += _pipeline(desk)
        figures.append(_replay(desk, kafka))
        return figures


def show(log: str, figures: list[Figure]) -> None:
    """Print the table."""
    table = Table("path", "budget", "measured", "ratio to calibration", "met", title=log)
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.3f}"
        met = {True: "yes", False: "no", None: ""}[figure.is_met]
        table.add_row(figure.path, figure.budget, figure.measured, ratio, met)
    out.print(table)


def machine() -> dict[str, str | int | None]:
    """Name the machine and the versions."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.processor(),
    )  # fmt: skip
    return {
        "date": SystemClock().now().isoformat(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("deskledger", "aiokafka", "asyncpg", "fastapi")},
    }


def main() -> int:
    """Measure on the embedded log, and on Kafka where it can be had."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs, rougher figures")
    parser.add_argument("--kafka", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS"))
    parser.add_argument("--json", type=Path, default=ROOT / "bench-results" / "latest.json")
    options = parser.parse_args()
    seconds = 3.0 if options.quick else 8.0
    facts = machine()
    out.print(f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}")
    results = {"embedded log": measure(None, seconds=seconds)}
    show("embedded log", results["embedded log"])
    if options.kafka:
        results["Kafka"] = measure(options.kafka, seconds=seconds)
    elif (reason := unavailable()) is None:
        with tempfile.TemporaryDirectory() as folder:
            node = KafkaNode(Path(folder))
            node.start()
            try:
                results["Kafka"] = measure(node.bootstrap_servers, seconds=seconds)
            finally:
                node.stop()
    else:
        out.print(f"not measured on Kafka: {reason}")
    if "Kafka" in results:
        show("Apache Kafka", results["Kafka"])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    figures = {log: [asdict(figure) for figure in found] for log, found in results.items()}
    options.json.write_text(json.dumps({**facts, "figures": figures}, indent=2))
    out.print(f"written to {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
