"""What has to be said about a ticket's clocks: the ledger against what has been said."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from services.sla.domain.clocks.clock import Clock
from services.sla.domain.clocks.ledger import Ledger
from shared.calendar import SECOND_US
from shared.contracts.promises import ClockKind, Goal, WarnRule

SaidType = Literal[
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
_ENDS: Final[Mapping[str, SaidType]] = {"met": "sla.met", "missed": "sla.missed"}


class ClockKey(NamedTuple):
    """Names a clock in its ticket."""

    target: str
    cycle: int
    generation: int


class Promise(NamedTuple):
    """What a clock counts from, and by which definition."""

    kind: ClockKind
    started_us: int
    policy_id: str
    policy_version: int
    calendar: str
    goal: Goal


class End(NamedTuple):
    """How a clock ended: the word and the instant; where it ran to, and the working seconds."""

    type: SaidType
    time_us: int
    due_us: int | None
    elapsed_seconds: int | None


class Said(msgspec.Struct, frozen=True, gc=False):
    """Something to be published: when it became true, and about which clock.

    `clock` is None if late facts undid the clock; `promise` is then the one that is void, else it
    is set when a clock started. `due_us` is where the clock runs towards, or the breach that is
    taken back; `rule` a warning's, `reason` a pause's. `is_correction` marks a start that was told
    before, or an end told before at the same instant, with other content; `is_withdrawal` the end
    of a clock that late facts undid.
    """

    type: SaidType
    key: ClockKey
    time_us: int
    clock: Clock | None = None
    promise: Promise | None = None
    due_us: int | None = None
    rule: WarnRule | None = None
    reason: str | None = None
    end: End | None = None
    is_correction: bool = False
    is_withdrawal: bool = False


class Told(msgspec.Struct, frozen=True):
    """What the world was last told about one clock.

    `due_us` is None while it was told to be paused, `pause` since when and why, `breach_us` is the
    breach that stands.
    """

    promise: Promise
    due_us: int | None = None
    pause: tuple[int, str | None] | None = None
    breach_us: int | None = None
    end: End | None = None
    warned: tuple[WarnRule, ...] = ()


Knowledge = dict[ClockKey, Told]
"""What was told about each clock of a ticket."""


def key_of(clock: Clock) -> ClockKey:
    """Return the clock's name in its ticket."""
    return ClockKey(clock.target, clock.cycle, clock.generation)


def learn(knowledge: Knowledge, said: Said) -> None:
    """Fold one publication; a clock that was withdrawn is known no more."""
    told = knowledge.get(said.key)
    replace = msgspec.structs.replace
    match said.type:
        case "sla.started" if said.promise is not None:
            fresh = Told(said.promise) if told is None else told
            told = replace(fresh, promise=said.promise, due_us=said.due_us, pause=None, end=None)
        case _ if told is None:
            return
        case "sla.breach_retracted":
            told = replace(told, breach_us=None)
        case "sla.breached":
            told = replace(told, breach_us=said.time_us)
        case "sla.paused":
            told = replace(told, due_us=None, pause=(said.time_us, said.reason))
        case "sla.resumed":
            told = replace(told, due_us=said.due_us, pause=None)
        case "sla.warned" if said.rule is not None:
            told = replace(told, warned=(*told.warned, said.rule))
        case "sla.cancelled" if said.is_withdrawal:
            del knowledge[said.key]
            return
        case _:
            told = replace(told, end=said.end)
    knowledge[said.key] = told


def due(ledger: Ledger, knowledge: Knowledge, before_us: int) -> list[Said]:
    """Return the warnings and breaches that timers have to say, up to and without `before_us`.

    They come by time, warnings before breaches, then in the ledger's order.
    """
    found: list[tuple[int, bool, Said]] = []
    for clock in ledger:
        key = key_of(clock)
        told = knowledge.get(key)
        if told is None:
            continue
        rules = clock.definition.target.warn
        found.extend(
            (at_us, False, Said("sla.warned", key, at_us, clock, rule=rules[place]))
            for place, at_us in clock.warnings
            if at_us < before_us and rules[place] not in told.warned
        )
        # A breach that moved is taken back first: that is news.
        if clock.stopped_us is None and told.breach_us is None and clock.due_us < before_us:
            found.append((clock.due_us, True, Said("sla.breached", key, clock.due_us, clock)))
    found.sort(key=lambda entry: entry[:2])
    return [said for _, _, said in found]


