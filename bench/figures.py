"""One line of the table, and the machine it was measured on."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from shared.clock import SystemClock


@dataclass(frozen=True)
class Figure:
    """What a path did beside its budget.

    `ratio` is to the calibration endpoint of the same run; `is_met` is None where the budget names
    no number.
    """

    path: str
    budget: str
    measured: str
    ratio: float | None = None
    is_met: bool | None = None


def rate(value: float, unit: str) -> str:
    """Return a rate as it is printed."""
    return f"{value:,.0f}{unit}"


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
