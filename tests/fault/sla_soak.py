"""`make soak-sla`: years of tickets through sla by an injected clock, each compared with its rules.

Three years of 2,000 tickets a day is what the desk promises to get right. Every ticket is made up
here, so every ledger can be computed without the service; the same seed makes the same tickets.
"""

import argparse
import asyncio
import cProfile
import gc
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import reduce
from multiprocessing import get_context
from operator import add
from pathlib import Path

from support.sla_soak import DIFFERENCES_MAX, Found, Size, soak

from shared.testing.database import TestPostgres, fresh_database

DAYS_PER_YEAR = 365
BATCH_SIZE = 60_000
ROOMY = {
    "shared_buffers": "512MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "off",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
}
"""What a desk of years that need not survive a crash asks of PostgreSQL."""


def tell(what: str) -> None:
    """Write progress to stderr."""
    sys.stderr.write(what + "\n")
    sys.stderr.flush()


def run_share(dsn: str, size: Size, name: str) -> Found:
    """Run one share in this process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # as the desk's own host does
    return asyncio.run(soak(dsn, size, lambda what: tell(name + what)))


def run(size: Size, shares: int) -> Found:
    """Run on a PostgreSQL of its own that need not survive a crash, in processes side by side.

    Each share is a desk of its own, with a database of its own and its part of each day's tickets.
    """
    sizes = [
        replace(size, per_day=size.per_day // shares, seed=size.seed * shares + share)
        for share in range(shares)
    ]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="desk-sla-soak-"))
        server = TestPostgres(Path(folder), settings=ROOMY)
        server.start()
        stack.callback(server.stop)
        dsns = [stack.enter_context(fresh_database(server, "sla")) for _ in sizes]
        if shares == 1:
            return run_share(dsns[0], sizes[0], "")
        pool = stack.enter_context(ProcessPoolExecutor(shares, get_context("spawn")))
        names = [f"share {number}, " for number in range(1, shares + 1)]
        return reduce(add, pool.map(run_share, dsns, sizes, names))


def summary(found: Found, size: Size) -> str:
    """Return what was done and found."""
    counts = ", ".join(f"{name} {number:,}" for name, number in sorted(found.counts.items()))
    lines = [
        f"{size.days} days, {found.tickets:,} tickets, seed {size.seed};"
        f" {found.changes} changes of rules on the way",
        f"{found.records:,} records applied, {found.said:,} of them sla's own;"
        f" {found.fired:,} timers fired; at most {found.alive_max:,} tickets alive",
        f"{found.seconds:.0f} s, {found.checking_seconds:.0f} s of it checking:"
        f" {found.records / found.seconds:,.0f} records/s,"
        f" {found.tickets / found.seconds:,.0f} tickets/s",
        f"{found.looks:,} looks, {found.checked:,} tickets over and equal to their rules,"
        f" {found.rebuilt:,} rebuilt from their records",
        counts,
        f"{len(found.differences)} differences",
        *found.differences[:DIFFERENCES_MAX],
    ]
    return "\n".join(lines)


def main() -> int:
    """Return 0 if every ticket was as its rules say, 1 if not."""
    parser = argparse.ArgumentParser(prog="make soak-sla", description=__doc__)
    parser.add_argument("--years", type=float, default=3)
    parser.add_argument("--days", type=int, help="instead of years")
    parser.add_argument("--per-day", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps-per-day", type=int, default=1)
    parser.add_argument("--shares", type=int, default=2, help="desks that run side by side")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument("--sample", type=int, default=200, help="of so many tickets one is rebuilt")
    parser.add_argument("--keep", action="store_true", help="keep ended tickets in the database")
    parser.add_argument("--profile", type=Path, help="write a profile to this file")
    options = parser.parse_args()
    size = Size(
        days=options.days or round(options.years * DAYS_PER_YEAR),
        per_day=options.per_day,
        seed=options.seed,
        steps_per_day=options.steps_per_day,
        sample=options.sample,
        prunes=not options.keep,
        batch_size=options.batch_size,
    )
    profile = cProfile.Profile()
    if options.profile is not None:
        profile.enable()
    found = run(size, options.shares)
    if options.profile is not None:
        profile.disable()
        profile.dump_stats(options.profile)
    sys.stdout.write(summary(found, size) + "\n")
    return 1 if found.differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
