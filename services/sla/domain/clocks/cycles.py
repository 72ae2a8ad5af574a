"""The cycles of a target, and which definition rules each of them from when to when."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from services.sla.domain.clocks.history import Fact, HistoryStep, words_of
from services.sla.domain.clocks.rulebook import ENDS, REOPENED, Definition, Fields, TargetRules

Ending = Literal["stopped", "cancelled", "merged", "superseded"]
_SOLUTIONS: Final = ("resolved", "closed")

Span = tuple[int, int]
"""From an instant up to another one."""


class Stretch(msgspec.Struct, frozen=True):
    """A time counted under one definition; `end_us` is None for the last one of a clock.

    Pauses before `forgives_us` count as running time.
    """

    start_us: int
    end_us: int | None
    definition: Definition
    forgives_us: int | None = None


class Life(msgspec.Struct):
    """One clock of a cycle, before it is read: what it counts, and how it came and went.

    `started_us` is where it counts from, `came_us` when it came to be. `excluded` are the spells
    between a solution and a reopening, which are no time of the clock's at all.
    """

    target: str
    cycle: int
    generation: int
    definition: Definition
    date_us: int | None
    started_us: int
    came_us: int
    stretches: tuple[Stretch, ...]
    excluded: tuple[Span, ...]
    ended_us: int | None = None
    ending: Ending | None = None

    def counted_until(self, at_us: int) -> tuple[Stretch, ...]:
        """Return what it has counted, cut at `at_us`."""
        *before, last = self.stretches
        return (*before, msgspec.structs.replace(last, end_us=at_us))


class _Cycle(msgspec.Struct):
    number: int
    started_us: int
    opened_us: int
    excluded: tuple[Span, ...] = ()
    lives: list[Life] = []
    continues: "_Cycle | None" = None
    ended_us: int | None = None
    ending: Ending | None = None
    is_solved: bool = False

    def running(self) -> Life | None:
        """Return the clock that runs, if one does."""
        last = self.lives[-1] if self.lives else None
        return last if last is not None and last.ended_us is None else None

    def stopped(self) -> Life | None:
        """Return the clock that the cycle's stop ended, if there was one."""
        last = self.lives[-1] if self.lives else None
        return last if last is not None and last.ending == "stopped" else None


def lives(rules: TargetRules, moments: Sequence[HistoryStep], until_us: int) -> Iterator[Life]:
    """Yield every clock of one target, by cycle and generation, as facts up to `until_us` make it.

    `moments` holds nothing later than `until_us`.
    """
    run = _Run(rules)
    takeovers = iter(_takeovers_us(rules, moments, until_us))
    takeover_us = next(takeovers, None)
    for moment in moments:
        while takeover_us is not None and takeover_us < moment.at_us:
            run.take_over(takeover_us)
            takeover_us = next(takeovers, None)
        if rules.words.isdisjoint(moment.words) and rules.names.isdisjoint(moment.changed):
            continue
        run.happen(moment)
        if run.is_over:
            break
    while takeover_us is not None and not run.is_over:
        run.take_over(takeover_us)
        takeover_us = next(takeovers, None)
    for cycle in run.cycles:
        yield from cycle.lives


def _takeovers_us(
    rules: TargetRules, moments: Sequence[HistoryStep], until_us: int
) -> Sequence[int]:
    """Return when versions for running cycles come in; before the first moment no cycle runs."""
    known = rules.takeovers_us
    if not known or not moments:
        return ()
    return known[bisect_left(known, moments[0].at_us) : bisect_right(known, until_us)]


