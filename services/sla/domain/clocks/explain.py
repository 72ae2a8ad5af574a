"""Why a deadline is where it is: the rule, the windows that count, the pauses that do not."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final, Literal

import msgspec

from services.sla.domain.clocks.clock import ClockCourse, Outcome, Piece, TicketClock
from services.sla.domain.clocks.history import Fact
from services.sla.domain.clocks.ledger import WithoutDeadline, judge_each
from services.sla.domain.clocks.rulebook import Definition, Rulebook
from shared.calendar import SECOND_US, instant
from shared.contracts.promises import ClockKind, Goal, Target, Value, WarnRule

STEPS_MAX: Final = 400


class Next(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the clock does next if nothing happens: it warns, or is breached."""

    what: Literal["warning", "breach"]
    at: datetime
    rule: WarnRule | None = None


class ClockReading(msgspec.Struct, frozen=True, kw_only=True):
    """One promise, read at one instant.

    `outcome` missed without `stopped_at` is overdue and still running. `remaining_seconds` is
    working time to the deadline, `remaining_wall_seconds` as clocks on the wall have it; both
    negative once it has passed, null when the clock has ended. While it is paused, `due_at` is what
    it would be if it resumed now. `source_system` judged where this desk did not.
    """

    target: str
    cycle: int
    generation: int
    kind: ClockKind
    policy_id: str | None
    policy_version: int | None
    calendar: str | None
    goal: Goal | None
    started_at: datetime | None
    due_at: datetime | None
    outcome: Outcome
    stopped_at: datetime | None
    breached_at: datetime | None
    elapsed_seconds: int | None
    paused_seconds: int | None
    remaining_seconds: int | None = None
    remaining_wall_seconds: int | None = None
    paused_for: str | None = None
    paused_since: datetime | None = None
    next: Next | None = None
    source_system: str | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of time and what it does: it counts, is paused, is excluded; or the date reached.

    `seconds` is its working time, `counted_seconds` all that counts up to its end.
    """

    what: Literal[
        "counts", "paused", "excluded", "will count", "working days", "shifted", "date", "inherited"
    ]
    start: datetime = msgspec.field(name="from")
    end: datetime = msgspec.field(name="to")
    seconds: int = 0
    counted_seconds: int | None = None
    why: str | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A clock with the rule that made it and the steps from its start to its deadline.

    `because` are the conditions of the definition that the ticket meets. Steps are cut off after
    400; `is_complete` says so.
    """

    clock: ClockReading
    rule: Target
    policy_effective_from: datetime
    because: dict[str, Value | tuple[Value, ...]]
    came_to_be_at: datetime
    steps: tuple[Step, ...]
    is_complete: bool


class Readings(msgspec.Struct, frozen=True):
    """A ticket's clocks, and those that cannot be read."""

    clocks: list[ClockReading]
    without_deadline: list[WithoutDeadline] = []


class Explanations(msgspec.Struct, frozen=True):
    """How the deadlines of a ticket's clocks came about, and which clocks have none."""

    explanations: list[Explanation]
    without_deadline: list[WithoutDeadline]


