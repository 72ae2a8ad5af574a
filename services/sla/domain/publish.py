"""What has to be said about a ticket's clocks: the ledger against what has been published."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple, TypedDict
from uuid import UUID

from services.sla.domain.clocks import Clock
from shared.contracts.base import EventData
from shared.contracts.sla import (
    ClockEvent,
    ClockKind,
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


class ClockKey(NamedTuple):
    """Names a clock in its ticket."""

    target: str
    cycle: int
    generation: int


@dataclass(frozen=True, slots=True)
class PublishedClock:
    """What the world was last told about one clock.

    `due_at` is None while it was told to be paused; `breached_due_at` is the breach that stands;
    `end` the word that ended it.
    """

    ticket_id: UUID
    kind: ClockKind
    start: SlaStarted | None = None
    due_at: datetime | None = None
    pause: SlaPaused | None = None
    breached_due_at: datetime | None = None
    warned: frozenset[int] = frozenset()
    end: SlaMet | SlaMissed | SlaCancelled | None = None


@dataclass(frozen=True, slots=True)
class PublishedClocks:
    """What the world was told about one ticket; `is_foreign` if another system judged it."""

    clocks: Mapping[ClockKey, PublishedClock] = field(
        default_factory=dict[ClockKey, PublishedClock]
    )
    is_foreign: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to append; `time` is when it became true."""

    data: ClockEvent
    time: datetime


class _Name(TypedDict):
    ticket_id: UUID
    target: str
    cycle: int
    generation: int
    kind: ClockKind


class Arming(NamedTuple):
    """A timer that must be armed: `clock` names what fires, `generation` the clock it is for."""

    clock: str
    generation: str
    due_at: datetime


def evolve(state: PublishedClocks, event: EventData) -> PublishedClocks:
    """Fold one event. Total: what is no clock's event changes nothing."""
    if not isinstance(event, ClockEvent):
        return state
    key = ClockKey(event.target, event.cycle, event.generation)
    before = state.clocks.get(key) or PublishedClock(event.ticket_id, event.kind)
    is_foreign = isinstance(event, (SlaMet, SlaMissed)) and event.source_system is not None
    return PublishedClocks(
        {**state.clocks, key: _told(before, event)}, state.is_foreign or is_foreign
    )


def _told(clock: PublishedClock, event: ClockEvent) -> PublishedClock:
    match event:
        case SlaStarted():
            told = replace(clock, start=event, due_at=event.due_at, pause=None, end=None)
        case SlaPaused():
            told = replace(clock, due_at=None, pause=event)
        case SlaResumed():
            told = replace(clock, due_at=event.due_at, pause=None)
        case SlaWarned():
            told = replace(clock, warned=clock.warned | {event.percent})
        case SlaBreached():
            told = replace(clock, breached_due_at=event.due_at)
        case SlaBreachRetracted():
            told = replace(clock, breached_due_at=None)
        case SlaMet() | SlaMissed() | SlaCancelled():
            told = replace(clock, end=event)
    return told


def decide(
    ledger: tuple[Clock, ...],
    published: PublishedClocks,
    now: datetime,
    *,
    fire_until: datetime | None = None,
) -> list[Draft]:
    """Return the news: what is true by `ledger`, judged at `now`, and has not been said.

    Warnings, and breaches of clocks that still run, are said up to `fire_until` only, the instant
    up to which the timers' inputs have been read; None says none of them. A breach that a late
    fact clears or moves is taken back, an end that it changes is told anew, a clock that it undoes
    is cancelled as `withdrawn`. Deciding again after folding the result gives nothing.
    """
    if published.is_foreign:
        return []
    drafts: list[Draft] = []
    for clock in ledger:
        told = published.clocks.get(key_of(clock)) or PublishedClock(clock.ticket_id, clock.kind)
        drafts.extend(_news(clock, told, now, fire_until))
    known = {key_of(clock) for clock in ledger}
    for key, told in published.clocks.items():
        if key not in known:
            drafts.extend(_withdrawal(key, told, now))
    return drafts


def timers(ledger: tuple[Clock, ...], published: PublishedClocks) -> list[Arming]:
    """Return the warnings and breaches still to come, also those that are due already."""
    if published.is_foreign:
        return []
    armed: list[Arming] = []
    for clock in ledger:
        told = published.clocks.get(key_of(clock)) or PublishedClock(clock.ticket_id, clock.kind)
        name = f"{clock.cycle}.{clock.generation}"
        if _warning_waits(clock, told) and clock.warn_at is not None:
            armed.append(Arming(f"{clock.target}:warn:{clock.warn_percent}", name, clock.warn_at))
        if _breach_waits(clock, told) and clock.due_at is not None:
            armed.append(Arming(f"{clock.target}:breach", name, clock.due_at))
    return armed


def key_of(clock: Clock) -> ClockKey:
    """Return the clock's name in its ticket."""
    return ClockKey(clock.target, clock.cycle, clock.generation)


