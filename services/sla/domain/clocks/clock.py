"""Reading a clock: when it is due, how much is used, what became of it, when to warn of it."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import ceil
from operator import attrgetter
from typing import Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET

from services.sla.domain.clocks.cycles import Life, Stretch
from services.sla.domain.clocks.history import Fact, Spell
from services.sla.domain.clocks.rulebook import ClockConditions, Definition
from shared.calendar import SECOND_US, WorkingCalendar
from shared.contracts.promises import WarnRule

Outcome = Literal["open", "paused", "met", "missed", "cancelled", "merged", "superseded"]
_SEQUENCE: Final = attrgetter("sequence")

Pauses = Callable[[ClockConditions], Sequence[Spell]]
"""When one of some states held, in order; the last spell may have no end."""


class WarningDue(NamedTuple):
    """A warning of one clock: the rule, by its place among the target's, and its instant."""

    place: int
    at_us: int


class Cap(NamedTuple):
    """A due time taken over from another ticket: since when, where it was, and whose it was."""

    at_us: int
    due_us: int
    ticket_id: str


class TicketClock(msgspec.Struct, frozen=True, kw_only=True):
    """One promise of a ticket, read at one instant; instants and times in microseconds.

    `missed` without `stopped_us` is overdue and still running. `breached_us` is the due instant if
    the clock lived past it. `elapsed_us` and `paused_us` are working time, up to the end or the
    reading. `pause` is the one in which it is read, `resumed_us` the end of the last one.
    """

    target: str
    cycle: int
    generation: int
    definition: Definition
    started_us: int
    came_us: int
    due_us: int
    outcome: Outcome
    stopped_us: int | None
    breached_us: int | None
    elapsed_us: int
    paused_us: int
    pause: Spell | None
    resumed_us: int | None
    warnings: tuple[WarningDue, ...]


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A time of one kind under one calendar: it runs, is paused, or is none of the clock's."""

    start_us: int
    end_us: int
    kind: Literal["run", "pause", "excluded"]
    calendar: WorkingCalendar

    def worked_us(self) -> int:
        """Return the working time it holds."""
        return self.calendar.worked_us(self.start_us, self.end_us)


def caps_of(facts: Sequence[Fact]) -> dict[str, tuple[Cap, ...]]:
    """Return the due times that a ticket took over, by target.

    Of those that a giver handed over at one instant, the one told last counts.
    """
    newest: dict[tuple[str, str, int], Cap | None] = {}
    for fact in sorted((fact for fact in facts if fact.type == "inherited"), key=_SEQUENCE):
        taken, giver = fact.changes or {}, fact.reason or ""
        target, due_us = str(taken.get("target")), taken.get("due_us")
        newest[target, giver, fact.time_us] = (
            Cap(fact.time_us, due_us, giver) if isinstance(due_us, int) else None
        )
    found: dict[str, tuple[Cap, ...]] = {}
    for (target, _, _), cap in newest.items():
        if cap is not None:
            found[target] = (*found.get(target, ()), cap)
    return found


def course_of(life: Life, pauses: Pauses, caps: Sequence[Cap], at_us: int) -> "ClockCourse":
    """Return what the clock has counted at `at_us`, or at its end; there open pauses end."""
    return ClockCourse(life, pauses, caps, at_us if life.ended_us is None else life.ended_us)


def read(course: "ClockCourse") -> TicketClock:
    """Return the clock as its course makes it.

    Raises: InvalidInputError if a calendar does not hold as much working time as the goal needs.
    """
    life, cut_us = course.life, course.cut_us
    due_us = course.due_us()
    is_past = due_us < cut_us
    pause = course.pause()
    return TicketClock(
        target=life.target,
        cycle=life.cycle,
        generation=life.generation,
        definition=life.definition,
        started_us=life.started_us,
        came_us=life.came_us,
        due_us=due_us,
        outcome=_outcome(life, is_past=is_past, is_paused=pause is not None),
        stopped_us=life.ended_us,
        breached_us=due_us if is_past else None,
        elapsed_us=course.elapsed_us(cut_us),
        paused_us=course.paused_us(),
        pause=pause,
        resumed_us=course.resumed_us(),
        warnings=tuple(course.warnings(due_us)),
    )


def verdict(course: "ClockCourse") -> tuple[Literal["met", "missed", "open"], int] | None:
    """Return only what became of the clock, and when: at its breach, at its stop, or by now.

    One that was ever breached is missed. None for a clock that ended without a verdict.
    """
    due_us = course.due_us()
    if due_us < course.cut_us:
        return "missed", due_us
    ending = course.life.ending
    if ending is None:
        return "open", course.cut_us
    return ("met", course.cut_us) if ending == "stopped" else None


