"""Weeks of tickets through sla in batches that a test chooses, and all that it decided."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final
from unittest.mock import patch
from uuid import UUID

import msgspec

from services.sla.domain.announcements.events import read_announcements
from services.sla.domain.rules.publishing import PolicyWanted, RulesWanted
from shared.calendar import SECOND_US, instant
from shared.contracts.base import EventData, TicketData
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCommented, TicketHeld, TicketResumed
from shared.contracts.promises import Goal, Target
from shared.contracts.registry import Recorded
from shared.contracts.sla import SlaMet
from shared.journal.journal import Append, Draft
from shared.log.port import Outgoing, Record
from shared.runtime import consumer
from support.histories import created
from support.sla_desk import SoakDesk, SoakLog, outgoing, soak_desk
from support.sla_lives import DAY_US, HOUR_US, Happening, Life, Lives
from support.sla_rules import Rules
from support.sla_soak import START_US

ALL: Final = 2_000
DAYS: Final = 22
TICKETS_PER_DAY: Final = 3
TALK: Final = 80
DUPLICATES: Final = 0.05
EVENTFUL: Final = {
    "SHARES": {"split": 0.2, "late": 0.15, "tie": 0.15, "reopened": 0.4},
    "ENDS": {"resolved": 60, "cancelled": 5, "merged": 35, "forgotten": 0},
    "BUSY": {"hold": 20},
}
"""Of what makes an order matter, lives have more here than in years of soaking."""
_CUT_MAX: Final = 40
_IMPORTED: Final = 4
_JUDGED_ELSEWHERE: Final = 8  # of those, and others of which another system knew just that
_JUDGED_ONLY: Final = 21
_LEFT: Final = {
    "timers": "SELECT stream_id, name, due_at, armed_at FROM kernel.timer ORDER BY 1, 2",
    "deliveries": "SELECT target, body, stream_id, sequence FROM kernel.delivery ORDER BY id",
    "quarantine": "SELECT topic, reason, detail FROM kernel.quarantine ORDER BY 1, 2, 3",
    "clocks": "SELECT * FROM read.clock ORDER BY ticket_id, target, cycle, generation",
}
_STREAMS: Final = "SELECT DISTINCT stream_id FROM kernel.journal ORDER BY 1"


class CutLog(SoakLog):
    """A log that gives out its records in one and the same order, however they are cut.

    What the service sends comes when all else was read: it would come sooner where batches are
    small. With a `cutter`, batches have random sizes. `given` is what was given out.
    """

    def __init__(self, chance: Random, topics: Sequence[str], cutter: Random | None) -> None:
        super().__init__(chance, topics)
        self._cutter = cutter
        self._is_idle = False
        self._sent: list[Outgoing] = []
        self.given: list[Record] = []

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Keep the records until all else was read."""
        self._sent += records

    def take_sent(self) -> list[Outgoing]:
        """Return what was sent and not appended yet; of each stream in order."""
        sent, self._sent = self._sent, []
        return sorted(sent, key=lambda one: one.key)

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        """See `LogReader.fetch`; never waits."""
        if not self.waiting and self._is_idle:  # else the batch before may still be under way
            self.append(self.take_sent())
        self._is_idle = not self.waiting
        most = records_max if self._cutter is None else self._cutter.randrange(1, _CUT_MAX)
        found = [self.waiting.popleft() for _ in range(min(most, len(self.waiting)))]
        self.given += found
        return found


@asynccontextmanager
async def cut_desk(
    dsn: str, seed: int, size: int | None
) -> AsyncGenerator[tuple[SoakDesk, CutLog]]:
    """Open sla on an empty database; batches have `size` records and timers, or any if None."""
    cutter = Random(seed) if size is None else None
    logs: list[CutLog] = []

    def make_log(chance: Random, topics: Sequence[str]) -> CutLog:
        logs.append(CutLog(chance, topics, cutter))
        return logs[0]

    with patch.object(consumer, "LINGER_SECONDS", 0):
        async with soak_desk(dsn, Random(seed), START_US, size or ALL, make_log) as desk:
            yield desk, logs[0]


