"""Running a scenario: the ledger, what was published, what was known when."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final, cast

import msgspec
from msgspec import UNSET

from services.sla.domain import publication, scenario
from services.sla.domain.clocks import Clock
from services.sla.domain.history import Fact, FactType, in_order
from services.sla.domain.ledger import Ledger, judge, judge_just_before
from services.sla.domain.publication import Knowledge, Said, learn
from services.sla.domain.rulebook import PolicyVersion, Rulebook, read_date, rulebook
from services.sla.domain.scenario import (
    CalendarPart,
    ClockPart,
    Computed,
    Emission,
    KnownAt,
    Question,
    Scenario,
    Verdict,
    WarningPart,
)
from shared.calendar import (
    ROUND_THE_CLOCK,
    SECOND_US,
    WorkingCalendar,
    instant,
    microseconds,
    round_the_clock,
)
from shared.contracts.promises import Value
from shared.errors import InvalidInputError

_ROUTINGS: Final = (scenario.Prioritized, scenario.Assigned)
_UNLISTED: Final = ("sla.paused", "sla.resumed")


def run(case: Scenario) -> Verdict:
    """Return everything that follows from the scenario.

    Raises: InvalidInputError with the JSON pointer of what makes no sense in it.
    """
    calendars = calendars_of(case.calendars)
    rules = rulebook([policy_version(part) for part in case.policies], calendars)
    facts = in_order(facts_of(case))
    _require_dates(case, rules)
    _require_created_first(case)
    ends = max(microseconds(event.time) for event in case.events)
    until_us = ends if case.until is None else microseconds(case.until)
    facts = [fact for fact in facts if fact.time_us <= until_us]
    ledger = judge(facts, rules, until_us)
    return Verdict(
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


def published(facts: Sequence[Fact], rules: Rulebook, until_us: int) -> Iterator[Said]:
    """Yield what was published while the facts were recorded, in order, up to `until_us`.

    At each instant at which something became known, or a version for running cycles came into
    force, the timers due before it come first, then the news.
    """
    places = {target.name: place for place, target in enumerate(rules.targets)}
    recorded = {fact.recorded_us for fact in facts}
    knowledge: Knowledge = {}
    known: list[Fact] = []
    last_us = max([until_us, *recorded])
    for at_us in sorted(recorded.union(rules.takeovers_us(last_us))):
        before = judge_just_before(known, rules, at_us)
        yield from _told(publication.due(before, knowledge, at_us), knowledge)
        known = [fact for fact in facts if fact.recorded_us <= at_us]
        ledger = judge(known, rules, at_us)
        said = publication.news(ledger, knowledge, at_us, at_us)
        yield from _told(publication.in_order_of(places, said), knowledge)
    ledger = judge(facts, rules, until_us)
    yield from _told(publication.due(ledger, knowledge, until_us), knowledge)


def is_listed(said: Said) -> bool:
    """Tell whether a scenario lists it: not pauses, corrections and withdrawals."""
    return said.type not in _UNLISTED and not (said.is_correction or said.is_withdrawal)


def _told(said: Iterable[Said], knowledge: Knowledge) -> Iterator[Said]:
    for one in said:
        learn(knowledge, one)
        yield one


def calendars_of(parts: Sequence[CalendarPart]) -> dict[str, WorkingCalendar]:
    """Return calendars by name, the built-in one among them.

    Raises: InvalidInputError with the pointer `/calendars/<place>…`.
    """
    calendars = {ROUND_THE_CLOCK: _round_the_clock()}
    for place, part in enumerate(parts):
        if part.id in calendars:
            field = f"/calendars/{place}/id"
            raise InvalidInputError(f"{field}: {part.id!r} is there twice", field=field)
        try:
            calendars[part.id] = WorkingCalendar(
                zone=part.zone,
                weekly={str(day): windows for day, windows in part.weekly.items()},
                holidays=part.holidays,
                special_days=part.special_days,
            )
        except InvalidInputError as error:
            field = f"/calendars/{place}{error.field or ''}"
            raise InvalidInputError(f"{field}: {error.detail}", field=field) from error
    return calendars


_round_the_clock = lru_cache(maxsize=1)(round_the_clock)


def policy_version(part: scenario.PolicyPart) -> PolicyVersion:
    """Return a policy of the file as the engine takes it."""
    return PolicyVersion(
        policy_id=part.id,
        version=part.version,
        effective_us=microseconds(part.effective_from),
        applies_to=part.applies_to,
        targets=part.targets,
    )


def facts_of(case: Scenario) -> Iterator[Fact]:
    """Yield the scenario's events as facts; those with one id are one.

    Raises: InvalidInputError for two events of one id that say different things.
    """
    places: dict[str, int] = {}
    for place, event in enumerate(case.events):
        sequence = place
        if event.id is not UNSET:
            sequence = places.setdefault(event.id, place)
            if msgspec.structs.replace(event, recorded_at=None) != msgspec.structs.replace(
                case.events[sequence], recorded_at=None
            ):
                field = f"/events/{place}/id"
                raise InvalidInputError(
                    f"{field}: {event.id!r} says something else at /events/{sequence}", field=field
                )
        yield _fact(event, sequence)


def _fact(event: scenario.AnyEvent, sequence: int) -> Fact:
    kind, reason, changes = _content(event)
    time_us = microseconds(event.time)
    return Fact(
        time_us,
        time_us if event.recorded_at is None else microseconds(event.recorded_at),
        _rank(event),
        sequence,
        kind,
        reason,
        changes,
    )


def _rank(event: scenario.AnyEvent) -> int:
    if isinstance(event, scenario.Inherited):
        return 2
    return 1 if isinstance(event, _ROUTINGS) else 0


def _content(  # noqa: PLR0911 one answer per kind of event
    event: scenario.AnyEvent,
) -> tuple[FactType, str | None, Mapping[str, Value] | None]:
    """Return the fact's type, the reason of a hold, and the fields it changes."""
    match event:
        case scenario.Created() | scenario.Prioritized() | scenario.Assigned():
            return _type(event), None, event.data
        case scenario.Updated():
            return "updated", None, event.data.fields
        case scenario.Held():
            return "held", None if event.data.reason is UNSET else event.data.reason, None
        case scenario.Inherited():
            due_at = event.data.due_at
            due_us = None if due_at is None else microseconds(due_at)
            taken: dict[str, Value] = {"target": event.data.target, "due_us": due_us}
            return "inherited", event.data.from_ticket, taken
        case scenario.Commented():
            if event.data.author == "requester":
                return "requester_message", None, None
            return "agent_reply" if event.data.public else "internal_note", None, None
        case _:
            return _type(event), None, None


