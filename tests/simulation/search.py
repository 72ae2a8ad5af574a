"""Running seeds, and making a failing run smaller.

By hand: `PYTHONPATH=tests python -m simulation.search --seeds 2000` or `--seed 17 --tickets 2`.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace

from simulation.invariants import broken
from simulation.loop import run
from simulation.mutations import KERNELS
from simulation.world import Kernel, Size, World, play


def findings(seed: int, size: Size, kernel: Kernel) -> list[str]:
    """Play one world; return what did not hold of it."""
    return played(seed, size, kernel)[1]


def played(seed: int, size: Size, kernel: Kernel) -> tuple[World, list[str]]:
    """Play one world; return it, and what did not hold of it."""
    world = World(seed, size, kernel)
    try:
        run(play(world))
    except TimeoutError:
        return world, [*broken(world), "it does not come to rest"]
    return world, broken(world)


def first_failure(seeds: range, size: Size, kernel: Kernel) -> int | None:
    """Return the first seed whose run breaks something."""
    return next((seed for seed in seeds if findings(seed, size, kernel)), None)


def _smaller(size: Size) -> Iterator[Size]:
    for one in fields(size):
        value = getattr(size, one.name)
        for less in (value // 2, value - 1) if isinstance(value, int) else (0.0, value / 2):
            if 0 <= less < value and value > 0.01 and (one.name != "tickets" or less >= 1):
                yield replace(size, **{one.name: less})


def shrink(seed: int, size: Size, kernel: Kernel, seeds_tried: int = 30) -> tuple[int, Size]:
    """Return a seed and a size that still fail, as small as can be found."""
    for smaller in _smaller(size):
        found = first_failure(range(seed, seed + seeds_tried), smaller, kernel)
        if found is not None:
            return shrink(found, smaller, kernel, seeds_tried)
    return seed, size


def command(seed: int, size: Size, name: str = "whole") -> str:
    """Return the line that plays exactly this run again, with the kernel of that name."""
    options = " ".join(f"--{name} {value}" for name, value in asdict(size).items())
    kernel = f" --kernel '{name}'" if name != "whole" else ""
    return f"PYTHONPATH=tests python -m simulation.search --seed {seed} {options}{kernel}"


def main() -> int:
    """Search seeds, or play one and show its trace; 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=2_000, help="how many to try")
    parser.add_argument("--seed", type=int, help="play this one only, and show it")
    parser.add_argument("--kernel", choices=KERNELS, default="whole", help="which one to play")
    for one in fields(Size):
        parser.add_argument(f"--{one.name}", type=type(one.default), default=one.default)
    options = parser.parse_args()
    size = Size(**{one.name: getattr(options, one.name) for one in fields(Size)})
    kernel = KERNELS[options.kernel]
    began = time.perf_counter()
    if options.seed is not None:
        world, found = played(options.seed, size, kernel)
        print("\n".join([*world.trace, *(found or ["everything held"])]))
        return 1 if found else 0
    failed = first_failure(range(options.seeds), size, kernel)
    if failed is None:
        print(f"{options.seeds} runs held, {time.perf_counter() - began:.1f} s")
        return 0
    print(command(*shrink(failed, size, kernel), options.kernel))
    return 1


if __name__ == "__main__":
    sys.exit(main())
