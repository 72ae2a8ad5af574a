"""What a new version of the rules would change for clocks that run, before anybody confirms it."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from services.sla.domain.clocks.clock import TicketClock
from services.sla.domain.clocks.history import Fact
from services.sla.domain.clocks.ledger import judge_each
from services.sla.domain.clocks.rulebook import Rulebook
from shared.calendar import instant

CLOCKS_MAX: Final = 200


class ClockChange(msgspec.Struct, frozen=True):
    """A running clock that another one would take over; null where none would."""

    ticket_id: str
    target: str
    due_before: datetime | None
    due_after: datetime | None


class ChangedClocks(msgspec.Struct, kw_only=True):
    """How many open tickets were asked, how many clocks would change, and the first of those."""

    tickets: int = 0
    changed: int = 0
    clocks: list[ClockChange] = []

    def add(self, found: Iterable[ClockChange]) -> None:
        """Count one open ticket."""
        self.tickets += 1
        for change in found:
            self.changed += 1
            if len(self.clocks) < CLOCKS_MAX:
                self.clocks.append(change)


def changes(
    ticket_id: str, facts: Sequence[Fact], before: Rulebook, after: Rulebook, at_us: int
) -> Iterator[ClockChange]:
    """Yield the running clocks that differ at `at_us`, if nothing happens until then."""
    old = {clock.target: clock for clock in _running(facts, before, at_us)}
    new = {clock.target: clock for clock in _running(facts, after, at_us)}
    for target in sorted(old.keys() | new.keys()):
        was, would_be = old.get(target), new.get(target)
        if _promise(was) != _promise(would_be):
            yield ClockChange(ticket_id, target, _due(was), _due(would_be))


def _running(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Iterator[TicketClock]:
    ledger = judge_each(facts, rules, at_us).ledger
    return (clock for clock in ledger if clock.stopped_us is None)


def _promise(clock: TicketClock | None) -> tuple[object, ...] | None:
    if clock is None:
        return None
    definition = clock.definition
    return clock.due_us, definition.policy_id, definition.version, definition.target


def _due(clock: TicketClock | None) -> datetime | None:
    return None if clock is None else instant(clock.due_us)
