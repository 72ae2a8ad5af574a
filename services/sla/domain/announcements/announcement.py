"""What is to be announced of a ticket's clocks: the ledger against what was announced."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from services.sla.domain.clocks.clock import TicketClock
from services.sla.domain.clocks.ledger import Ledger
from shared.calendar import SECOND_US
from shared.contracts.promises import ClockKind, Goal, WarnRule

AnnouncementType = Literal[
    "sla.started",
    "sla.breach_retracted",
    "sla.breached",
    "sla.paused",
    "sla.resumed",
    "sla.met",
    "sla.missed",
    "sla.cancelled",
    "sla.warned",
]
_ENDS: Final[Mapping[str, AnnouncementType]] = {"met": "sla.met", "missed": "sla.missed"}


class ClockKey(NamedTuple):
    """Names a clock in its ticket."""

    target: str
    cycle: int
    generation: int


class ClockTerms(NamedTuple):
    """What a clock counts from, and by which definition."""

    kind: ClockKind
    started_us: int
    policy_id: str
    policy_version: int
    calendar: str
    goal: Goal


class End(NamedTuple):
    """How a clock ended: the word and the instant; where it ran to, and the working seconds."""

    type: AnnouncementType
    time_us: int
    due_us: int | None
    elapsed_seconds: int | None


class Announcement(msgspec.Struct, frozen=True, gc=False):
    """Something to be published: when it became true, and about which clock.

    `clock` is None if late facts undid the clock; `terms` are then those that are void, else they
    are set when a clock started. `due_us` is where the clock runs towards, or the breach that is
    taken back; `rule` a warning's, `reason` a pause's. `is_correction` marks a start that was
    announced before, or an end announced before at the same instant, with other content;
    `is_withdrawal` the end of a clock that late facts undid.
    """

    type: AnnouncementType
    key: ClockKey
    time_us: int
    clock: TicketClock | None = None
    terms: ClockTerms | None = None
    due_us: int | None = None
    rule: WarnRule | None = None
    reason: str | None = None
    end: End | None = None
    is_correction: bool = False
    is_withdrawal: bool = False


class Announced(msgspec.Struct, frozen=True):
    """What was announced last of one clock.

    `due_us` is None while it was announced as paused, `pause` since when and why, `breach_us` is
    the breach that stands.
    """

    terms: ClockTerms
    due_us: int | None = None
    pause: tuple[int, str | None] | None = None
    breach_us: int | None = None
    end: End | None = None
    warned: tuple[WarnRule, ...] = ()


AnnouncedClocks = dict[ClockKey, Announced]
"""What was announced of each clock of a ticket."""


def key_of(clock: TicketClock) -> ClockKey:
    """Return the clock's name in its ticket."""
    return ClockKey(clock.target, clock.cycle, clock.generation)


def learn(announced: AnnouncedClocks, announcement: Announcement) -> None:
    """Fold one announcement; a clock that was withdrawn is known no more."""
    known = announced.get(announcement.key)
    replace = msgspec.structs.replace
    match announcement.type:
        case "sla.started" if announcement.terms is not None:
            fresh = Announced(announcement.terms) if known is None else known
            known = replace(
                fresh, terms=announcement.terms, due_us=announcement.due_us, pause=None, end=None
            )
        case _ if known is None:
            return
        case "sla.breach_retracted":
            known = replace(known, breach_us=None)
        case "sla.breached":
            known = replace(known, breach_us=announcement.time_us)
        case "sla.paused":
            known = replace(known, due_us=None, pause=(announcement.time_us, announcement.reason))
        case "sla.resumed":
            known = replace(known, due_us=announcement.due_us, pause=None)
        case "sla.warned" if announcement.rule is not None:
            known = replace(known, warned=(*known.warned, announcement.rule))
        case "sla.cancelled" if announcement.is_withdrawal:
            del announced[announcement.key]
            return
        case _:
            known = replace(known, end=announcement.end)
    announced[announcement.key] = known


