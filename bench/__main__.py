"""`python -m bench`: the design's budgets beside what this machine does.

A benchmark, not a test: it never fails for being slow. Figures of one run compare with each other
and with the calibration endpoint of the same run, not with those of another machine.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.assignment import of_assignment
from bench.attainment import of_attainment
from bench.comments import of_comments
from bench.doors import of_intake
from bench.figures import Figure, machine
from bench.growth import of_growth, side_by_side
from bench.pipeline import of_projectors
from bench.reports import of_reports
from bench.search import of_search
from bench.slow import of_slow_clients
from bench.whole import of_an_embedded_desk
from shared.testing.kafka import KafkaNode, unavailable

ROOT: Final = Path(__file__).parents[1]
PARTS: Final = ("whole", "doors", "projectors")
SIZED: Final[dict[str, tuple[str, Callable[[int], list[Figure]]]]] = {
    "growth": ("numbers of tickets, such as 10000 100000", of_growth),
    "reports": ("KPI reports of so many tickets", of_reports),
    "attainment": ("promises kept to so many tickets", of_attainment),
    "agents": ("assignment among so many agents", of_assignment),
    "search": ("words looked for in so many tickets", of_search),
    "comments": ("one more comment on a ticket of so many", of_comments),
}
"""What is measured for the sizes that are asked for."""
out: Final = Console(width=None if sys.stdout.isatty() else 150)


def measure(parts: list[str], kafka: str | None, *, is_quick: bool) -> list[Figure]:
    """Measure on one log, a part after the other; each part is shown when it is done."""
    seconds = 3.0 if is_quick else 8.0
    work: dict[str, Callable[[], list[Figure]]] = {
        "whole": lambda: of_an_embedded_desk(kafka, seconds, 2_000 if is_quick else 10_000),
        "doors": lambda: asyncio.run(of_intake(kafka, seconds)),
        "projectors": lambda: of_projectors(
            kafka, 10_000 if is_quick else 40_000, [1] if is_quick else [1, 2, 4]
        ),
    }
    figures: list[Figure] = []
    for part in parts:
        found = work[part]()
        show(f"{part} on {'Apache Kafka' if kafka else 'the embedded log'}", found)
        figures += found
    return figures


def show(name: str, figures: list[Figure]) -> None:
    """Print a table."""
    table = Table("path", "budget", "measured", "ratio to calibration", "met", title=name)
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.3f}"
        met = {True: "yes", False: "no", None: ""}[figure.is_met]
        table.add_row(figure.path, figure.budget, figure.measured, ratio, met)
    out.print(table)


@contextmanager
def a_broker(named: str | None) -> Iterator[str | None]:
    """Yield a broker: the one named, or one of our own, or none with the reason said."""
    if named is not None:
        yield named
    elif (reason := unavailable()) is not None:
        out.print(f"not measured on Kafka: {reason}")
        yield None
    else:
        with tempfile.TemporaryDirectory() as folder:
            node = KafkaNode(Path(folder))
            node.start()
            try:
                yield node.bootstrap_servers
            finally:
                node.stop()


def main() -> int:
    """Measure on the embedded log, and on Kafka where it can be had."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter runs, rougher figures")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure these parts only")
    parser.add_argument("--log", choices=["embedded", "kafka"], help="measure on this log only")
    parser.add_argument("--kafka", default=os.environ.get("KAFKA_BOOTSTRAP_SERVERS"))
    parser.add_argument("--slow", action="store_true", help="clients in bad faith, and the others")
    for name, (words, _) in SIZED.items():
        parser.add_argument(f"--{name}", type=int, nargs="*", default=[], help=words)
    parser.add_argument("--json", type=Path, default=ROOT / "bench-results" / "latest.json")
    options = parser.parse_args()
    facts = machine()
    out.print(f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}")
    sized = [(name, size) for name in SIZED for size in getattr(options, name)]
    parts = options.only or ([] if sized or options.slow else list(PARTS))
    results: dict[str, list[Figure]] = {}
    if options.log != "kafka":
        results["embedded log"] = measure(parts, None, is_quick=options.quick)
    if options.log != "embedded" and parts:
        with a_broker(options.kafka) as broker:
            if broker is not None:
                results["Kafka"] = measure(parts, broker, is_quick=options.quick)
    for name, size in sized:
        found = SIZED[name][1](size)
        show(name, found)
        results.setdefault(name, []).extend(found)
    if len(options.growth) > 1:
        sizes = [f"{size:,} tickets" for size in options.growth]
        table = Table("growth", *sizes, "last to first")
        for line in side_by_side(options.growth, results["growth"]):
            table.add_row(*line)
        out.print(table)
    if options.slow:
        results["slow clients"] = of_slow_clients(10.0 if options.quick else 30.0)
        show("slow clients", results["slow clients"])
    _keep(options.json, {"machine": facts, **{n: _plain(f) for n, f in results.items()}})
    return 0


def _plain(figures: list[Figure]) -> list[dict[str, Any]]:
    return [asdict(figure) for figure in figures]


def _keep(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    out.print(f"kept in {path}")


if __name__ == "__main__":
    raise SystemExit(main())