class _Run:
    """Walks one target through a ticket's moments."""

    __slots__ = ("_fields", "_open", "_rules", "cycles", "is_over")

    def __init__(self, rules: TargetRules) -> None:
        self._rules = rules
        self._fields: Fields = {}
        self._open: _Cycle | None = None
        self.cycles: list[_Cycle] = []
        self.is_over = False

    def happen(self, moment: HistoryStep) -> None:
        """Let the moment's field changes and facts stop, end and open; then match definitions."""
        rules, at_us = self._rules, moment.at_us
        touched = [self._open] if self._open is not None else []
        known = len(self.cycles)
        if self._open is not None and rules.stop.fields and moment.takes(rules.stop.fields):
            self._end(self._open, at_us, "stopped")
        if not self.is_over and rules.start.fields and moment.takes(rules.start.fields):
            self._start(at_us)
        for fact in moment.acts:
            self._act(fact, at_us)
        self._fields = moment.fields
        has_changed = not rules.names.isdisjoint(moment.changed)
        for cycle in touched:
            if has_changed or at_us in self._rules.takeovers_us:
                self._match(cycle, at_us)
            else:
                _close(cycle)
        for cycle in self.cycles[known:]:
            self._match(cycle, at_us)

    def take_over(self, at_us: int) -> None:
        """Let versions for running cycles come into force."""
        if self._open is not None:
            self._match(self._open, at_us)

    def _act(self, fact: Fact, at_us: int) -> None:
        if self.is_over:
            return
        words = words_of(fact)
        if self._open is not None and not self._rules.stop.words.isdisjoint(words):
            self._end(self._open, at_us, "stopped", is_solved=fact.type in _SOLUTIONS)
        if fact.type in ENDS:
            self.is_over = True
            if self._open is not None:
                self._end(self._open, at_us, "merged" if fact.type == "merged" else "cancelled")
        elif self._open is None:
            if fact.type == REOPENED and self._reopen(at_us):
                return
            if not self._rules.start.words.isdisjoint(words):
                self._start(at_us)

    def _end(self, cycle: _Cycle, at_us: int, ending: Ending, *, is_solved: bool = False) -> None:
        cycle.ended_us, cycle.ending, cycle.is_solved = at_us, ending, is_solved
        self._open = None

    def _start(self, at_us: int) -> None:
        if self._open is None and (self._rules.is_repeated or not self.cycles):
            self._open = _Cycle(len(self.cycles) + 1, at_us, at_us)
            self.cycles.append(self._open)

    def _reopen(self, at_us: int) -> bool:
        """Open the next cycle after a solution that did not hold; tell whether there is one."""
        last = self.cycles[-1] if self.cycles else None
        if last is None or not last.is_solved or self._rules.on_reopen == "ignore":
            return False
        cycle = _Cycle(last.number + 1, at_us, at_us)
        if self._rules.on_reopen == "continue" and last.ended_us is not None:
            cycle.started_us = last.started_us
            cycle.excluded = (*last.excluded, (last.ended_us, at_us))
            cycle.continues = last
        self._open = cycle
        self.cycles.append(cycle)
        return True

    def _match(self, cycle: _Cycle, at_us: int) -> None:
        """Give the cycle the clock of the definition that matches now, also one that ends now."""
        definition = self._rules.matching(self._fields, cycle.opened_us, at_us)
        date_us = None if definition is None else definition.date_us(self._fields)
        life = cycle.running()
        if life is not None and (definition is not life.definition or date_us != life.date_us):
            life.ended_us, life.ending = at_us, "superseded" if definition else "cancelled"
            before, life = life, None
        else:
            before = None
        if life is None and definition is not None:
            life = self._attach(cycle, definition, at_us, before)
            cycle.lives.append(life)
        _close(cycle)

    def _attach(
        self, cycle: _Cycle, definition: Definition, at_us: int, before: Life | None
    ) -> Life:
        """Start the cycle's next clock, by the definition's own rule if the cycle runs already."""
        date_us = definition.date_us(self._fields)
        runs_on = False
        if not cycle.lives and cycle.continues is not None and at_us == cycle.opened_us:
            before = cycle.continues.stopped()
            runs_on = (
                before is not None and before.definition is definition and before.date_us == date_us
            )
        change = definition.target.on_change
        if before is not None and runs_on:
            started_us, stretches = before.started_us, before.stretches
        elif before is not None and change == "carry_elapsed":
            started_us = before.started_us
            stretches = (*before.counted_until(at_us), Stretch(at_us, None, definition))
        elif change == "change_time":
            started_us, stretches = at_us, (Stretch(at_us, None, definition),)
        else:
            forgives_us = None if definition.target.keep_pauses else at_us
            started_us = cycle.started_us
            stretches = (Stretch(started_us, None, definition, forgives_us),)
        return Life(
            target=self._rules.name,
            cycle=cycle.number,
            generation=len(cycle.lives) + 1,
            definition=definition,
            date_us=date_us,
            started_us=started_us,
            came_us=at_us,
            stretches=stretches,
            excluded=cycle.excluded,
        )


def _close(cycle: _Cycle) -> None:
    """End the clock of a cycle that has ended."""
    life = cycle.running()
    if life is not None and cycle.ended_us is not None:
        life.ended_us, life.ending = cycle.ended_us, cycle.ending
