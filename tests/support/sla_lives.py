"""Random lives of tickets for sla's soak: what happens to each, when, and when the desk learns it.

Of everything that happens a life holds both the event that travels and the fact that it is to the
clocks, written side by side here; the soak judges by these facts, the service by the events.
Instants are microseconds since 1970, at whole seconds.
"""

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from itertools import count
from math import exp, log
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from services.sla.domain.clocks.history import Fact, FactType
from shared.calendar import SECOND_US, instant
from shared.contracts.base import EventData
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketHeld,
    TicketLinked,
    TicketMerged,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
    TicketUpdated,
)
from shared.contracts.routing import TicketAssigned, TicketPrioritized

HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
RANKS = {"intake": 0, "routing": 1, "sla": 2}
HOLDS = ("vendor", "requester", "parts")
GROUPS = ("network", "desktop", "vendor")
CATEGORIES = ("network", "software", "hardware")
HEIRS_MAX = 200
SHARES = {
    "late": 0.03,
    "tie": 0.05,
    "assigned": 0.5,
    "started": 0.6,
    "split": 0.01,
    "never ranked": 0.005,
    "reopened": 0.08,
    "closed": 0.5,
}
ENDS = {"resolved": 88, "cancelled": 4, "merged": 4, "forgotten": 4}
"""How lives end, in a hundred; what is forgotten is cancelled a month later."""
SCALE_SECONDS = {"P1": 3 * 3600, "P2": 12 * 3600, "P3": 48 * 3600, "P4": 96 * 3600}
BUSY = {"comment": 3, "question": 3, "hold": 5, "ranked": 2, "moved": 2, "corrected": 1}

Said = tuple[FactType, str | None, dict[str, Any] | None]


class Happening(NamedTuple):
    """One thing that a writer records of a ticket; `fact` is None if clocks do not ask for it."""

    time_us: int
    recorded_us: int
    writer: str
    data: EventData
    fact: Said | None


class Bequest(NamedTuple):
    """Due times pass to another ticket: since when, and since when the desk knows it."""

    at_us: int
    recorded_us: int
    giver: "Life"


class Life:
    """One ticket: the facts delivered so far, and from whom it takes over due times."""

    __slots__ = ("bequests", "created_us", "ends_us", "facts", "is_over", "left", "number", "sent")

    def __init__(self, number: int, created_us: int) -> None:
        self.number = number
        self.created_us = created_us
        self.ends_us = created_us
        self.facts: list[Fact] = []
        self.bequests: list[Bequest] = []
        self.sent = [0, 0]
        self.left = 0
        self.is_over = False

    @property
    def ticket_id(self) -> UUID:
        """The ticket's id."""
        return UUID(int=self.number)

    def deliver(self, happening: Happening) -> int:
        """Take up what is recorded now, and return its sequence among its writer's events."""
        rank = RANKS[happening.writer]
        self.sent[rank] += 1
        self.left -= 1
        if happening.fact is not None:
            place = rank, self.sent[rank]
            times = happening.time_us, happening.recorded_us
            self.facts.append(Fact(*times, *place, *happening.fact))
        return self.sent[rank]

    def has_ended(self) -> bool:
        """Tell whether nothing more will happen to it, nor to those that it takes over from."""
        return not self.left and all(one.giver.has_ended() for one in self.bequests)


Planned = tuple[int, int, Life, Happening]


