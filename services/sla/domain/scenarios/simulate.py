"""Running a scenario: the ledger, what was published, what was known when."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET

from services.sla.domain.announcements import announcement
from services.sla.domain.announcements.announcement import AnnouncedClocks, Announcement, learn
from services.sla.domain.clocks.clock import TicketClock
from services.sla.domain.clocks.history import Fact, in_order
from services.sla.domain.clocks.ledger import Ledger, judge, judge_just_before
from services.sla.domain.clocks.rulebook import Rulebook, rulebook
from services.sla.domain.files.reading import (
    calendars_of,
    facts_of,
    policy_version,
    require_created_first,
    require_dates,
)
from services.sla.domain.files.scenario import (
    ClockPart,
    Computed,
    Emission,
    KnownAt,
    Question,
    Scenario,
    ScenarioResult,
    WarningPart,
)
from shared.calendar import (
    SECOND_US,
    WorkingCalendar,
    instant,
    microseconds,
)
from shared.errors import InvalidInputError

_UNLISTED: Final = ("sla.paused", "sla.resumed")


def run(case: Scenario) -> ScenarioResult:
    """Return everything that follows from the scenario.

    Raises: InvalidInputError with the JSON pointer of what makes no sense in it.
    """
    calendars = calendars_of(case.calendars)
    rules = rulebook([policy_version(part) for part in case.policies], calendars)
    facts = in_order(facts_of(case))
    require_dates(case, rules)
    require_created_first(case)
    ends = max(microseconds(event.time) for event in case.events)
    until_us = ends if case.until is None else microseconds(case.until)
    facts = [fact for fact in facts if fact.time_us <= until_us]
    ledger = judge(facts, rules, until_us)
    return ScenarioResult(
        id=case.id,
        actual=Computed(
            clocks=tuple(_clock(clock) for clock in ledger),
            warnings=tuple(_warnings(ledger)),
            emitted=tuple(
                _emission(said) for said in published(facts, rules, until_us) if is_listed(said)
            ),
            known_at=tuple(_known_at(case, facts, rules)),
            arithmetic=tuple(_answers(case.arithmetic, calendars)),
        ),
    )


def published(facts: Sequence[Fact], rules: Rulebook, until_us: int) -> Iterator[Announcement]:
    """Yield what was published while the facts were recorded, in order, up to `until_us`.

    At each instant at which something became known, or a version for running cycles came into
    force, the timers due before it come first, then the news.
    """
    places = {target.name: place for place, target in enumerate(rules.targets)}
    recorded = {fact.recorded_us for fact in facts}
    announced: AnnouncedClocks = {}
    known: list[Fact] = []
    last_us = max([until_us, *recorded])
    for at_us in sorted(recorded.union(rules.takeovers_us(last_us))):
        before = judge_just_before(known, rules, at_us)
        yield from _announce(announcement.due(before, announced, at_us), announced)
        known = [fact for fact in facts if fact.recorded_us <= at_us]
        ledger = judge(known, rules, at_us)
        said = announcement.changes(ledger, announced, at_us, at_us)
        yield from _announce(announcement.in_order_of(places, said), announced)
    ledger = judge(facts, rules, until_us)
    yield from _announce(announcement.due(ledger, announced, until_us), announced)


def is_listed(said: Announcement) -> bool:
    """Tell whether a scenario lists it: not pauses, corrections and withdrawals."""
    return said.type not in _UNLISTED and not (said.is_correction or said.is_withdrawal)


def _announce(said: Iterable[Announcement], announced: AnnouncedClocks) -> Iterator[Announcement]:
    for one in said:
        learn(announced, one)
        yield one


def _clock(clock: TicketClock) -> ClockPart:
    return ClockPart(
        target=clock.target,
        cycle=clock.cycle,
        generation=clock.generation,
        started_at=instant(clock.started_us),
        due_at=instant(clock.due_us),
        outcome=clock.outcome,
        stopped_at=_instant(clock.stopped_us),
        breached_at=_instant(clock.breached_us),
        elapsed_seconds=clock.elapsed_us // SECOND_US,
        paused_seconds=clock.paused_us // SECOND_US,
        policy_version=clock.definition.version,
    )


def _instant(at_us: int | None) -> datetime | None:
    return None if at_us is None else instant(at_us)


def _warnings(ledger: Ledger) -> Iterator[WarningPart]:
    for clock in ledger:
        for place, at_us in clock.warnings:
            yield WarningPart(
                target=clock.target,
                cycle=clock.cycle,
                generation=clock.generation,
                rule=clock.definition.target.warn[place],
                at=instant(at_us),
            )


def _emission(said: Announcement) -> Emission:
    return Emission(
        type=said.type,  # pyright: ignore[reportArgumentType] pauses and resumptions are left out
        target=said.key.target,
        cycle=said.key.cycle,
        generation=said.key.generation,
        time=instant(said.time_us),
        rule=UNSET if said.rule is None else said.rule,
    )


def _known_at(case: Scenario, facts: Sequence[Fact], rules: Rulebook) -> Iterator[KnownAt]:
    if case.expect.known_at is UNSET:
        return
    for question in case.expect.known_at:
        at_us = microseconds(question.recorded_at)
        known = [fact for fact in facts if fact.recorded_us <= at_us]
        clocks = tuple(_clock(clock) for clock in judge(known, rules, at_us))
        yield KnownAt(recorded_at=question.recorded_at, clocks=clocks)


def _answers(
    questions: Sequence[Question], calendars: dict[str, WorkingCalendar]
) -> Iterator[Question]:
    for place, question in enumerate(questions):
        field = f"/arithmetic/{place}"
        calendar = calendars.get(question.calendar)
        if calendar is None:
            raise InvalidInputError(
                f"{field}/calendar: no calendar is called {question.calendar!r}",
                field=f"{field}/calendar",
            )
        try:
            yield _answer(question, calendar)
        except InvalidInputError as error:
            raise InvalidInputError(f"{field}: {error.detail}", field=field) from error


def _answer(question: Question, calendar: WorkingCalendar) -> Question:
    start = question.from_
    if question.to is not UNSET:
        seconds = int(calendar.working_seconds(start, question.to))
        return msgspec.structs.replace(question, working_seconds=seconds)
    if question.add_working_seconds is not UNSET:
        gives = calendar.add_working_seconds(start, question.add_working_seconds)
    elif question.add_working_days is not UNSET:
        at = "same_time" if question.at is UNSET else question.at
        gives = calendar.add_working_days(start, question.add_working_days, at)
    else:
        gives = calendar.next_opening(start)
    return msgspec.structs.replace(question, gives=gives)