def _outcome(life: Life, *, is_past: bool, is_paused: bool) -> Outcome:
    if life.ended_us is not None and life.ending is not None and life.ending != "stopped":
        return life.ending
    if is_past:
        return "missed"
    if life.ended_us is not None:
        return "met"
    return "paused" if is_paused and life.date_us is None else "open"


class ClockCourse:
    """What a clock counts: pieces up to the cut, and running time from there on.

    `cut_us` is the reading, or the clock's end.
    """

    __slots__ = (
        "_calendar",
        "_definition",
        "_pauses",
        "_running",
        "_spells",
        "caps",
        "cut_us",
        "life",
        "pieces",
    )

    def __init__(self, life: Life, pauses: Pauses, caps: Sequence[Cap], cut_us: int) -> None:
        self.life = life
        self.caps = [
            cap
            for cap in caps
            if life.started_us <= cap.at_us and (life.ended_us is None or cap.at_us < life.ended_us)
        ]
        self._definition = life.definition
        self._calendar = life.definition.calendar
        self.cut_us = cut_us
        self._pauses = pauses
        self._spells = pauses(life.definition.pause)
        self.pieces = [
            piece
            for stretch in life.stretches
            for piece in _pieces(stretch, life.excluded, pauses(stretch.definition.pause), cut_us)
        ]
        self._running = [piece for piece in self.pieces if piece.kind == "run"]

    def due_us(self) -> int:
        """Return the deadline: its own, or one that the ticket took over and that comes first."""
        due_us = self.own_due_us()
        for cap in self.caps:
            due_us = min(due_us, max(self._moved_us(cap), self.life.started_us))
        return due_us

    def _moved_us(self, cap: Cap) -> int:
        """Return where an inherited due time is after the pauses since.

        A pause that lasts keeps it ahead, also while nobody works: else it would pass, and move on
        when working time comes.
        """
        moved_us = self._shifted_us(cap.due_us, cap.at_us)
        since_us = self._rests_since_us()
        is_ahead = since_us is not None and max(since_us, cap.at_us) < moved_us
        return max(moved_us, self.cut_us) if is_ahead else moved_us

    def _rests_since_us(self) -> int | None:
        """Return since when the clock has been standing still, None if it runs or has ended."""
        since_us: int | None = None
        for piece in reversed(self.pieces if self.pause() is not None else ()):
            if piece.kind == "run":
                break
            since_us = piece.start_us
        return since_us

    def own_due_us(self) -> int:
        """Return the deadline by the clock's own goal."""
        life, definition, calendar = self.life, self._definition, self._calendar
        if definition.goal_us is not None:
            return self.reaches_us(definition.goal_us)
        if life.date_us is not None:
            due_us = max(life.date_us, life.started_us)
            return due_us if calendar.holds_us(due_us) else calendar.next_opening_us(due_us)
        return self._shifted_us(self.days_us(), life.started_us)

    def _shifted_us(self, due_us: int, since_us: int) -> int:
        """Return an instant moved by what did not count since then and began before it."""
        for start_us, worked_us in self._idle(since_us):
            if start_us < due_us:
                due_us = self._calendar.add_us(due_us, worked_us)
        return due_us

    def days_us(self) -> int:
        """Return where the goal's working days end, no pause considered."""
        at = self._definition.target.goal.at
        return self._calendar.add_days_us(
            self.life.started_us, self._definition.days or 0, "same_time" if at is UNSET else at
        )

    def reason_at(self, at_us: int) -> str | None:
        """Return what paused the clock at an instant."""
        reasons = (
            spell.reason
            for stretch in self.life.stretches
            for spell in self._pauses(stretch.definition.pause)
            if spell.start_us <= at_us and (spell.end_us is None or at_us < spell.end_us)
        )
        return next(reasons, None)

    def elapsed_us(self, to_us: int) -> int:
        """Return the working time that counts, from the start to an instant at or past the cut."""
        counted_us = sum(piece.worked_us() for piece in self._running)
        return counted_us + self._calendar.worked_us(self.cut_us, to_us)

    def reaches_us(self, wanted_us: int) -> int:
        """Return the earliest instant at which so much counts."""
        return self.life.started_us if wanted_us <= 0 else self._after_us(None, wanted_us)

    def paused_us(self) -> int:
        """Return the working time that pauses kept from counting."""
        return sum(piece.worked_us() for piece in self.pieces if piece.kind == "pause")

    def pause(self) -> Spell | None:
        """Return the pause that lasts, None if none does or the clock has ended."""
        if self.life.ended_us is not None or not self._spells:
            return None
        last = self._spells[-1]
        return last if last.end_us is None else None

    def resumed_us(self) -> int | None:
        """Return when the last pause ended."""
        ends = (spell.end_us for spell in self._spells)
        return max((end for end in ends if end is not None), default=None)

    def warnings(self, due_us: int) -> Iterator[WarningDue]:
        """Yield what falls into the clock's life; what lies ahead is planned."""
        rules = self._definition.target.warn
        whole_us = self._definition.goal_us
        if rules and (whole_us is None or self.caps):
            whole_us = self._elapsed_by_us(due_us)
        for place, rule in enumerate(rules):
            at_us = self._warn_us(rule, due_us, whole_us or 0)
            ended_us = self.life.ended_us
            if at_us >= self.life.came_us and (ended_us is None or at_us < ended_us):
                yield WarningDue(place, at_us)

    def _warn_us(self, rule: WarnRule, due_us: int, whole_us: int) -> int:
        if rule.percent is not UNSET:
            return self.reaches_us(_share_us(rule.percent, whole_us))
        if rule.before_due_seconds is not UNSET:
            return self.reaches_us(whole_us - rule.before_due_seconds * SECOND_US)
        if rule.after_due_seconds is not UNSET:
            return self._beyond_us(due_us, rule.after_due_seconds * SECOND_US)
        if rule.before_due_working_days is not UNSET:
            return self._calendar.add_days_us(due_us, -rule.before_due_working_days)
        raise AssertionError("a warning has one of four rules")

    def _elapsed_by_us(self, to_us: int) -> int:
        """Return the working time that counts up to an instant anywhere."""
        if to_us >= self.cut_us:
            return self.elapsed_us(to_us)
        return sum(
            piece.calendar.worked_us(piece.start_us, min(piece.end_us, to_us))
            for piece in self._running
        )

    def _beyond_us(self, from_us: int, wanted_us: int) -> int:
        """Return the earliest instant at which so much has counted since `from_us`."""
        return from_us if wanted_us == 0 else self._after_us(from_us, wanted_us)

    def _after_us(self, from_us: int | None, left_us: int) -> int:
        for piece in self._running:
            start_us = piece.start_us if from_us is None else max(piece.start_us, from_us)
            worked_us = piece.calendar.worked_us(start_us, piece.end_us)
            if worked_us >= left_us:
                return piece.calendar.add_us(start_us, left_us)
            left_us -= worked_us
        rest_us = self.cut_us if from_us is None else max(self.cut_us, from_us)
        return self._calendar.add_us(rest_us, left_us)

    def _idle(self, since_us: int) -> Iterator[tuple[int, int]]:
        """Yield what does not count, joined where it touches: its start and its working time."""
        start_us = end_us = worked_us = 0
        for whole in self.pieces:
            if whole.kind == "run" or whole.end_us <= since_us:
                continue
            piece = msgspec.structs.replace(whole, start_us=max(whole.start_us, since_us))
            if piece.start_us != end_us:
                if end_us > start_us:
                    yield start_us, worked_us
                start_us, worked_us = piece.start_us, 0
            end_us = piece.end_us
            worked_us += piece.worked_us()
        if end_us > start_us:
            yield start_us, worked_us


