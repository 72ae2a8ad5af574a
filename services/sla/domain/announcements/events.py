"""Announcements as events, and events as announcements: the two ways between them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple, TypedDict, cast, get_args
from uuid import UUID

from services.sla.domain.announcements.announcement import (
    AnnouncedClocks,
    Announcement,
    AnnouncementType,
    ClockKey,
    ClockTerms,
    End,
    learn,
)
from services.sla.domain.clocks.clock import TicketClock
from shared.calendar import SECOND_US, instant, microseconds
from shared.contracts.intake import TicketCreated
from shared.contracts.promises import ClockKind
from shared.contracts.registry import Recorded
from shared.contracts.sla import (
    ClockEvent,
    SlaBreached,
    SlaBreachRetracted,
    SlaCancelled,
    SlaMet,
    SlaMissed,
    SlaPaused,
    SlaResumed,
    SlaStarted,
    SlaWarned,
)

WITHDRAWN: Final = "withdrawn"
_BARE: Final = frozenset((SlaBreached.TYPE, SlaBreachRetracted.TYPE))
_WORDS: Final = frozenset(get_args(ClockEvent))


class _Name(TypedDict):
    ticket_id: UUID
    target: str
    cycle: int
    generation: int
    kind: ClockKind


def event_of(  # noqa: PLR0911 one answer per word
    announcement: Announcement, ticket_id: UUID
) -> ClockEvent:
    """Return the event that says it."""
    clock = announcement.clock
    if clock is None:
        return _withdrawal(announcement, ticket_id)
    name = _name(ticket_id, announcement.key, clock.definition.target.kind)
    due_at = instant(clock.due_us)
    match announcement.type:
        case "sla.started":
            definition = clock.definition
            return SlaStarted(
                **name,
                started_at=instant(clock.started_us),
                due_at=due_at,
                goal=definition.target.goal,
                calendar=definition.target.calendar,
                policy_id=definition.policy_id,
                policy_version=definition.version,
            )
        case "sla.paused" if announcement.reason is not None:
            elapsed_seconds = clock.elapsed_us // SECOND_US
            return SlaPaused(**name, elapsed_seconds=elapsed_seconds, reason=announcement.reason)
        case "sla.resumed":
            return SlaResumed(**name, due_at=due_at)
        case "sla.warned" if announcement.rule is not None:
            return SlaWarned(**name, rule=announcement.rule, due_at=due_at)
        case "sla.breached":
            return SlaBreached(**name, due_at=due_at)
        case "sla.breach_retracted":
            is_in_time = clock.stopped_us is not None and clock.breached_us is None
            reason = "stopped_in_time" if is_in_time else "due_moved"
            return SlaBreachRetracted(**name, due_at=_due(announcement), reason=reason)
        case _:
            return _end(clock, name)


def _end(clock: TicketClock, name: _Name) -> SlaMet | SlaMissed | SlaCancelled:
    if clock.outcome not in ("met", "missed") or clock.stopped_us is None:
        return SlaCancelled(**name, reason=clock.outcome)
    judged = SlaMet if clock.outcome == "met" else SlaMissed
    return judged(
        **name,
        stopped_at=instant(clock.stopped_us),
        due_at=instant(clock.due_us),
        elapsed_seconds=clock.elapsed_us // SECOND_US,
    )


def _withdrawal(announcement: Announcement, ticket_id: UUID) -> SlaBreachRetracted | SlaCancelled:
    name = _name(
        ticket_id,
        announcement.key,
        "sla" if announcement.terms is None else announcement.terms.kind,
    )
    if announcement.type == "sla.breach_retracted":
        return SlaBreachRetracted(**name, due_at=_due(announcement), reason=WITHDRAWN)
    return SlaCancelled(**name, reason=WITHDRAWN)


def _due(announcement: Announcement) -> datetime:
    return instant(announcement.time_us if announcement.due_us is None else announcement.due_us)


def _name(ticket_id: UUID, key: ClockKey, kind: ClockKind) -> _Name:
    return _Name(
        ticket_id=ticket_id,
        target=key.target,
        cycle=key.cycle,
        generation=key.generation,
        kind=kind,
    )


class PastAnnouncements(NamedTuple):
    """What a ticket's journal says: what was announced, and whether another system judged it."""

    announced: AnnouncedClocks
    has_foreign: bool


def read_announcements(events: Iterable[Recorded]) -> PastAnnouncements:
    """Fold what sla recorded about a ticket, in sequence."""
    announced: AnnouncedClocks = {}
    has_foreign = False
    for event in events:
        data = event.data
        if type(data) in _WORDS:
            word = cast("ClockEvent", data)
            has_foreign = has_foreign or _is_foreign(word)
            learn(announced, announcement_of(word, microseconds(event.time)))
    return PastAnnouncements(announced, has_foreign)


def is_past(event: Recorded) -> bool:
    """Tell whether an event says that its ticket was another system's.

    Only such a ticket can have been judged there, whatever was imported.
    """
    return event.history and type(event.data) is TicketCreated


def _is_foreign(event: ClockEvent) -> bool:
    return getattr(event, "source_system", None) is not None


def announcement_of(  # noqa: PLR0911 one answer per word
    event: ClockEvent, time_us: int
) -> Announcement:
    """Return what an event announced, as far as later decisions ask for it."""
    key = ClockKey(event.target, event.cycle, event.generation)
    kind = cast("AnnouncementType", event.TYPE)
    if kind in _BARE:
        return Announcement(kind, key, time_us)
    match event:
        case SlaStarted():
            terms = ClockTerms(
                event.kind,
                microseconds(event.started_at),
                event.policy_id,
                event.policy_version,
                event.calendar,
                event.goal,
            )
            return Announcement(kind, key, time_us, terms=terms, due_us=microseconds(event.due_at))
        case SlaWarned():
            return Announcement(kind, key, time_us, rule=event.rule)
        case SlaMet() | SlaMissed():
            due_us = None if event.due_at is None else microseconds(event.due_at)
            return Announcement(
                kind, key, time_us, end=End(kind, time_us, due_us, event.elapsed_seconds)
            )
        case SlaResumed():
            return Announcement(kind, key, time_us, due_us=microseconds(event.due_at))
        case SlaPaused():
            return Announcement(kind, key, time_us, reason=event.reason)
        case SlaCancelled():
            is_withdrawal = event.reason == WITHDRAWN
            end = End(kind, time_us, None, None)
            return Announcement(kind, key, time_us, end=end, is_withdrawal=is_withdrawal)
        case _:
            raise AssertionError(f"{kind} says no more than its name")