class Weeks:
    """Random lives, rules and reports of a seed: told to a desk, the same to each."""

    def __init__(self, seed: int) -> None:
        self._chance = Random(seed)
        self._rules = Rules(self._chance, START_US, DAYS)
        self._lives = Lives(self._chance, self._rules.peaks())
        self._again: list[Outgoing] = []
        self._told = 0

    async def tell(self, desk: SoakDesk, log: CutLog) -> None:
        """Let the days go by: of each, rules are published first, and read among the rest."""
        await desk.rulebook.publish(_known(self._rules.first.wanted))
        talker, talk = _talk(self._lives, self._chance)
        self._lives.plan(talker, talk)
        for day in range(DAYS):
            start_us = START_US + day * DAY_US
            for life in self._lives.be_born(start_us, start_us + DAY_US, TICKETS_PER_DAY):
                if life.number % _JUDGED_ELSEWHERE == 0 or life.number % _JUDGED_ONLY == 0:
                    await _judge_elsewhere(desk, life)
            desk.clock.at = instant(start_us + DAY_US // 2)
            await self._publish(desk, day, start_us + DAY_US // 2)
            while await desk.service.relay.pass_on():
                pass
            told = [*self._again, *log.take_sent()]
            self._again = []
            for life, happening in self._lives.recorded(start_us + DAY_US):
                told.append(self._outgoing(life, happening))
                if self._chance.random() < DUPLICATES:
                    self._chance.choice((told, self._again)).append(told[-1])
            await desk.step(start_us + DAY_US, [told])

    async def _publish(self, desk: SoakDesk, day: int, at_us: int) -> None:
        for change in self._rules.changes:
            if change.at_us == START_US + day * DAY_US:
                if change.wanted is None:
                    await desk.rulebook.declare_peak(is_peak=change.kind == "peak")
                else:
                    await desk.rulebook.publish(change.wanted)
        if day in (2, 9):
            await desk.rulebook.publish(_handling(hours=20 * day))

    def _outgoing(self, life: Life, happening: Happening) -> Outgoing:
        """Return what travels; of some tickets, the beginning is what another system knew."""
        self._told += 1
        number = self._told
        lineage = Lineage(
            actor="soak",
            correlation_id=f"journey-{number}",
            traceparent=f"00-{number:032x}-{number:016x}-01",
            history=life.number % _IMPORTED == 0 and sum(life.sent) < 2,
        )
        return outgoing(life, happening, lineage)


def _known(wanted: RulesWanted | None) -> RulesWanted:
    assert wanted is not None
    return wanted


def _handling(hours: int) -> RulesWanted:
    """Return a policy of another name, for clocks that run as well."""
    target = Target(
        name="handling",
        kind="ola",
        goal=Goal(working_seconds=hours * 3600),
        start=("created",),
        stop=("resolved", "closed"),
        pause=("held",),
    )
    policy = PolicyWanted(id="handling", applies_to="running", targets=(target,))
    return RulesWanted(policies=(policy,))


def _talk(lives: Lives, chance: Random) -> tuple[Life, list[Happening]]:
    """Return a ticket on which more is said than is read of one, some of it known late."""
    life = lives.new_life(START_US)
    ticket_id = life.ticket_id
    told: list[tuple[int, EventData]] = [(START_US, created(ticket_id))]
    for number in range(TALK):
        comment = TicketCommented(
            ticket_id=ticket_id,
            comment_id=UUID(int=number),
            author_id="ann",
            author_role=chance.choice(("requester", "agent")),
            visibility=chance.choice(("public", "public", "internal")),
            text="…",
        )
        told.append((_some_day(chance), comment))
    for _ in range(5):
        at_us = _some_day(chance)
        told.append((at_us, TicketHeld(ticket_id=ticket_id, reason="vendor")))
        told.append((at_us + HOUR_US, TicketResumed(ticket_id=ticket_id)))
    late = (0, 0, 0, HOUR_US, DAY_US)
    return life, [
        Happening(at_us, at_us + chance.choice(late), "intake", data, None) for at_us, data in told
    ]


def _some_day(chance: Random) -> int:
    return START_US + chance.randrange(DAYS * DAY_US // SECOND_US) * SECOND_US


async def _judge_elsewhere(desk: SoakDesk, life: Life) -> None:
    """Have sla know a clock of the ticket that another system judged."""
    at = instant(life.created_us)
    met = SlaMet(
        ticket_id=life.ticket_id,
        target="resolution",
        stopped_at=at,
        due_at=None,
        elapsed_seconds=None,
        source_system="old desk",
    )
    lineage = Lineage(actor="import", correlation_id="import", history=True)
    append = Append(str(life.ticket_id), 0, (Draft(met, at),), lineage)
    async with desk.service.pool.acquire() as connection, connection.transaction():
        await desk.service.journal.append(connection, [append])


async def outcome(desk: SoakDesk, log: CutLog) -> dict[str, list[Any]]:
    """Return what was read, all that was decided, and what is known and shown by that."""
    service = desk.service
    async with service.pool.acquire() as connection:
        streams = [row["stream_id"] for row in await connection.fetch(_STREAMS)]
        journals = await service.journal.read(connection, streams)
        left = {name: [*map(tuple, await connection.fetch(sql))] for name, sql in _LEFT.items()}
    return {
        "journal": [
            _plain(event)
            for events in journals.values()
            for event in events
            if isinstance(event.data, TicketData)
        ],
        "knowledge": [(stream, *read_announcements(events)) for stream, events in journals.items()],
        **left,
        "read": [(record.topic, record.key) for record in log.given],
    }


def _plain(event: Recorded) -> tuple[Any, ...]:
    place = event.stream_id, event.sequence, event.type, event.time, event.recorded_at
    lineage = event.causation_id, event.correlation_id, event.traceparent, event.actor
    return (*place, msgspec.to_builtins(event.data), *lineage)