def _pieces(
    stretch: Stretch,
    excluded: Sequence[tuple[int, int]],
    spells: Sequence[Spell],
    cut_us: int,
) -> Iterator[Piece]:
    """Yield the stretch up to the cut as pieces of one kind, in order."""
    calendar = stretch.definition.calendar
    start_us = stretch.start_us
    stop_us = cut_us if stretch.end_us is None else min(stretch.end_us, cut_us)
    if start_us >= stop_us:
        return
    if not excluded and not spells:
        yield Piece(start_us, stop_us, "run", calendar)
        return
    forgiven_us = start_us if stretch.forgives_us is None else stretch.forgives_us
    pauses = [
        (max(spell.start_us, forgiven_us), stop_us if spell.end_us is None else spell.end_us)
        for spell in spells
    ]
    edges = {edge for span in (*excluded, *pauses) for edge in span if start_us < edge < stop_us}
    for a, b in pairwise((start_us, *sorted(edges), stop_us)):
        if any(low <= a < high for low, high in excluded):
            yield Piece(a, b, "excluded", calendar)
        elif any(low <= a < high for low, high in pauses):
            yield Piece(a, b, "pause", calendar)
        else:
            yield Piece(a, b, "run", calendar)


@lru_cache(maxsize=1_000)
def _fraction(percent: float) -> Fraction:
    return Fraction(str(percent)) / 100


@lru_cache(maxsize=1_000)
def _share_us(percent: float, whole_us: int) -> int:
    """Return the share of the whole, exact, rounded up to a second."""
    return ceil(_fraction(percent) * whole_us / SECOND_US) * SECOND_US
