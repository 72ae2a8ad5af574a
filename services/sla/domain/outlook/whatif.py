"""History judged again under other rules: who would have been met or missed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from services.sla.domain.agreements.credits import Credit, Fallen
from services.sla.domain.clocks.clock import verdict
from services.sla.domain.clocks.facts import PLAIN, RANK, Peaks, fact_of
from services.sla.domain.clocks.history import Fact, FactType, order
from services.sla.domain.clocks.ledger import courses
from services.sla.domain.clocks.rulebook import Rulebook
from shared.calendar import NoWorkingTimeError, microseconds
from shared.contracts.intake import TicketCommented
from shared.contracts.registry import decode_data
from shared.contracts.routing import TicketAssigned

CHANGED_MAX: Final = 200
_KEPT_MAX: Final = 2 * CHANGED_MAX
Verdict = Literal["met", "missed", "open", "none"]
_RANKS: Final[tuple[Verdict, ...]] = ("missed", "open", "met", "none")


_MOVES: Final[Mapping[str, tuple[tuple[FactType, ...], tuple[str, ...]]]] = {
    TicketAssigned.TYPE: (("assigned",), ("group", "agent", "line")),
    TicketCommented.TYPE: (("requester_message", "agent_reply", "internal_note"), ()),
}
"""Events that are many, and that few rules ask for: their words, and the fields they set."""

Row = Any
"""An event of a ticket: id, writer, sequence, type, time, value (none if its type says all)."""


class Changed(msgspec.Struct, frozen=True):
    """A ticket that another verdict would have been given."""

    ticket_id: str
    target: str
    group: str | None
    before: Verdict
    after: Verdict


class VerdictShift(msgspec.Struct, frozen=True):
    """Verdicts of some tickets on one target, `before` → `after` → how many."""

    target: str
    group: str | None
    verdicts: dict[Verdict, dict[Verdict, int]]


class Comparison(msgspec.Struct, frozen=True):
    """What other rules would have made of the past.

    `changed` names the first tickets whose verdict differs; the counts are complete. `credits` are
    of periods in which agreements were in force.
    """

    tickets: int
    changed_tickets: int
    differences: tuple[VerdictShift, ...]
    changed: tuple[Changed, ...]
    credits: tuple[Credit, ...] = ()


class ComparisonTally:
    """Counts tickets by target, group and both verdicts."""

    def __init__(self) -> None:
        self._tickets = self._changed_tickets = 0
        self._counts: Counter[tuple[str, str | None, Verdict, Verdict]] = Counter()
        self._changed: list[Changed] = []

    def add(
        self,
        ticket_id: str,
        group: str | None,
        before: Mapping[str, Verdict],
        after: Mapping[str, Verdict],
    ) -> None:
        """Count one ticket, by target."""
        self._tickets += 1
        has_changed = False
        for target in before.keys() | after.keys():
            was, would_be = before.get(target, "none"), after.get(target, "none")
            self._counts[target, group, was, would_be] += 1
            if was != would_be:
                has_changed = True
                if len(self._changed) < _KEPT_MAX:
                    self._changed.append(Changed(ticket_id, target, group, was, would_be))
        self._changed_tickets += has_changed

    def take(self, part: Comparison) -> None:
        """Add what another part of the history came to."""
        self._tickets += part.tickets
        self._changed_tickets += part.changed_tickets
        for one in part.differences:
            for before, row in one.verdicts.items():
                for after, many in row.items():
                    self._counts[one.target, one.group, before, after] += many
        self._changed.extend(part.changed)

    def comparison(self) -> Comparison:
        """Return the counts by target and group, those without a group last."""
        found: dict[tuple[str, str | None], dict[Verdict, dict[Verdict, int]]] = {}
        for (target, group, before, after), many in sorted(self._counts.items(), key=_order):
            found.setdefault((target, group), {}).setdefault(before, {})[after] = many
        changed = sorted(self._changed, key=lambda one: (one.ticket_id, one.target))
        return Comparison(
            self._tickets,
            self._changed_tickets,
            tuple(VerdictShift(*key, verdicts) for key, verdicts in found.items()),
            tuple(changed[:CHANGED_MAX]),
        )


def _order(counted: tuple[tuple[str, str | None, Verdict, Verdict], int]) -> tuple[object, ...]:
    target, group, before, after = counted[0]
    return target, group is None, group or "", before, after


def facts_of_rows(rows: Iterable[Row], peaks: Peaks) -> list[Fact]:
    """Return one ticket's facts in order, from what intake and routing wrote, each event once."""
    found: list[Fact] = []
    for _, writer, sequence, event_type, time, value in rows:
        time_us = microseconds(time)
        kind = PLAIN.get(event_type)
        fact: Fact | None
        if kind is not None:
            fact = Fact(time_us, time_us, RANK[writer], sequence, kind)
        else:
            place = RANK[writer], sequence
            fact = fact_of(decode_data(event_type, value), time_us, time_us, place, peaks)
        if fact is not None:
            found.append(fact)
    found.sort(key=order)
    return found


def idle_types(rules: Rulebook) -> list[str]:
    """Return the types of events that move no clock under these rules, and need not be read."""
    words: set[str] = set()
    names: set[str] = set()
    for target in rules.targets:
        words |= target.words
        names |= target.names
        for versions in target.policies:
            for version in versions:
                names.update(n for d in version.definitions for n, _ in d.pause.fields)
    return [
        event_type
        for event_type, (told, moved) in _MOVES.items()
        if words.isdisjoint(told) and names.isdisjoint(moved)
    ]


class Judged(NamedTuple):
    """The verdict on one cycle of a target, and when it fell: at the breach, or at the stop."""

    target: str
    cycle: int
    verdict: Verdict
    at_us: int


def judged(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> list[Judged]:
    """Return how each cycle would have ended: missed if any of its clocks was ever breached."""
    found: dict[tuple[str, int], Judged] = {}
    for course in courses(facts, rules, at_us):
        life = course.life
        known = found.get((life.target, life.cycle))
        try:
            became = verdict(course)
        except NoWorkingTimeError:  # a clock without a deadline has no verdict
            continue
        if became is not None and (known is None or known.verdict != "missed"):
            found[life.target, life.cycle] = Judged(life.target, life.cycle, *became)
    return list(found.values())


def by_target(cycles: Iterable[Judged]) -> dict[str, Verdict]:
    """Return one verdict for each target: missed before open before met."""
    found: dict[str, Verdict] = {}
    for one in cycles:
        known = found.get(one.target)
        if known is None or _RANKS.index(one.verdict) < _RANKS.index(known):
            found[one.target] = one.verdict
    return found


def fallen(cycles: Iterable[Judged]) -> Iterator[Fallen]:
    """Yield the verdicts that stand."""
    for one in cycles:
        if one.verdict in ("met", "missed"):
            yield Fallen(one.target, one.verdict == "met", one.at_us)
