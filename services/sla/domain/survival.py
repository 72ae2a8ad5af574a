"""How likely a running clock is to be breached, from how long such clocks took before.

A Kaplan–Meier curve per target, priority and group says which share is still running after so much
working time; clocks that have not ended, or ended without a verdict, count as long as they were
seen. A clock that has run for t is breached with the probability S(goal) / S(t).
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

SAMPLE_MIN: Final = 30
BINS: Final = 10
CHECKPOINTS: Final = (0.25, 0.5, 0.75, 0.9)


class Lifetime(NamedTuple):
    """How long one clock ran, in working seconds, and whether it was kept running no longer."""

    target: str
    priority: str | None
    group: str | None
    seconds: float
    has_ended: bool


class Curve:
    """The share of clocks that run longer than so many working seconds; never rises."""

    __slots__ = ("_shares", "_times", "size")

    def __init__(self, lifetimes: Iterable[tuple[float, bool]]) -> None:
        """Take lifetimes, each with whether it ended by being stopped."""
        ordered = sorted(lifetimes, key=lambda one: (one[0], not one[1]))
        self.size = len(ordered)
        self._times: list[float] = []
        self._shares: list[float] = []
        share = 1.0
        for place, (seconds, has_ended) in enumerate(ordered):
            if has_ended:
                share *= 1 - 1 / (self.size - place)
                self._times.append(seconds)
                self._shares.append(share)

    def running_after(self, seconds: float) -> float:
        """Return the share that is still running after so much working time."""
        place = bisect_right(self._times, seconds)
        return self._shares[place - 1] if place else 1.0

    def breach_probability(self, elapsed_seconds: float, goal_seconds: float) -> float:
        """Return the chance that a clock which has run so long runs past its goal.

        Where no clock ever ran as long as this one, it will be late as surely as can be said.
        """
        if elapsed_seconds >= goal_seconds:
            return 1.0
        running = self.running_after(elapsed_seconds)
        return self.running_after(goal_seconds) / running if running > 0 else 1.0


class Curves:
    """One curve per target, priority and group; a coarser one where the past is too small."""

    def __init__(self, lifetimes: Iterable[Lifetime]) -> None:
        """Sort lifetimes by what they are alike in."""
        samples: dict[tuple[str | None, ...], list[tuple[float, bool]]] = {}
        for one in lifetimes:
            for key in _keys(one.target, one.priority, one.group):
                samples.setdefault(key, []).append((one.seconds, one.has_ended))
        self._curves = {
            key: Curve(sample) for key, sample in samples.items() if len(sample) >= SAMPLE_MIN
        }

    def of(self, target: str, priority: str | None, group: str | None) -> Curve | None:
        """Return the finest curve there is, None if too little has happened for any."""
        found = (self._curves.get(key) for key in _keys(target, priority, group))
        return next((curve for curve in found if curve is not None), None)


def _keys(target: str, priority: str | None, group: str | None) -> list[tuple[str | None, ...]]:
    return [(target, priority, group), (target, priority), (target,)]


class Bin(msgspec.Struct, frozen=True):
    """Predictions of about one probability, and how many of them came true."""

    predicted_from: float
    predicted_to: float
    n: int
    predicted_mean: float | None
    breached_share: float | None


class Calibration(msgspec.Struct, frozen=True):
    """How good predictions are that were made without knowing the end.

    `brier` is the mean squared error of the probabilities, `brier_base_rate` that of always saying
    the breached share of the past from which the curves were made; lower is better.
    """

    learnt_from: int
    tested_on: int
    predictions: int
    brier: float | None
    brier_base_rate: float | None
    bins: tuple[Bin, ...]


def calibration(
    predictions: Sequence[tuple[float, bool]], base_rate: float, learnt_from: int, tested_on: int
) -> Calibration:
    """Return how predictions compare with what became true.

    `predictions` are probabilities of a breach, each with whether there was one.
    """
    bins: list[Bin] = []
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [one for one in predictions if low <= one[0] < high or one[0] == high == 1]
        count = len(inside)
        bins.append(
            Bin(
                low,
                high,
                count,
                sum(p for p, _ in inside) / count if count else None,
                sum(b for _, b in inside) / count if count else None,
            )
        )
    count = len(predictions)
    return Calibration(
        learnt_from=learnt_from,
        tested_on=tested_on,
        predictions=count,
        brier=sum((p - b) ** 2 for p, b in predictions) / count if count else None,
        brier_base_rate=sum((base_rate - b) ** 2 for _, b in predictions) / count
        if count
        else None,
        bins=tuple(bins),
    )