def _news(
    clock: Clock, told: PublishedClock, now: datetime, fire_until: datetime | None
) -> Iterator[Draft]:
    fired_until = None if fire_until is None else min(fire_until, now)
    start = _start(clock)
    if told.start != start or (told.end is not None and clock.stopped_at is None):
        yield Draft(start, clock.started_at)
        told = _told(told, start)
    if told.breached_due_at is not None and not _stands(told.breached_due_at, clock):
        taken_back = told.breached_due_at
        yield Draft(_retraction(clock, taken_back), now)
        fired_until = min(now, max(taken_back, fired_until or taken_back))
        told = replace(told, breached_due_at=None)
    if clock.stopped_at is None:
        yield from _course(clock, told)
        yield from _warning(clock, told, fired_until)
    yield from _breach(clock, told, fired_until)
    end = _end(clock)
    if end is not None and clock.stopped_at is not None and told.end != end:
        yield Draft(end, clock.stopped_at)


def _start(clock: Clock) -> SlaStarted:
    return SlaStarted(
        **_name(clock),
        started_at=clock.started_at,
        due_at=clock.promised_at,
        goal_seconds=clock.goal_seconds,
        calendar=clock.calendar,
        policy_version=clock.policy_version,
    )


def _stands(breached_due_at: datetime, clock: Clock) -> bool:
    """Tell whether a published breach is still true."""
    is_in_time = clock.stopped_at is not None and clock.stopped_at <= breached_due_at
    return clock.due_at == breached_due_at and not is_in_time


def _retraction(clock: Clock, due_at: datetime) -> SlaBreachRetracted:
    is_in_time = clock.stopped_at is not None and clock.breached_at is None
    return SlaBreachRetracted(
        **_name(clock),
        due_at=due_at,
        reason="stopped_in_time" if is_in_time else "due_moved",
    )


def _course(clock: Clock, told: PublishedClock) -> Iterator[Draft]:
    """Say that a running clock paused, resumed, or runs towards another due time than was said."""
    if clock.due_at is None and clock.pause_reason is not None and clock.paused_at is not None:
        pause = SlaPaused(
            **_name(clock),
            elapsed_seconds=clock.elapsed_seconds,
            reason=clock.pause_reason,
        )
        if told.pause != pause:
            yield Draft(pause, clock.paused_at)
    elif clock.due_at is not None and told.due_at != clock.due_at:
        resumed = SlaResumed(
            **_name(clock),
            due_at=clock.due_at,
        )
        yield Draft(resumed, clock.resumed_at or clock.started_at)


def _warning_waits(clock: Clock, told: PublishedClock) -> bool:
    """Tell whether the clock is to be warned of; while it is paused it has no due time to tell."""
    return (
        clock.stopped_at is None
        and clock.due_at is not None
        and clock.warn_at is not None
        and clock.warn_percent not in told.warned
    )


def _warning(clock: Clock, told: PublishedClock, fired_until: datetime | None) -> Iterator[Draft]:
    if fired_until is None or not _warning_waits(clock, told):
        return
    if clock.warn_at is None or clock.warn_percent is None or clock.due_at is None:
        return
    if clock.warn_at <= fired_until:
        warned = SlaWarned(**_name(clock), percent=clock.warn_percent, due_at=clock.due_at)
        yield Draft(warned, clock.warn_at)


def _breach_waits(clock: Clock, told: PublishedClock) -> bool:
    return (
        clock.stopped_at is None
        and clock.due_at is not None
        and told.breached_due_at != clock.due_at
    )


def _breach(clock: Clock, told: PublishedClock, fired_until: datetime | None) -> Iterator[Draft]:
    if clock.due_at is None or told.breached_due_at == clock.due_at:
        return
    if clock.stopped_at is None:
        is_breached = fired_until is not None and clock.due_at <= fired_until
    else:
        is_breached = clock.breached_at is not None
    if is_breached:
        yield Draft(SlaBreached(**_name(clock), due_at=clock.due_at), clock.due_at)


def _end(clock: Clock) -> SlaMet | SlaMissed | SlaCancelled | None:
    if clock.stopped_at is None:
        return None
    if clock.state in ("cancelled", "superseded"):
        return SlaCancelled(**_name(clock), reason=clock.state)
    outcome = SlaMet if clock.state == "met" else SlaMissed
    return outcome(
        **_name(clock),
        stopped_at=clock.stopped_at,
        due_at=clock.due_at,
        elapsed_seconds=clock.elapsed_seconds,
    )


def _withdrawal(key: ClockKey, told: PublishedClock, now: datetime) -> Iterator[Draft]:
    """Take back a clock that late facts undid; a time of its own it never had."""
    if isinstance(told.end, SlaCancelled) and told.end.reason == WITHDRAWN:
        return
    name = _Name(
        ticket_id=told.ticket_id,
        target=key.target,
        cycle=key.cycle,
        generation=key.generation,
        kind=told.kind,
    )
    if told.breached_due_at is not None:
        taken_back = SlaBreachRetracted(**name, due_at=told.breached_due_at, reason=WITHDRAWN)
        yield Draft(taken_back, now)
    yield Draft(SlaCancelled(**name, reason=WITHDRAWN), now)


def _name(clock: Clock) -> _Name:
    return _Name(
        ticket_id=clock.ticket_id,
        target=clock.target,
        cycle=clock.cycle,
        generation=clock.generation,
        kind=clock.kind,
    )
