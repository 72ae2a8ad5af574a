"""Due times that pass from ticket to ticket: neither a merge nor a split buys time.

When a ticket is merged into another one, or part of it is split off, each clock that runs hands its
due time over. The heir's clock of the same target is then due no later: it keeps the earlier of the
two, moved only by its own pauses since.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from services.sla.domain.clocks.clock import caps_of
from services.sla.domain.clocks.facts import RANK
from services.sla.domain.clocks.history import Fact, in_order
from services.sla.domain.clocks.ledger import judge_each
from services.sla.domain.clocks.rulebook import Rulebook
from shared.calendar import instant, microseconds
from shared.contracts.base import EventData
from shared.contracts.intake import TicketLinked, TicketMerged
from shared.contracts.registry import Recorded
from shared.contracts.sla import SlaDueInherited

_HANDING_OVER: Final = frozenset((TicketMerged, TicketLinked))


class Bequest(NamedTuple):
    """A ticket that takes over due times, and when."""

    heir: UUID
    at_us: int


Taken = dict[tuple[int, str], int]
"""The due times that a ticket takes over from one giver, by when, and by target."""


def bequests(events: Iterable[Recorded]) -> Iterator[Bequest]:
    """Yield who takes over from a ticket, by what intake says of it."""
    for event in events:
        if type(event.data) in _HANDING_OVER:
            bequest = bequest_of(event.data, microseconds(event.time))
            if bequest is not None:
                yield bequest


def bequest_of(data: EventData, at_us: int) -> Bequest | None:
    """Return who takes over by an event, None if nobody does."""
    match data:
        case TicketMerged(into=heir):
            return Bequest(heir, at_us)
        case TicketLinked(relation="split_off", linked_id=heir):
            return Bequest(heir, at_us)
        case _:
            return None


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


ToldHeir = dict[tuple[UUID, int], dict[str, int | None]]
"""What an heir was told last: by giver and instant of the bequest, the due time of each target."""


def told_heir(journal: Iterable[Recorded]) -> ToldHeir:
    """Fold what an heir was told, in sequence."""
    told: ToldHeir = {}
    for event in journal:
        data = event.data
        if isinstance(data, SlaDueInherited):
            due_us = None if data.due_at is None else microseconds(data.due_at)
            source = data.from_ticket, microseconds(event.time)
            told.setdefault(source, {})[data.target] = due_us
    return told


def inherited(
    giver: UUID, bequest: Bequest, dues: Mapping[str, int], told_before: ToldHeir
) -> Iterator[SlaDueInherited]:
    """Yield what the heir has to be told, by what it was told before.

    A due time that was told and is none any more is taken back with null. A giver that hands over
    twice to one heir, as a part of it and then by a merge, is heard for each instant by itself.
    """
    told = told_before.get((giver, bequest.at_us), {})
    for target in sorted(told.keys() | dues.keys()):
        due_us = dues.get(target)
        if told.get(target) != due_us:
            yield SlaDueInherited(
                ticket_id=bequest.heir,
                target=target,
                from_ticket=giver,
                due_at=None if due_us is None else instant(due_us),
            )


def passed_on(
    given: Mapping[str, Sequence[Bequest]], facts: Mapping[str, Sequence[Fact]], rules: Rulebook
) -> dict[str, list[Fact]]:
    """Return the facts by which tickets take over due times, by heir, under some rules.

    `given` is what each giver hands over, `facts` are the givers' own. Givers that take over
    something themselves hand over again, so that a due time passes along a whole chain.
    """
    taken: dict[str, dict[str, Taken]] = {}
    waiting = dict.fromkeys(sorted(given))
    while waiting:
        giver = next(iter(waiting))
        del waiting[giver]
        known = in_order([*facts.get(giver, ()), *_as_facts(taken.get(giver, {}))])
        for heir, passing in _passing(given[giver], known, rules).items():
            if taken.get(heir, {}).get(giver, {}) != passing:
                taken.setdefault(heir, {})[giver] = passing
                if heir in given:
                    waiting[heir] = None
    return {heir: list(_as_facts(givers)) for heir, givers in taken.items()}


def _passing(
    bequeathed: Iterable[Bequest], facts: Sequence[Fact], rules: Rulebook
) -> dict[str, Taken]:
    found: dict[str, Taken] = {}
    for heir, at_us in bequeathed:
        passing = found.setdefault(str(heir), {})
        for target, due_us in due_times(facts, rules, at_us).items():
            passing[at_us, target] = due_us
    return found


def _as_facts(givers: Mapping[str, Taken]) -> Iterator[Fact]:
    handed = (
        (at_us, giver, target, due_us)
        for giver, taken in givers.items()
        for (at_us, target), due_us in taken.items()
    )
    for place, (at_us, giver, target, due_us) in enumerate(sorted(handed), 1):
        changes = {"target": target, "due_us": due_us}
        yield Fact(at_us, at_us, RANK["sla"], place, "inherited", giver, changes)


def with_heritage(facts: list[Fact], taken: Sequence[Fact]) -> list[Fact]:
    """Return a ticket's own facts with those by which it takes over due times, in order."""
    return in_order([*facts, *taken]) if facts and taken else facts
