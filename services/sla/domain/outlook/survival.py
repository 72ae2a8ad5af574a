"""How likely a running clock is to be breached, from how long such clocks took before.

A Kaplan–Meier curve per target, priority and group says which share is still running after so much
working time; clocks that have not ended, or ended without a verdict, count as long as they were
seen. A clock that has run for t is breached with the probability S(goal) / S(t).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from services.sla.domain.clocks.clock import TicketClock
from services.sla.domain.clocks.explain import reading_of
from services.sla.domain.clocks.history import Fact, last_value
from services.sla.domain.clocks.ledger import judge_each
from services.sla.domain.clocks.rulebook import Rulebook
from shared.calendar import SECOND_US, instant
from shared.contracts.promises import ClockKind

SAMPLE_MIN: Final = 30
SEEN_MIN: Final = 10
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

    __slots__ = ("_lifetimes", "_shares", "_times", "size")

    def __init__(self, lifetimes: Iterable[tuple[float, bool]]) -> None:
        """Take lifetimes, each with whether it ended by being stopped."""
        ordered = sorted(lifetimes, key=lambda one: (one[0], not one[1]))
        self.size = len(ordered)
        self._lifetimes = [seconds for seconds, _ in ordered]
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

    def breach_probability(self, elapsed_seconds: float, goal_seconds: float) -> float | None:
        """Return the chance that a clock which has run so long runs past its goal.

        None where too few clocks were ever seen to run as long as this one.
        """
        if elapsed_seconds >= goal_seconds:
            return 1.0
        seen = self.size - bisect_left(self._lifetimes, elapsed_seconds)
        running = self.running_after(elapsed_seconds)
        if seen < SEEN_MIN or running == 0:
            return None
        return self.running_after(goal_seconds) / running


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


class AtRisk(msgspec.Struct, frozen=True, kw_only=True):
    """A running clock and how likely it is to be breached, null if too little has happened yet.

    `remaining_seconds` and `elapsed_seconds` are working time, `remaining_wall_seconds` is not;
    both remaining times are negative once the clock is overdue. The probability was learnt from
    `learnt_from` clocks like it.
    """

    ticket_id: str
    target: str
    cycle: int
    generation: int
    kind: ClockKind
    priority: str | None
    group: str | None
    due_at: datetime
    elapsed_seconds: int
    remaining_seconds: int
    remaining_wall_seconds: int
    breach_probability: float | None
    learnt_from: int


def at_risk(
    ticket_id: str, facts: Sequence[Fact], rules: Rulebook, curves: Curves, at_us: int
) -> Iterator[AtRisk]:
    """Yield the ticket's clocks that run at `at_us`; one that is paused cannot be breached."""
    priority, group = last_value(facts, "priority"), last_value(facts, "group")
    for clock in judge_each(facts, rules, at_us).ledger:
        if clock.stopped_us is not None or clock.outcome == "paused":
            continue
        reading = reading_of(clock, at_us)
        elapsed, remaining = reading.elapsed_seconds or 0, reading.remaining_seconds or 0
        curve = curves.of(clock.target, priority, group)
        chance = None if curve is None else curve.breach_probability(elapsed, elapsed + remaining)
        yield AtRisk(
            ticket_id=ticket_id,
            target=clock.target,
            cycle=clock.cycle,
            generation=clock.generation,
            kind=reading.kind,
            priority=priority,
            group=group,
            due_at=instant(clock.due_us),
            elapsed_seconds=elapsed,
            remaining_seconds=remaining,
            remaining_wall_seconds=reading.remaining_wall_seconds or 0,
            breach_probability=1.0 if clock.breached_us is not None else chance,
            learnt_from=0 if curve is None else curve.size,
        )


def lifetimes(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Iterator[Lifetime]:
    """Yield how long each of a ticket's clocks ran, as far as was known at `at_us`."""
    priority, group = last_value(facts, "priority"), last_value(facts, "group")
    for clock in judge_each(facts, rules, at_us).ledger:
        seconds = clock.elapsed_us / SECOND_US
        yield Lifetime(clock.target, priority, group, seconds, has_ended=_has_verdict(clock))


def predictions(
    facts: Sequence[Fact], rules: Rulebook, curves: Curves, at_us: int
) -> Iterator[tuple[float, bool]]:
    """Yield what would have been said of the ticket's clocks at each checkpoint they ran past.

    Each probability comes with what became of the clock, and knows the ticket only as it was known
    then. A clock without a verdict proves nothing.
    """
    for course, clock in judge_each(facts, rules, at_us).clocks:
        if not _has_verdict(clock):
            continue
        whole_us = course.elapsed_us(course.cut_us) if clock.breached_us is None else None
        goal_us = clock.definition.goal_us
        if goal_us is None:
            continue
        for share in CHECKPOINTS:
            passed_us = int(goal_us * share)
            if whole_us is not None and whole_us <= passed_us:
                break
            seen_us = course.reaches_us(passed_us)
            known = [fact for fact in facts if fact.time_us <= seen_us]
            curve = curves.of(
                clock.target, last_value(known, "priority"), last_value(known, "group")
            )
            if curve is not None:
                chance = curve.breach_probability(passed_us / SECOND_US, goal_us / SECOND_US)
                if chance is not None:
                    yield chance, clock.breached_us is not None


def _has_verdict(clock: TicketClock) -> bool:
    return clock.stopped_us is not None and clock.outcome in ("met", "missed")


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
    the breached share itself, which nobody knows beforehand; lower is better. Source: Brier,
    Verification of forecasts expressed in terms of probability, 1950.
    """

    learnt_from: int
    tested_on: int
    predictions: int
    brier: float | None
    brier_base_rate: float | None
    bins: tuple[Bin, ...]


def calibration(
    made: Sequence[tuple[float, bool]], *, learnt_from: int, tested_on: int
) -> Calibration:
    """Return how probabilities of a breach compare with whether there was one."""
    base_rate = _mean([came_true for _, came_true in made])
    bins: list[Bin] = []
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = [one for one in made if low <= one[0] < high or one[0] == high == 1]
        bins.append(
            Bin(
                low, high, len(inside), _mean([p for p, _ in inside]), _mean([b for _, b in inside])
            )
        )
    return Calibration(
        learnt_from=learnt_from,
        tested_on=tested_on,
        predictions=len(made),
        brier=_mean([(p - b) ** 2 for p, b in made]),
        brier_base_rate=_mean([((base_rate or 0) - b) ** 2 for _, b in made]),
        bins=tuple(bins),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