def news(ledger: Ledger, knowledge: Knowledge, at_us: int, fired_us: int) -> list[Said]:
    """Return what is true by a ledger read at `at_us`, and has not been said; warnings excepted.

    Breaches of clocks that run are said up to and without `fired_us`, the instant up to which
    timers may speak. A breach that a late fact clears or moves is taken back, an end that it
    changes is told anew, a clock that it undoes, or leaves without a deadline, is withdrawn. It
    comes in the ledger's order; folding it leaves nothing to say.
    """
    said = [one for clock in ledger for one in _news(clock, knowledge, at_us, fired_us)]
    there = {key_of(clock) for clock in ledger}
    gone = [key for key in knowledge if key not in there]
    for key in sorted(gone):
        promise, breach_us = knowledge[key].promise, knowledge[key].breach_us
        if breach_us is not None:
            said.append(Said("sla.breach_retracted", key, at_us, None, promise, breach_us))
        said.append(Said("sla.cancelled", key, at_us, None, promise, is_withdrawal=True))
    return said


def _news(clock: Clock, knowledge: Knowledge, at_us: int, fired_us: int) -> Iterator[Said]:
    key = key_of(clock)
    told = knowledge.get(key)
    old_end = None if told is None else told.end
    promise = _promise(clock)
    if told is None or told.promise != promise or (told.end and clock.stopped_us is None):
        yield Said(
            *("sla.started", key, clock.started_us, clock, promise, clock.due_us),
            is_correction=told is not None,
        )
        told = Told(promise, clock.due_us, breach_us=None if told is None else told.breach_us)
    if told.breach_us is not None and told.breach_us != clock.breached_us:
        yield Said("sla.breach_retracted", key, at_us, clock, due_us=told.breach_us)
    if clock.breached_us is not None and told.breach_us != clock.breached_us:
        is_time = clock.stopped_us is not None or clock.breached_us < fired_us
        if is_time:
            yield Said("sla.breached", key, clock.breached_us, clock)
    if clock.stopped_us is None:
        yield from _course(clock, told)
    else:
        end = _end(clock, clock.stopped_us)
        if told.end != end:
            is_same = old_end is not None and old_end[:2] == end[:2]
            yield Said(end.type, key, end.time_us, clock, end=end, is_correction=is_same)


def _end(clock: Clock, stopped_us: int) -> End:
    word = _ENDS.get(clock.outcome)
    if word is None:
        return End("sla.cancelled", stopped_us, None, None)
    return End(word, stopped_us, clock.due_us, clock.elapsed_us // SECOND_US)


def _promise(clock: Clock) -> Promise:
    definition = clock.definition
    target = definition.target
    return Promise(
        target.kind,
        clock.started_us,
        definition.policy_id,
        definition.version,
        target.calendar,
        target.goal,
    )


def _course(clock: Clock, told: Told) -> Iterator[Said]:
    """Say that a running clock paused, resumed, or runs towards another due time than was said."""
    if clock.outcome == "paused" and clock.pause is not None:
        since_us, reason = clock.pause.start_us, clock.pause.reason
        if told.pause != (since_us, reason):
            yield Said("sla.paused", key_of(clock), since_us, clock, reason=reason)
    elif told.due_us != clock.due_us:
        resumed_us = clock.came_us if clock.resumed_us is None else clock.resumed_us
        yield Said("sla.resumed", key_of(clock), resumed_us, clock, due_us=clock.due_us)


def in_order_of(targets: Mapping[str, int], said: Iterable[Said]) -> list[Said]:
    """Sort news by target as first named, cycle and generation; of one clock they keep theirs."""
    return sorted(said, key=lambda one: (targets[one.key.target], *one.key[1:]))
