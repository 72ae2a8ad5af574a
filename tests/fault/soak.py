"""`make soak MINUTES=30`: faults at random under load, and all invariants after each of them.

A desk on three Kafka brokers takes tickets all the while. Each round does one thing to it, lets it
come to rest, and checks I1–I8. The same seed does the same things in the same order.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random, SystemRandom

from rich.console import Console
from rich.table import Table
from support.desk import DeskProcess
from support.invariants import check_invariants
from support.load import Load
from support.world import FAULTS, Fault, Follower, World, desk_on, environment

from shared.testing.kafka import KafkaCluster, unavailable

out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
PER_SECOND = 20


@dataclass(frozen=True)
class Round:
    """What was done, and what was seen of it; `broken` says what did not hold."""

    number: int
    fault: str
    delay_seconds: float
    slowest_answer_seconds: float
    tickets: int
    broken: str | None


def play(fault: Fault, number: int, world_of: "Stage") -> Round:
    """Do one thing to a desk under load, let it come to rest, and check it."""
    desk = world_of.desk
    load = Load(desk.client, per_second=PER_SECOND, name=f"round-{number}")
    follower = Follower(desk.client, load)
    broken = None
    try:
        with load, follower:
            load.wait_for(10)
            world = World(world_of.cluster, desk, load, world_of.chance, tell, world_of.env)
            fault(world)
            load.wait_for(10)
            slowest = load.slowest_seconds
            load.stop()
            desk.settle()
            delay = follower.take_delay()
        check_invariants(desk.data, load.acknowledged, world_of.cluster.bootstrap_servers)
    except (AssertionError, RuntimeError) as error:
        broken, delay, slowest = str(error) or type(error).__name__, float("nan"), float("nan")
    return Round(number, fault.__name__, delay, slowest, len(load.acknowledged), broken)


@dataclass
class Stage:
    """What every round plays on."""

    cluster: KafkaCluster
    desk: DeskProcess
    chance: Random
    env: dict[str, str]


def tell(what: str) -> None:
    """Write down what is being done."""
    out.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim]   {what}")


def soak(minutes: float, seed: int, folder: Path) -> list[Round]:
    """Play rounds until the time is up, or until one breaks something."""
    env = environment(f"soak{seed}-")
    os.environ.update(env)
    rounds: list[Round] = []
    until = time.monotonic() + minutes * 60
    with (
        KafkaCluster(folder / "cluster") as cluster,
        desk_on(cluster, folder / "desk", env) as desk,
    ):
        stage = Stage(cluster, desk, Random(seed), env)
        while time.monotonic() < until and not (rounds and rounds[-1].broken):
            fault = stage.chance.choice(FAULTS)
            rounds.append(play(fault, len(rounds) + 1, stage))
            show(rounds[-1])
    return rounds


def show(one: Round) -> None:
    """Print a round."""
    verdict = f"[red]BROKEN: {one.broken}[/red]" if one.broken else "held"
    out.print(
        f"[dim]{time.strftime('%H:%M:%S')}[/dim] {one.number:3} {one.fault}: pipeline silent"
        f" {one.delay_seconds:.1f} s, slowest answer {one.slowest_answer_seconds:.2f} s,"
        f" {one.tickets} tickets, {verdict}"
    )


def summarise(rounds: list[Round]) -> None:
    """Print what was done and what held, by kind of fault."""
    kinds: defaultdict[str, list[Round]] = defaultdict(list)
    for one in rounds:
        kinds[one.fault].append(one)
    table = Table("fault", "times", "held", "pipeline silent at most", "slowest answer")
    for name, ones in sorted(kinds.items()):
        held = Counter(one.broken is None for one in ones)[True]
        table.add_row(
            name,
            str(len(ones)),
            str(held),
            f"{max(one.delay_seconds for one in ones):.1f} s",
            f"{max(one.slowest_answer_seconds for one in ones):.2f} s",
        )
    out.print(table)


def main() -> int:
    """Return 0 if everything held, 1 if not, 2 if there is no Kafka here."""
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--json", type=Path, help="write every round to this file")
    options = parser.parse_args()
    if (reason := unavailable()) is not None:
        out.print(f"no soak: {reason}")
        return 2
    out.print(f"seed {options.seed}; {options.minutes:g} minutes")
    with tempfile.TemporaryDirectory(prefix="desk-soak-") as folder:
        rounds = soak(options.minutes, options.seed, Path(folder))
    summarise(rounds)
    tickets = sum(one.tickets for one in rounds)
    out.print(f"{len(rounds)} faults, {tickets} tickets acknowledged; seed {options.seed}")
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(one) for one in rounds], indent=1) + "\n")
    return 1 if any(one.broken for one in rounds) else 0


if __name__ == "__main__":
    raise SystemExit(main())
