"""Promises kept, of those that came to a verdict: what is asked, and how the answer reads."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec

Dimension = Literal[
    "policy", "group", "month", "priority", "customer", "site", "service", "category"
]


class AttainmentQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which verdicts count; an empty condition lets all through.

    A verdict belongs to the instant at which it fell: a breach to its due time, a promise kept to
    its stop. `start` and `end` are aware, `end` itself is left out; `zone` decides which month an
    instant belongs to.
    """

    start: datetime | None = None
    end: datetime | None = None
    zone: str = "UTC"
    by: Sequence[Dimension] = ()
    targets: Sequence[str] = ()
    priorities: Sequence[str] = ()
    customers: Sequence[str] = ()
    services: Sequence[str] = ()


class Attainment(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts on one target that share a key.

    A cycle whose clock was ever breached is missed, also if the clock was superseded or cancelled
    afterwards; one that was cancelled before counts for nothing. `source_system` judged where this
    desk did not: its verdicts stand apart. `late_seconds` is the time on the wall from the breaches
    to the stops, or to the end of the question where nothing has stopped.
    """

    target: str
    kind: str | None
    source_system: str | None
    key: dict[Dimension, str | None]
    judged: int
    met: int
    missed: int
    share: float
    late_seconds: int