def _type(event: scenario.AnyEvent) -> FactType:
    return cast("FactType", str(event.__struct_config__.tag).removeprefix("ticket."))


def _require_dates(case: Scenario, rules: Rulebook) -> None:
    """Refuse a promised date that is no instant."""
    names = {
        definition.date_field
        for target in rules.targets
        for versions in target.policies
        for version in versions
        for definition in version.definitions
        if definition.date_field is not None
    }
    if not names:
        return
    for place, event in enumerate(case.events):
        changes = _content(event)[2] or {}
        below = "data/fields" if isinstance(event, scenario.Updated) else "data"
        for name in names & changes.keys():
            at_us = read_date(changes[name])
            if changes[name] is not None and (at_us is None or at_us % SECOND_US):
                field = f"/events/{place}/{below}/{name}"
                raise InvalidInputError(
                    f"{field}: {changes[name]!r} is no instant in whole seconds with an offset,"
                    " before the year 2200",
                    field=field,
                )


def _require_created_first(case: Scenario) -> None:
    """Refuse what happened to a ticket before it was there."""
    created = [event.time for event in case.events if isinstance(event, scenario.Created)]
    for place, event in enumerate(case.events):
        if created and event.time < min(created):
            field = f"/events/{place}/time"
            raise InvalidInputError(
                f"{field}: {event.time.isoformat()} is before the ticket was created", field=field
            )


def _clock(clock: Clock) -> ClockPart:
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


def _emission(said: Said) -> Emission:
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
