"""One ticket's history as the clocks see it: moments at which things become true, and states."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, groupby
from operator import attrgetter
from typing import Final, Literal, NamedTuple

import msgspec

from services.sla.domain.clocks.rulebook import ClockConditions, Fields, Rulebook
from shared.contracts.promises import HELD_FOR, Value

FactType = Literal[
    "created",
    "prioritized",
    "assigned",
    "started",
    "requester_message",
    "agent_reply",
    "internal_note",
    "held",
    "resumed",
    "resolved",
    "closed",
    "reopened",
    "cancelled",
    "merged",
    "updated",
    "inherited",
]
order: Final = attrgetter("time_us", "rank", "sequence")
"""The key of the total order of facts: time, intake before routing, the writer's sequence."""
_REASON_MAX: Final = 200
_BLANKS: Final = dict.fromkeys((*range(0x20), 0x7F), " ")
"""A reason stands in `sla.paused`, which takes no control characters; the value of a field may."""
_AT: Final = attrgetter("time_us")
_RELEASES: Final = frozenset(("resumed", "resolved", "closed", "cancelled"))
_SILENT: Final = frozenset(("prioritized", "updated", "internal_note", "inherited"))


class Fact(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened to the ticket.

    `time_us` is when it became true, `recorded_us` when the desk learnt it, both in microseconds
    since 1970. `rank` orders writers at one instant, `sequence` is the writer's own; together they
    name the fact. `changes` are fields and their new values; of a due time inherited, `reason` is
    the ticket it comes from and `changes` its target and microseconds.
    """

    time_us: int
    recorded_us: int
    rank: int
    sequence: int
    type: FactType
    reason: str | None = None
    changes: Fields | None = None


class HistoryStep(msgspec.Struct, frozen=True, gc=False):
    """Everything that happened at one instant, and what was true after it.

    `acts` are its facts that are a condition or an end, in order, and `words` what rules call them;
    `before` are the fields before it, `changed` those that it gave another value.
    """

    at_us: int
    acts: tuple[Fact, ...]
    words: frozenset[str]
    before: Fields
    fields: Fields
    changed: frozenset[str]
    hold: Fact | None
    is_resolved: bool
    is_closed: bool

    def takes(self, wanted: tuple[tuple[str, Value], ...]) -> bool:
        """Tell whether one of these fields took its value now."""
        return any(
            name in self.changed and is_same(self.fields.get(name), value) for name, value in wanted
        )

    def pause_under(self, pause: ClockConditions) -> str | None:
        """Return the first of these states that holds, in words; None if none does."""
        words = pause.words
        if words:
            hold = self.hold
            if hold is not None:
                if hold.reason is not None and ("held" in words or HELD_FOR + hold.reason in words):
                    return hold.reason
                if "held" in words:
                    return "held"
            if self.is_resolved and "resolved" in words:
                return "resolved"
            if self.is_closed and "closed" in words:
                return "closed"
        for name, value in pause.fields:
            if is_same(self.fields.get(name), value):
                return f"{name} = {value}".translate(_BLANKS)[:_REASON_MAX]
        return None


class Spell(NamedTuple):
    """A time in which one of some states held, and the one it began with; None is no end yet."""

    start_us: int
    end_us: int | None
    reason: str


def is_same(one: Value, other: Value) -> bool:
    """Tell whether two field values are equal as JSON has it: true is not 1, 1.0 is."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Return each fact once, known since it was first recorded, in the total order of facts."""
    told = list(facts)
    once = {(fact.rank, fact.sequence): fact for fact in reversed(told)}
    if len(once) < len(told):
        for fact in told:
            name = (fact.rank, fact.sequence)
            if fact.recorded_us < once[name].recorded_us:
                once[name] = fact
    return sorted(once.values(), key=order)


def last_value(facts: Sequence[Fact], name: str) -> str | None:
    """Return the text that a field took last, None if it has none."""
    for fact in reversed(facts):
        if fact.changes is not None and name in fact.changes:
            value = fact.changes[name]
            return value if isinstance(value, str) else None
    return None


def moments(facts: Sequence[Fact]) -> list[HistoryStep]:
    """Fold ordered facts into moments; of one instant, only the state after it counts."""
    found: list[HistoryStep] = []
    fields: dict[str, Value] = {}
    hold: Fact | None = None
    is_resolved = is_closed = False
    for at_us, together in groupby(facts, key=_AT):
        acts: list[Fact] = []
        before = fields
        touched: set[str] = set()
        for fact in together:
            kind = fact.type
            if fact.changes and kind != "inherited":
                touched.update(fact.changes)
                fields = {**fields, **fact.changes}
            if kind not in _SILENT:
                acts.append(fact)
            if kind == "held":
                hold = fact
            elif kind in _RELEASES:
                hold = None
            if kind == "resolved":
                is_resolved = True
            elif kind == "closed":
                is_closed = True
            elif kind == "reopened":
                is_resolved = is_closed = False
        words = frozenset(chain.from_iterable(map(words_of, acts)))
        changed = frozenset(n for n in touched if not is_same(before.get(n), fields[n]))
        found.append(
            HistoryStep(
                *(at_us, tuple(acts), words, before, fields, changed),
                *(hold, is_resolved, is_closed),
            )
        )
    return found


def words_of(fact: Fact) -> tuple[str, ...]:
    """Return what rules call a fact."""
    if fact.type == "held" and fact.reason is not None:
        return ("held", HELD_FOR + fact.reason)
    return (fact.type,)


def may_move(fact: Fact, rules: Rulebook) -> bool:
    """Tell whether a fact may start, stop, change or pause a clock under any of the rules.

    Without one that may not, a ticket that was created has the same ledger at every instant.
    """
    words, names = rules.movers
    return not words.isdisjoint(words_of(fact)) or not names.isdisjoint(fact.changes or ())


def spells(found: Sequence[HistoryStep], pause: ClockConditions) -> Iterator[Spell]:
    """Yield the times at which one of the states held, in order; the last may have no end."""
    since: tuple[int, str] | None = None
    for moment in found:
        reason = moment.pause_under(pause)
        if reason is not None and since is None:
            since = moment.at_us, reason
        elif reason is None and since is not None:
            yield Spell(since[0], moment.at_us, since[1])
            since = None
    if since is not None:
        yield Spell(since[0], None, since[1])
