"""The one function from a ticket's history and the rules to its ledger of clocks."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from services.sla.domain.clocks.clock import ClockCourse, TicketClock, caps_of, course_of, read
from services.sla.domain.clocks.cycles import lives
from services.sla.domain.clocks.history import Fact, HistoryStep, Spell, moments, spells
from services.sla.domain.clocks.rulebook import ClockConditions, Rulebook
from shared.calendar import NoWorkingTimeError

Ledger = tuple[TicketClock, ...]
"""A ticket's clocks, by target as first named in the rules, cycle and generation."""


class WithoutDeadline(msgspec.Struct, frozen=True):
    """A clock that would run, but its calendar has run out of working time; and why."""

    target: str
    cycle: int
    generation: int
    policy_id: str
    policy_version: int
    calendar: str
    reason: str


class Judgement(NamedTuple):
    """The clocks that can be read, each with what it counted, and those that never come due."""

    clocks: list[tuple[ClockCourse, TicketClock]]
    without_deadline: list[WithoutDeadline]

    @property
    def ledger(self) -> Ledger:
        """The clocks that can be read."""
        return tuple(clock for _, clock in self.clocks)


def judge(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Ledger:
    """Return every clock the ticket has had, as read at `at_us`; later facts do not count.

    `facts` are in order (`history.in_order`), each once. Raises: NoWorkingTimeError, naming target,
    policy and calendar, if a calendar does not hold as much working time as a goal needs.
    """
    return tuple(_read(course) for course in courses(facts, rules, at_us))


def judge_just_before(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Ledger:
    """Return the ledger as read at `at_us`, versions that come into force then left out."""
    return tuple(_read(course) for course in courses(facts, rules, at_us, at_us - 1))


def judge_each(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Judgement:
    """Judge as `judge`, and set aside what cannot be read: one clock must not cost the others.

    This is what a desk in service asks, whose rules were checked when they were published and
    whose calendars may run out years later.
    """
    found = Judgement([], [])
    for course in courses(facts, rules, at_us):
        try:
            found.clocks.append((course, read(course)))
        except NoWorkingTimeError as error:
            if course.life.ended_us is None:
                found.without_deadline.append(_without_deadline(course, error))
    return found


def _read(course: ClockCourse) -> TicketClock:
    try:
        return read(course)
    except NoWorkingTimeError as error:
        one = _without_deadline(course, error)
        raise NoWorkingTimeError(
            f"target {one.target!r} of policy {one.policy_id!r} version {one.policy_version} has no"
            f" deadline by calendar {one.calendar!r}: {one.reason}"
        ) from error


def _without_deadline(course: ClockCourse, error: NoWorkingTimeError) -> WithoutDeadline:
    life, definition = course.life, course.life.definition
    return WithoutDeadline(
        *(life.target, life.cycle, life.generation),
        *(definition.policy_id, definition.version, definition.target.calendar),
        reason=error.detail,
    )


def courses(
    facts: Sequence[Fact], rules: Rulebook, at_us: int, ruled_until_us: int | None = None
) -> Iterator[ClockCourse]:
    """Yield what each clock of the ledger has counted, for those who ask how it came about.

    Versions for running clocks that come after `ruled_until_us` are left out.
    """
    known = [fact for fact in facts if fact.time_us <= at_us]
    happened = moments(known)
    pauses = _Pauses(happened)
    caps = caps_of(known)
    for target in rules.targets:
        for life in lives(target, happened, at_us if ruled_until_us is None else ruled_until_us):
            yield course_of(life, pauses.of, caps.get(target.name, ()), at_us)


class _Pauses:
    """When which states held, each worked out once."""

    __slots__ = ("_known", "_moments")

    def __init__(self, happened: Sequence[HistoryStep]) -> None:
        self._moments = happened
        self._known: dict[ClockConditions, Sequence[Spell]] = {}

    def of(self, pause: ClockConditions) -> Sequence[Spell]:
        if not pause.words and not pause.fields:
            return ()
        found = self._known.get(pause)
        if found is None:
            found = self._known[pause] = tuple(spells(self._moments, pause))
        return found