def readings(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Readings:
    """Return the ledger as people want to see it, read at `at_us`."""
    clocks, without_deadline = judge_each(facts, rules, at_us)
    return Readings([reading_of(clock, at_us) for _, clock in clocks], without_deadline)


def reading_of(clock: TicketClock, at_us: int) -> ClockReading:
    """Return one clock as people want to see it."""
    target = clock.definition.target
    is_running = clock.stopped_us is None
    remaining_us = None
    if is_running:
        calendar = clock.definition.calendar
        ahead = calendar.worked_us(at_us, clock.due_us)
        remaining_us = ahead or -calendar.worked_us(clock.due_us, at_us)
    return ClockReading(
        target=clock.target,
        cycle=clock.cycle,
        generation=clock.generation,
        kind=target.kind,
        policy_id=clock.definition.policy_id,
        policy_version=clock.definition.version,
        calendar=target.calendar,
        goal=target.goal,
        started_at=instant(clock.started_us),
        due_at=instant(clock.due_us),
        outcome=clock.outcome,
        stopped_at=_instant(clock.stopped_us),
        breached_at=_instant(clock.breached_us),
        elapsed_seconds=clock.elapsed_us // SECOND_US,
        paused_seconds=clock.paused_us // SECOND_US,
        remaining_seconds=None if remaining_us is None else int(remaining_us / SECOND_US),
        remaining_wall_seconds=int((clock.due_us - at_us) / SECOND_US) if is_running else None,
        paused_for=None if clock.pause is None else clock.pause.reason,
        paused_since=None if clock.pause is None else instant(clock.pause.start_us),
        next=_next(clock, at_us) if is_running else None,
    )


def _next(clock: TicketClock, at_us: int) -> Next | None:
    """Return the first thing to come; nothing while a pause postpones it."""
    if clock.outcome == "paused":
        return None
    rules = clock.definition.target.warn
    coming = [
        Next(what="warning", at=instant(warn_us), rule=rules[place])
        for place, warn_us in clock.warnings
        if warn_us >= at_us
    ]
    if clock.due_us >= at_us:
        coming.append(Next(what="breach", at=instant(clock.due_us)))
    return min(coming, key=lambda one: one.at, default=None)


def explain(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Explanations:
    """Return how each deadline came about, in the ledger's order."""
    clocks, without_deadline = judge_each(facts, rules, at_us)
    return Explanations([_explain(*one, at_us) for one in clocks], without_deadline)


def _explain(course: ClockCourse, clock: TicketClock, at_us: int) -> Explanation:
    definition = clock.definition
    steps = tuple(islice(_steps(course, clock.due_us), STEPS_MAX + 1))
    return Explanation(
        clock=reading_of(clock, at_us),
        rule=definition.target,
        policy_effective_from=instant(definition.effective_us),
        because=definition.target.when,
        came_to_be_at=instant(clock.came_us),
        steps=steps[:STEPS_MAX],
        is_complete=len(steps) <= STEPS_MAX,
    )


def _steps(course: ClockCourse, due_us: int) -> Iterator[Step]:
    """Yield the way to the deadline, and on to the clock's end where it went past."""
    definition = course.life.definition
    counted_us = 0
    for piece in course.pieces:
        if piece.kind == "run":
            for opening_us, closing_us in piece.calendar.openings_us(piece.start_us, piece.end_us):
                counted_us += closing_us - opening_us
                yield _counting("counts", opening_us, closing_us, counted_us)
        else:
            yield _idle(piece, course)
    is_running = course.life.ended_us is None
    if is_running and definition.goal_us is not None and course.cut_us < due_us:
        for opening_us, closing_us in definition.calendar.openings_us(course.cut_us, due_us):
            counted_us += closing_us - opening_us
            yield _counting("will count", opening_us, closing_us, counted_us)
    elif definition.days is not None:
        yield from _days(course, definition)
    elif course.life.date_us is not None:
        why = f"the ticket's {definition.date_field}, moved to the next opening if closed"
        own = instant(course.own_due_us())
        yield Step(what="date", start=instant(course.life.date_us), end=own, why=why)
    if course.caps and due_us < course.own_due_us():
        cap = min(course.caps, key=lambda one: one.due_us)
        why = f"ticket {cap.ticket_id} was due then, and its work goes on here"
        yield Step(what="inherited", start=instant(cap.at_us), end=instant(due_us), why=why)


def _counting(what: Literal["counts", "will count"], a_us: int, b_us: int, sum_us: int) -> Step:
    return Step(
        what=what,
        start=instant(a_us),
        end=instant(b_us),
        seconds=(b_us - a_us) // SECOND_US,
        counted_seconds=sum_us // SECOND_US,
    )


def _idle(piece: Piece, course: ClockCourse) -> Step:
    is_pause = piece.kind == "pause"
    return Step(
        what="paused" if is_pause else "excluded",
        start=instant(piece.start_us),
        end=instant(piece.end_us),
        seconds=piece.worked_us() // SECOND_US,
        why=course.reason_at(piece.start_us) if is_pause else "between solution and reopening",
    )


def _days(course: ClockCourse, definition: Definition) -> Iterator[Step]:
    goal = definition.target.goal
    reached_us, due_us = course.days_us(), course.own_due_us()
    yield Step(
        what="working days",
        start=instant(course.life.started_us),
        end=instant(reached_us),
        why=f"{goal.working_days} working days, {goal.at or 'same_time'}",
    )
    if reached_us != due_us:
        shifted = definition.calendar.worked_us(reached_us, due_us) // SECOND_US
        yield Step(
            what="shifted",
            start=instant(reached_us),
            end=instant(due_us),
            seconds=shifted,
            why="by the working time of the pauses that began before it",
        )


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else instant(at_us)