class Lives:
    """Makes lives from one source of chance and gives out what is recorded, in that order.

    `peaks` are the times in which a peak is declared, from and without the end.
    """

    def __init__(self, chance: Random, peaks: list[tuple[int, int]]) -> None:
        self._chance = chance
        self._peaks = peaks
        self._numbers = count(1)
        self._places = count()
        self._planned: list[Planned] = []
        self._heirs: deque[Life] = deque(maxlen=HEIRS_MAX)
        self.counts: Counter[str] = Counter()

    def be_born(self, from_us: int, until_us: int, tickets: int) -> list[Life]:
        """Make so many tickets created in a time, more of them in office hours, and their parts."""
        created = sorted(self._birth_us(from_us, until_us) for _ in range(tickets))
        return [life for at_us in created for life in _Walk(self, self._chance, at_us).lives()]

    def recorded(self, until_us: int) -> Iterator[tuple[Life, Happening]]:
        """Yield what is recorded up to an instant."""
        while self._planned and self._planned[0][0] <= until_us:
            _, _, life, happening = heapq.heappop(self._planned)
            yield life, happening

    def is_peak(self, at_us: int) -> bool:
        """Tell whether a peak is declared at an instant."""
        return any(start_us <= at_us < end_us for start_us, end_us in self._peaks)

    def new_life(self, at_us: int) -> Life:
        """Return a ticket to which nothing happens yet."""
        return Life(next(self._numbers), at_us)

    def plan(self, life: Life, happenings: list[Happening]) -> None:
        """Have these recorded; what comes late comes behind what its writer recorded meanwhile."""
        for one in happenings:
            heapq.heappush(self._planned, (one.recorded_us, next(self._places), life, one))
        life.left += len(happenings)

    def heir_of(self, life: Life, at_us: int) -> Life | None:
        """Return an older ticket that another one may be merged into, if there is one."""
        fitting = [
            one
            for one in self._heirs
            if one.number < life.number and one.created_us < at_us < one.ends_us - HOUR_US
        ]
        return self._chance.choice(fitting) if fitting else None

    def offer(self, life: Life) -> None:
        """Let others be merged into it."""
        self._heirs.append(life)

    def _birth_us(self, from_us: int, until_us: int) -> int:
        chance = self._chance
        at_us = from_us + chance.randrange((until_us - from_us) // SECOND_US) * SECOND_US
        if chance.random() < 0.5:  # in office hours, as far as the time has some
            at_us = at_us - at_us % DAY_US + chance.randrange(7 * 3600, 17 * 3600) * SECOND_US
        return min(max(at_us, from_us), until_us - SECOND_US)


class _Walk:
    """One life, from its creation on."""

    def __init__(self, lives: Lives, chance: Random, at_us: int, giver: Life | None = None) -> None:
        self._lives = lives
        self._chance = chance
        self._at_us = at_us
        self._giver = giver
        self._life = lives.new_life(at_us)
        self._found: list[Happening] = []
        self._parts: list[Life] = []
        self._priority = chance.choices(("P1", "P2", "P3", "P4"), (4, 12, 50, 34))[0]
        self._bequests: list[tuple[Life, Bequest]] = []

    def lives(self) -> list[Life]:
        """Plan the life and return it, with the tickets that are split off from it."""
        self._begin()
        for _ in range(self._chance.choices((0, 1, 2, 4), (50, 25, 15, 10))[0]):
            word = self._chance.choices(list(BUSY), list(BUSY.values()))[0]
            self._lives.counts[word] += 1
            self._pass()
            getattr(self, f"_{word}")()
        if self._happens("split") and self._giver is None:
            self._split()
        self._end()
        self._life.ends_us = max(one.time_us for one in self._found)
        self._lives.plan(self._life, self._found)
        for heir, bequest in self._bequests:
            heir.bequests.append(bequest)
        self._lives.offer(self._life)
        return [self._life, *self._parts]

    def _happens(self, what: str) -> bool:
        happens = self._chance.random() < SHARES[what]
        self._lives.counts[what] += happens
        return happens

    def _pass(self, scale: float = 1.0) -> None:
        """Let time go by: now minutes, now days, sometimes none at all."""
        if not self._happens("tie"):
            longest = log(SCALE_SECONDS[self._priority] * scale / 10)
            self._at_us += int(60 * exp(self._chance.random() * longest)) * SECOND_US

    def _add(self, data: EventData, fact: Said | None, writer: str = "intake") -> Happening:
        at_us = recorded_us = self._at_us
        if self._found and self._happens("late"):
            recorded_us += self._chance.randrange(3600, 72 * 3600) * SECOND_US
        self._found.append(Happening(at_us, recorded_us, writer, data, fact))
        return self._found[-1]

    def _begin(self) -> None:
        ticket_id, chance = self._life.ticket_id, self._chance
        kind = chance.choices(("incident", "service_request"), (65, 35))[0]
        category = chance.choice(CATEGORIES)
        created = TicketCreated(
            ticket_id=ticket_id,
            number=f"T-{self._life.number}",
            kind=kind,
            title="VPN drops",
            description="",
            requester=Requester(id="ann"),
            occurred_at=instant(self._at_us),
            impact=None,
            urgency=None,
            scope=Scope(),
            category=category,
            service=None,
            channel="api",
            origin="soak",
            split_from=None if self._giver is None else self._giver.ticket_id,
        )
        fields = {"kind": kind, "category": category, "peak": self._lives.is_peak(self._at_us)}
        self._add(created, ("created", None, fields))
        if not self._happens("never ranked"):
            self._at_us += chance.randrange(20) * SECOND_US
            self._rank(self._priority)
        if self._happens("assigned"):
            self._at_us += chance.randrange(900) * SECOND_US
            self._moved()
        if self._happens("started"):
            self._pass(0.3)
            started = TicketStarted(ticket_id=ticket_id, agent_id="bo")
            self._add(started, ("started", None, None))

    def _rank(self, priority: str) -> None:
        data = TicketPrioritized(
            ticket_id=self._life.ticket_id,
            priority=priority,
            impact="low",
            urgency="low",
            reasons=(),
            policy_version=1,
        )
        self._add(data, ("prioritized", None, {"priority": priority}), "routing")

    def _ranked(self) -> None:
        self._rank(self._chance.choice(("P1", "P2", "P3", "P4")))

    def _moved(self) -> None:
        group = self._chance.choice(GROUPS)
        data = TicketAssigned(
            ticket_id=self._life.ticket_id,
            group=group,
            agent_id=None,
            line=1,
            reassignment_count=0,
            reasons=(),
        )
        self._add(data, ("assigned", None, {"group": group}), "routing")

    def _corrected(self) -> None:
        category = self._chance.choice(CATEGORIES)
        data = TicketUpdated(
            ticket_id=self._life.ticket_id,
            title="VPN drops",
            description="",
            impact=None,
            urgency=None,
            scope=Scope(),
            category=category,
            service=None,
        )
        self._add(data, ("updated", None, {"category": category}))

    def _comment(self) -> None:
        self._write("agent", "agent_reply")

    def _question(self) -> None:
        self._write("requester", "requester_message")

    def _write(self, role: str, word: FactType) -> None:
        data = TicketCommented(
            ticket_id=self._life.ticket_id,
            comment_id=UUID(int=(self._life.number << 16) + len(self._found)),
            author_id="ann",
            author_role=role,
            visibility="public",
            text="…",
        )
        self._add(data, (word, None, None))

    def _hold(self) -> None:
        reason = self._chance.choice(HOLDS)
        held = TicketHeld(ticket_id=self._life.ticket_id, reason=reason)
        self._add(held, ("held", reason, None))
        self._pass()
        if self._chance.random() < 0.8:  # else resolving releases it
            self._add(TicketResumed(ticket_id=self._life.ticket_id), ("resumed", None, None))

    def _split(self) -> None:
        self._pass(0.1)
        walk = _Walk(self._lives, self._chance, self._at_us, self._life)
        (part,) = walk.lives()
        data = TicketLinked(
            ticket_id=self._life.ticket_id, linked_id=part.ticket_id, relation="split_off"
        )
        told = self._add(data, None)
        self._bequests.append((part, Bequest(told.time_us, told.recorded_us, self._life)))
        self._parts.append(part)

    def _end(self) -> None:
        self._pass()
        end = self._chance.choices(list(ENDS), list(ENDS.values()))[0]
        heir = self._lives.heir_of(self._life, self._at_us) if end == "merged" else None
        if heir is not None:
            self._lives.counts["merged"] += 1
            data = TicketMerged(ticket_id=self._life.ticket_id, into=heir.ticket_id, merged_by="bo")
            told = self._add(data, ("merged", None, None))
            self._bequests.append((heir, Bequest(told.time_us, told.recorded_us, self._life)))
        elif end == "resolved":
            self._resolve()
        else:
            self._at_us += 30 * DAY_US if end == "forgotten" else 0
            data = TicketCancelled(ticket_id=self._life.ticket_id, cancelled_by="bo", reason="")
            self._add(data, ("cancelled", None, None))

    def _resolve(self) -> None:
        ticket_id = self._life.ticket_id
        solved = TicketResolved(ticket_id=ticket_id, resolved_by="bo", resolution="done")
        self._add(solved, ("resolved", None, None))
        for number in range(1, 3):
            if not self._happens("reopened"):
                break
            self._pass()
            reopened = TicketReopened(
                ticket_id=ticket_id, reopened_by="ann", reason="", reopen_count=number
            )
            self._add(reopened, ("reopened", None, None))
            self._pass()
            self._add(solved, ("resolved", None, None))
        if self._happens("closed"):
            self._pass()
            closed = TicketClosed(
                ticket_id=ticket_id,
                closed_by="ann",
                code="solved",
                resolved_at=None,
                reopen_count=0,
            )
            self._add(closed, ("closed", None, None))
