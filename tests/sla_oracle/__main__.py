"""Long runs: `python -m tests.sla_oracle --count 5000 --seed 1`."""

import argparse
import json
import sys
import traceback
from typing import Any

from .differential import difference, made, shrunken


def told(scenario: dict[str, Any]) -> str:
    """Return what is to be printed of a scenario; nothing when product and evaluator agree."""
    try:
        how = difference(scenario)
    except Exception:  # noqa: BLE001 - a crash is a finding like any other
        return f"{traceback.format_exc()}\n{json.dumps(scenario)}"
    if not how:
        return ""
    small = shrunken(scenario, how.split(":", 1)[0])
    return f"{difference(small)}\n{json.dumps(small)}"


def main() -> int:
    """Compare many scenarios; print each difference, made small."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--without", default="", help="features to leave out, with commas")
    parser.add_argument("--stop-after", type=int, default=5, help="differences")
    given = parser.parse_args()
    without = frozenset(filter(None, given.without.split(",")))
    found = 0
    for seed in range(given.seed, given.seed + given.count):
        what = told(made(seed, without))
        if what:
            found += 1
            print(f"seed {seed}: {what}\n", flush=True)
        if found >= given.stop_after:
            break
    print(f"{found} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
