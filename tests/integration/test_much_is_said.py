"""A ticket on which much is said is judged as if all of it were read, and little of it is."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.histories import START, created

from services.sla.domain.clocks.facts import facts_of
from services.sla.domain.clocks.history import in_order
from services.sla.domain.clocks.ledger import judge
from services.sla.domain.clocks.rulebook import PolicyVersion, Rulebook, rulebook
from services.sla.domain.rules.defaults import default_policy
from services.sla.projections import READ_MODEL
from services.sla.queries import histories
from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, microseconds
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import (
    TicketCommented,
    TicketHeld,
    TicketReopened,
    TicketResolved,
    TicketResumed,
)
from shared.contracts.promises import Target
from shared.contracts.registry import Recorded, decode_event
from shared.contracts.routing import TicketPrioritized
from shared.ids import event_id
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.replay import schema
from shared.runtime.read_model import Fold, write

TICKETS = 300
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ALWAYS = WorkingCalendar(zone="UTC", weekly=dict.fromkeys(DAYS, (("00:00", "24:00"),)))
CALENDARS = {ROUND_THE_CLOCK: ALWAYS, "office@1": ALWAYS, "office": ALWAYS}
CONDITIONS: Sequence[Any] = (
    *("created", "requester_message", "agent_reply", "requester_message", "agent_reply"),
    *("resolved", "held", "resumed", {"priority": "P1"}, {"priority": "P2"}),
)
LINEAGE = Lineage(actor="test", correlation_id="c")


@pytest.fixture
async def pool(make_database: Callable[[str], str]) -> AsyncGenerator[Pool]:
    dsn = make_database("said")
    await migrate(dsn)
    replay = await open_pool(dsn, role="desk_replay", name="test", size_max=1)
    async with replay.acquire() as connection, connection.transaction():
        await schema.create(connection, READ_MODEL, schema.LIVE)
    await replay.close()
    async with await open_pool(dsn, role="desk_app", name="test", size_max=2) as made:
        yield made


def comment(ticket: UUID, number: int, role: Any, visibility: Any = "public") -> TicketCommented:
    return TicketCommented(
        ticket_id=ticket,
        comment_id=UUID(int=number),
        author_id="bo",
        author_role=role,
        visibility=visibility,
        text="we are on it",
    )


def happening(ticket: UUID, number: int, chance: Random) -> EventData:
    kind = chance.randrange(14)
    if kind < 9:
        role = chance.choice(["requester", "agent"])
        return comment(ticket, number, role, chance.choice(["public", "public", "internal"]))
    if kind < 11:
        return TicketPrioritized(
            ticket_id=ticket,
            priority=chance.choice(["P1", "P2", "P3"]),
            impact="low",
            urgency="low",
            reasons=(),
            policy_version=1,
        )
    return chance.choice(
        [
            TicketHeld(ticket_id=ticket, reason="vendor", note=""),
            TicketResumed(ticket_id=ticket),
            TicketResolved(ticket_id=ticket, resolved_by="bo", resolution="done"),
            TicketReopened(ticket_id=ticket, reopened_by="ann", reason="no", reopen_count=1),
        ]
    )


def recorded(data: EventData, sequence: int, minute: int) -> Recorded:
    writer = "routing" if isinstance(data, TicketPrioritized) else "intake"
    value = encode_event(
        writer,
        data,
        sequence=sequence,
        event_id=event_id(writer, data.stream_id, sequence),
        time=START + timedelta(minutes=minute),
        recorded_at=START + timedelta(minutes=minute),
        lineage=LINEAGE,
    )
    return decode_event(data.TYPE, value)


def life(ticket: UUID, chance: Random) -> list[Recorded]:
    """Return a ticket's events; some at one instant, some recorded later than they happened."""
    found = [recorded(created(ticket), 1, 0)]
    for number in range(2, chance.randrange(3, 60)):
        minute = number // 2 + chance.choice([0, 0, 0, -7, 5])
        found.append(recorded(happening(ticket, number, chance), number, max(0, minute)))
    return found


