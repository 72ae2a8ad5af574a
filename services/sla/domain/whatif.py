"""History judged again under other rules: who would have been met or missed."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from services.sla.domain.clocks import Clock
from services.sla.domain.facts import PLAIN, RANK, Peaks, fact_of
from services.sla.domain.history import Fact, order
from services.sla.domain.ledger import judge
from services.sla.domain.rulebook import Rulebook
from shared.calendar import microseconds
from shared.contracts.registry import decode_data

CHANGED_MAX: Final = 200
Verdict = Literal["met", "missed", "open", "none"]


Row = Any
"""An event of a ticket: id, writer, sequence, type, time, value (none if its type says all)."""


class Changed(msgspec.Struct, frozen=True):
    """A ticket that another verdict would have been given."""

    ticket_id: str
    target: str
    group: str | None
    before: Verdict
    after: Verdict


class Difference(msgspec.Struct, kw_only=True):
    """Verdicts of some tickets on one target, `before` → `after` → how many."""

    target: str
    group: str | None
    verdicts: dict[Verdict, dict[Verdict, int]] = {}

    def count(self, before: Verdict, after: Verdict, many: int = 1) -> None:
        """Add tickets."""
        row = self.verdicts.setdefault(before, {})
        row[after] = row.get(after, 0) + many


class Comparison(msgspec.Struct, kw_only=True):
    """What other rules would have made of the past.

    `changed` names the first tickets whose verdict differs; the counts are complete.
    """

    tickets: int = 0
    changed_tickets: int = 0
    differences: list[Difference] = []
    changed: list[Changed] = []

    def add(
        self,
        ticket_id: str,
        group: str | None,
        before: dict[str, Verdict],
        after: dict[str, Verdict],
    ) -> None:
        """Count one ticket, by target."""
        self.tickets += 1
        has_changed = False
        for target in sorted(before.keys() | after.keys()):
            was, would_be = before.get(target, "none"), after.get(target, "none")
            self._of(target, group).count(was, would_be)
            if was != would_be:
                has_changed = True
                if len(self.changed) < CHANGED_MAX:
                    self.changed.append(Changed(ticket_id, target, group, was, would_be))
        self.changed_tickets += has_changed

    def take(self, other: "Comparison") -> None:
        """Add what another part of the history came to."""
        self.tickets += other.tickets
        self.changed_tickets += other.changed_tickets
        for difference in other.differences:
            mine = self._of(difference.target, difference.group)
            for before, row in difference.verdicts.items():
                for after, many in row.items():
                    mine.count(before, after, many)
        self.changed = sorted(
            [*self.changed, *other.changed], key=lambda one: (one.ticket_id, one.target)
        )[:CHANGED_MAX]
        self.differences.sort(key=lambda one: (one.target, one.group is None, one.group or ""))

    def _of(self, target: str, group: str | None) -> Difference:
        for difference in self.differences:
            if difference.target == target and difference.group == group:
                return difference
        self.differences.append(Difference(target=target, group=group))
        return self.differences[-1]


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


def verdicts(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> dict[str, Verdict]:
    """Return how each target would have ended: missed if any of its clocks was ever breached."""
    found: dict[str, Verdict] = {}
    for clock in judge(facts, rules, at_us):
        verdict = _verdict(clock)
        if verdict is not None and found.get(clock.target) != "missed":
            found[clock.target] = verdict
    return found


def _verdict(clock: Clock) -> Verdict | None:
    if clock.breached_us is not None or clock.outcome == "missed":
        return "missed"
    if clock.outcome == "met":
        return "met"
    return "open" if clock.outcome in ("open", "paused") else None
