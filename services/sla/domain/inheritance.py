"""Due times that pass from ticket to ticket: neither a merge nor a split buys time.

When a ticket is merged into another one, or part of it is split off, each clock that runs hands its
due time over. The heir's clock of the same target is then due no later: it keeps the earlier of the
two, moved only by its own pauses since.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from services.sla.domain.clocks import caps_of
from services.sla.domain.history import Fact
from services.sla.domain.ledger import judge_each
from services.sla.domain.rulebook import Rulebook
from shared.calendar import instant, microseconds
from shared.contracts.intake import TicketLinked, TicketMerged
from shared.contracts.registry import Recorded
from shared.contracts.sla import SlaDueInherited

_HANDING_OVER: Final = frozenset((TicketMerged, TicketLinked))


class Bequest(NamedTuple):
    """A ticket that takes over due times, and when."""

    heir: UUID
    at_us: int


def bequests(events: Iterable[Recorded]) -> Iterator[Bequest]:
    """Yield who takes over from a ticket, by what intake says of it."""
    for event in events:
        if type(event.data) not in _HANDING_OVER:
            continue
        match event.data:
            case TicketMerged(into=heir):
                yield Bequest(heir, microseconds(event.time))
            case TicketLinked(relation="split_off", linked_id=heir):
                yield Bequest(heir, microseconds(event.time))
            case _:
                continue


def due_times(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> dict[str, int]:
    """Return where each target's clock runs towards at `at_us`, if one runs or ends by a merge.

    What the ticket itself takes over from then on goes to the heir too.
    """
    dues = {
        clock.target: clock.due_us
        for clock in judge_each(facts, rules, at_us).ledger
        if clock.outcome == "merged" or clock.stopped_us is None
    }
    for target, caps in caps_of(facts).items():
        for cap in caps:
            if cap.at_us >= at_us:
                dues[target] = min(cap.due_us, dues.get(target, cap.due_us))
    return dues


def inherited(
    giver: UUID, bequest: Bequest, dues: Mapping[str, int], journal: Iterable[Recorded]
) -> Iterator[SlaDueInherited]:
    """Yield what the heir has to be told; `journal` is what it was told before.

    A due time that was told and is none any more is taken back with null.
    """
    told: dict[str, int | None] = {}
    for event in journal:
        data = event.data
        if isinstance(data, SlaDueInherited) and data.from_ticket == giver:
            told[data.target] = None if data.due_at is None else microseconds(data.due_at)
    for target in sorted(told.keys() | dues.keys()):
        due_us = dues.get(target)
        if told.get(target) != due_us:
            yield SlaDueInherited(
                ticket_id=bequest.heir,
                target=target,
                from_ticket=giver,
                due_at=None if due_us is None else instant(due_us),
            )