def rules(chance: Random) -> Rulebook:
    targets = tuple(
        msgspec.convert(
            {
                "name": f"t{number}",
                "kind": "sla",
                "goal": {"working_seconds": chance.choice([300, 900])},
                "start": [chance.choice(CONDITIONS) for _ in range(chance.randrange(1, 3))],
                "stop": [chance.choice(CONDITIONS) for _ in range(chance.randrange(1, 3))],
                "pause": chance.choice([[], ["held"]]),
                "cycle": chance.choice(["once", "once", "repeat"]),
                "on_reopen": chance.choice(["continue", "new_cycle", "ignore"]),
            },
            Target,
        )
        for number in range(chance.randrange(1, 4))
    )
    running = PolicyVersion(
        policy_id="p",
        version=2,
        effective_us=microseconds(START + timedelta(minutes=chance.randrange(30))),
        applies_to="running",
        targets=targets,
    )
    first = PolicyVersion(policy_id="p", version=1, effective_us=0, targets=targets)
    return rulebook([first, running], CALENDARS)


async def keep(pool: Pool, events: Sequence[Recorded]) -> None:
    fold = Fold(READ_MODEL)
    for event in events:
        fold.add(event)
    async with pool.acquire() as connection, connection.transaction():
        await write(connection, READ_MODEL, fold, schema.LIVE)


async def test_what_is_read_of_much_is_judged_as_all_of_it(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "_FEW", 0)
    chance = Random(15)
    lives = {str(t): life(t, chance) for t in (UUID(int=n + 1) for n in range(TICKETS))}
    await keep(pool, [event for events in lives.values() for event in events])
    left_out = 0
    async with pool.acquire() as connection:
        for ticket_id, events in lives.items():
            book = rules(chance)
            moving = (await histories.read_moving(connection, [ticket_id], book))[ticket_id]
            assert {event.event_id for event in moving} <= {event.event_id for event in events}
            left_out += len(events) - len(moving)
            for minute in (3, 12, 20, 40):
                at_us = microseconds(START + timedelta(minutes=minute))
                few, every = (in_order(facts_of(known)) for known in (moving, events))
                assert judge(few, book, at_us) == judge(every, book, at_us), ticket_id
    assert left_out > 5 * TICKETS, "not much was said, or all of it was read"


def standard() -> Rulebook:
    policy = default_policy()
    version = PolicyVersion(
        policy_id="standard", version=1, effective_us=0, targets=policy.targets, calendars={}
    )
    return rulebook([version], CALENDARS)


def asking(*targets: dict[str, Any]) -> Rulebook:
    goal = {"kind": "sla", "goal": {"working_seconds": 60}}
    wanted = tuple(msgspec.convert(goal | target, Target) for target in targets)
    return rulebook(
        [PolicyVersion(policy_id="p", version=1, effective_us=0, targets=wanted)], CALENDARS
    )


NEXT_REPLY = {
    "name": "next_reply",
    "start": ["requester_message"],
    "stop": ["agent_reply"],
    "cycle": "repeat",
}
NOTHING_SAID = {"name": "resolution", "start": ["created"], "stop": ["resolved"]}


@pytest.mark.parametrize(
    ("book", "most"),
    [(standard(), 33 + 12), (asking(NEXT_REPLY), 33 + 12), (asking(NOTHING_SAID), 0)],
    ids=["standard", "next reply", "nothing said counts"],
)
async def test_as_much_is_read_of_a_long_talk_as_of_a_short_one(
    pool: Pool, book: Rulebook, most: int
) -> None:
    ticket = UUID(int=1)
    says = [comment(ticket, n, "requester" if n < 1_000 else "agent") for n in range(2, 3_000)]
    opened = recorded(created(ticket), 1, 0)
    await keep(pool, [opened, *(recorded(data, n, n) for n, data in enumerate(says, 2))])
    await pool.execute("SELECT 1")
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan TO off")
        before = await connection.fetchval(_FETCHED)
        moving = await histories.read_moving(connection, [str(ticket)], book)
        fetched = await connection.fetchval(_FETCHED) - before
    assert len(moving[str(ticket)]) <= 8
    assert fetched <= most


_FETCHED = """
SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables
WHERE schemaname = 'read' AND relname = 'said'
"""