def due(ledger: Ledger, announced: AnnouncedClocks, before_us: int) -> list[Announcement]:
    """Return the warnings and breaches that timers announce, up to and without `before_us`.

    They come by time, warnings before breaches, then in the ledger's order.
    """
    found: list[tuple[int, bool, Announcement]] = []
    for clock in ledger:
        key = key_of(clock)
        known = announced.get(key)
        if known is None:
            continue
        rules = clock.definition.target.warn
        found.extend(
            (at_us, False, Announcement("sla.warned", key, at_us, clock, rule=rules[place]))
            for place, at_us in clock.warnings
            if at_us < before_us and rules[place] not in known.warned
        )
        # A breach that moved is taken back first: that is a change.
        if clock.stopped_us is None and known.breach_us is None and clock.due_us < before_us:
            found.append(
                (clock.due_us, True, Announcement("sla.breached", key, clock.due_us, clock))
            )
    found.sort(key=lambda entry: entry[:2])
    return [one for _, _, one in found]


def changes(
    ledger: Ledger, announced: AnnouncedClocks, at_us: int, fired_us: int
) -> list[Announcement]:
    """Return what is true by a ledger read at `at_us`, and was not announced; warnings excepted.

    Breaches of clocks that run are announced up to and without `fired_us`, the instant up to which
    timers may speak. A breach that a late fact clears or moves is taken back, an end that it
    changes is announced anew, a clock that it undoes, or leaves without a deadline, is withdrawn.
    It comes in the ledger's order; folding it leaves nothing to announce.
    """
    found = [one for clock in ledger for one in _changes(clock, announced, at_us, fired_us)]
    there = {key_of(clock) for clock in ledger}
    gone = [key for key in announced if key not in there]
    for key in sorted(gone):
        terms, breach_us = announced[key].terms, announced[key].breach_us
        if breach_us is not None:
            found.append(Announcement("sla.breach_retracted", key, at_us, None, terms, breach_us))
        found.append(Announcement("sla.cancelled", key, at_us, None, terms, is_withdrawal=True))
    return found


def _changes(
    clock: TicketClock, announced: AnnouncedClocks, at_us: int, fired_us: int
) -> Iterator[Announcement]:
    key = key_of(clock)
    known = announced.get(key)
    old_end = None if known is None else known.end
    terms = _terms(clock)
    if known is None or known.terms != terms or (known.end and clock.stopped_us is None):
        yield Announcement(
            *("sla.started", key, clock.started_us, clock, terms, clock.due_us),
            is_correction=known is not None,
        )
        known = Announced(terms, clock.due_us, breach_us=None if known is None else known.breach_us)
    if known.breach_us is not None and known.breach_us != clock.breached_us:
        yield Announcement("sla.breach_retracted", key, at_us, clock, due_us=known.breach_us)
    if clock.breached_us is not None and known.breach_us != clock.breached_us:
        is_time = clock.stopped_us is not None or clock.breached_us < fired_us
        if is_time:
            yield Announcement("sla.breached", key, clock.breached_us, clock)
    if clock.stopped_us is None:
        yield from _course(clock, known)
    else:
        end = _end(clock, clock.stopped_us)
        if known.end != end:
            is_same = old_end is not None and old_end[:2] == end[:2]
            yield Announcement(end.type, key, end.time_us, clock, end=end, is_correction=is_same)


def _end(clock: TicketClock, stopped_us: int) -> End:
    word = _ENDS.get(clock.outcome)
    if word is None:
        return End("sla.cancelled", stopped_us, None, None)
    return End(word, stopped_us, clock.due_us, clock.elapsed_us // SECOND_US)


def _terms(clock: TicketClock) -> ClockTerms:
    definition = clock.definition
    target = definition.target
    return ClockTerms(
        target.kind,
        clock.started_us,
        definition.policy_id,
        definition.version,
        target.calendar,
        target.goal,
    )


def _course(clock: TicketClock, known: Announced) -> Iterator[Announcement]:
    """Announce that a running clock paused, resumed, or runs towards another due time."""
    if clock.outcome == "paused" and clock.pause is not None:
        since_us, reason = clock.pause.start_us, clock.pause.reason
        if known.pause != (since_us, reason):
            yield Announcement("sla.paused", key_of(clock), since_us, clock, reason=reason)
    elif known.due_us != clock.due_us:
        resumed_us = clock.came_us if clock.resumed_us is None else clock.resumed_us
        yield Announcement("sla.resumed", key_of(clock), resumed_us, clock, due_us=clock.due_us)


def in_order_of(
    targets: Mapping[str, int], announcements: Iterable[Announcement]
) -> list[Announcement]:
    """Sort them by target as first named, cycle and generation; of one clock they keep theirs."""
    return sorted(announcements, key=lambda one: (targets[one.key.target], *one.key[1:]))
