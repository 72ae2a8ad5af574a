"""What a scenario file says, as the engine takes it: calendars, policies, facts."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, cast

import msgspec
from msgspec import UNSET

from services.sla.domain.clocks.history import Fact, FactType
from services.sla.domain.clocks.rulebook import PolicyVersion, Rulebook, read_date
from services.sla.domain.files import scenario
from services.sla.domain.files.scenario import CalendarPart, Scenario
from shared.calendar import (
    ROUND_THE_CLOCK,
    SECOND_US,
    WorkingCalendar,
    microseconds,
    round_the_clock,
)
from shared.contracts.promises import Value
from shared.errors import InvalidInputError

_ROUTINGS: Final = (scenario.Prioritized, scenario.Assigned)


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
        case scenario.TicketCreatedPart() | scenario.Prioritized() | scenario.Assigned():
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


def require_dates(case: Scenario, rules: Rulebook) -> None:
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


def require_created_first(case: Scenario) -> None:
    """Refuse what happened to a ticket before it was there."""
    created = [event.time for event in case.events if isinstance(event, scenario.TicketCreatedPart)]
    for place, event in enumerate(case.events):
        if created and event.time < min(created):
            field = f"/events/{place}/time"
            raise InvalidInputError(
                f"{field}: {event.time.isoformat()} is before the ticket was created", field=field
            )
