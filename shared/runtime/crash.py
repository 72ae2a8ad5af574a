"""Named places where a test may kill the process, to prove that nothing there loses or doubles."""

import os
import signal
from collections import Counter
from typing import Literal

CrashPoint = Literal[
    "writer.before_commit",
    "writer.after_commit",
    "relay.after_send",
    "relay.after_delete",
    "consumer.before_commit",
    "consumer.after_commit",
    "timer.before_commit",
    "rebuild.before_switch",
]
VARIABLE = "DESK_CRASH_AT"

_passed: Counter[str] = Counter()


def crash_point(name: CrashPoint) -> None:
    """Kill this process with SIGKILL if `DESK_CRASH_AT` is `name` or `name:n` (the n-th pass)."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    _passed[name] += 1
    if wanted in {name, f"{name}:{_passed[name]}"}:
        os.kill(os.getpid(), signal.SIGKILL)
