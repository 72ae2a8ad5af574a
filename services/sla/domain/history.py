"""One ticket's history as the clocks see it: facts in one total order, and the spells they make."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise
from typing import Final, Literal

from shared.contracts.base import EventData, Kind, Priority
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketHeld,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
)
from shared.contracts.routing import TicketPrioritized

_RANK: Final = {"intake": 0, "routing": 1}
_LAST_RANK: Final = len(_RANK)
_SOLVED: Final = (TicketResolved, TicketClosed)

TargetName = Literal["response", "resolution"]
CycleEnd = Literal["stopped", "cancelled"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One event of the ticket's history; `time` is aware, `sequence` is the writer's own."""

    time: datetime
    writer: str
    sequence: int
    data: EventData


@dataclass(frozen=True, slots=True)
class Spell:
    """A time that does not count: `reason` of a hold, or None between solution and reopening."""

    start: datetime
    end: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Cycle:
    """One run of a target, from the instant it opened; `end` is None while it runs."""

    number: int
    opened_at: datetime
    ended_at: datetime | None = None
    end: CycleEnd | None = None


@dataclass(frozen=True, slots=True)
class Rank:
    """What chooses the promise, from `time` on; nothing is promised before `priority` is known."""

    time: datetime
    kind: Kind
    priority: Priority


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Return each fact once, by time, then intake before routing, then the writer's sequence."""
    once = {(fact.writer, fact.sequence): fact for fact in facts}
    return sorted(
        once.values(),
        key=lambda fact: (
            fact.time,
            _RANK.get(fact.writer, _LAST_RANK),
            fact.writer,
            fact.sequence,
        ),
    )


def instants(facts: Iterable[Fact]) -> Iterator[tuple[datetime, tuple[EventData, ...]]]:
    """Group ordered facts by their instant."""
    for at, together in groupby(facts, key=lambda fact: fact.time):
        yield at, tuple(fact.data for fact in together)


def created_in(facts: Iterable[Fact]) -> tuple[datetime, TicketCreated] | None:
    """Return the fact that made the ticket, None while it has not arrived."""
    for fact in facts:
        if isinstance(fact.data, TicketCreated):
            return fact.time, fact.data
    return None


def ranks(facts: list[Fact], created_at: datetime, kind: Kind) -> tuple[Rank, ...]:
    """Return the ticket's priorities as they changed; only the state after an instant counts."""
    found: list[Rank] = []
    for at, together in instants(facts):
        told: Priority | None = None
        for data in together:
            if isinstance(data, TicketPrioritized):
                told = data.priority
        if told is not None:
            found.append(Rank(max(at, created_at), kind, told))
    return tuple(found)


def cycles(facts: list[Fact], target: TargetName) -> tuple[Cycle, ...]:
    """Return the runs of `target`.

    A resolution that is reopened runs on in a next cycle; a response is owed once. Nothing opens
    after a cancellation.
    """
    found: list[Cycle] = []
    for fact in facts:
        last = found[-1] if found else None
        if last is None:
            if isinstance(fact.data, TicketCreated):
                found.append(Cycle(1, fact.time))
        elif last.end is None:
            end = _end(fact.data, target)
            if end is not None:
                found[-1] = Cycle(last.number, last.opened_at, fact.time, end)
        elif isinstance(fact.data, TicketCancelled):
            break
        elif _runs_on(last, fact.data, target):
            found.append(Cycle(last.number + 1, fact.time))
    return tuple(found)


def _end(data: EventData, target: TargetName) -> CycleEnd | None:
    if isinstance(data, TicketCancelled):
        return "cancelled"
    if isinstance(data, _SOLVED):
        return "stopped"
    if target == "response" and (isinstance(data, TicketStarted) or _is_reply(data)):
        return "stopped"
    return None


def _is_reply(data: EventData) -> bool:
    return (
        isinstance(data, TicketCommented)
        and data.author_role == "agent"
        and data.visibility == "public"
    )


def _runs_on(last: Cycle, data: EventData, target: TargetName) -> bool:
    return target == "resolution" and last.end == "stopped" and isinstance(data, TicketReopened)


def idle_spells(
    facts: list[Fact], runs: tuple[Cycle, ...], target: TargetName
) -> tuple[Spell, ...]:
    """Return the times that do not count for `target`, in order, none overlapping another.

    Holds pause a resolution, and so does the time between one of its cycles and the next. Nothing
    pauses a response.
    """
    if target == "response":
        return ()
    gaps = [
        Spell(before.ended_at, after.opened_at, None)
        for before, after in pairwise(runs)
        if before.ended_at is not None and before.ended_at < after.opened_at
    ]
    holds = [hold for hold in _holds(facts) if hold.end is None or hold.start < hold.end]
    outside = [part for hold in holds for part in _without(hold, gaps)]
    return tuple(sorted([*gaps, *outside], key=lambda spell: spell.start))


def _holds(facts: list[Fact]) -> list[Spell]:
    """Return what was on hold after each whole instant; a second hold replaces the reason."""
    found: list[Spell] = []
    reason: str | None = None
    for at, together in instants(facts):
        before = reason
        for data in together:
            if isinstance(data, TicketHeld):
                reason = data.reason
            elif isinstance(data, (TicketResumed, TicketCancelled, *_SOLVED)):
                reason = None
        if reason != before:
            if before is not None:
                found[-1] = Spell(found[-1].start, at, before)
            if reason is not None:
                found.append(Spell(at, None, reason))
    return found


def _without(hold: Spell, gaps: list[Spell]) -> list[Spell]:
    """Return what is left of a hold outside the gaps, which are in order and have ends."""
    left: list[Spell] = []
    start = hold.start
    for gap in gaps:
        gap_end = gap.start if gap.end is None else gap.end
        if gap_end <= start:
            continue
        if hold.end is not None and hold.end <= gap.start:
            break
        if start < gap.start:
            left.append(Spell(start, gap.start, hold.reason))
        start = max(start, gap_end)
    if hold.end is None or start < hold.end:
        left.append(Spell(start, hold.end, hold.reason))
    return left
