"""However events are batched, routing decides the same; and its state is what events make it."""

from collections.abc import Callable
from random import Random
from uuid import UUID

import msgspec
import pytest
from support.histories import START, created, delivered, written
from support.routing_desk import RoutingDesk, routing_desk

from services.routing.handlers.upkeep import Upkeep
from shared.clock import SystemClock
from shared.contracts.base import EventData
from shared.contracts.intake import (
    Scope,
    TicketCancelled,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from shared.contracts.registry import Recorded
from shared.contracts.sla import SlaBreached, SlaBreachRetracted
from shared.journal.committer import Committer
from shared.runtime.decisions import Decisions
from shared.telemetry.metrics import MetricRegistry

CATEGORIES = ("network", "hardware", "software", None)
SEEDS = range(10)


def life(ticket_id: UUID, chance: Random) -> list[EventData]:
    """Return what intake tells of a ticket: corrected, ended, begun again, in any legal order."""
    category = chance.choice(CATEGORIES)
    events: list[EventData] = [msgspec.structs.replace(created(ticket_id), category=category)]
    for step in range(chance.randrange(4)):
        events += chance.choice(
            [
                [
                    TicketUpdated(
                        ticket_id=ticket_id,
                        title="VPN",
                        description="",
                        impact=chance.choice(["high", "low", None]),
                        urgency=None,
                        scope=Scope(),
                        category=chance.choice(CATEGORIES),
                        service=None,
                    )
                ],
                [
                    TicketResolved(ticket_id=ticket_id, resolved_by="bo", resolution="done"),
                    TicketReopened(
                        ticket_id=ticket_id, reopened_by="ann", reason="no", reopen_count=step + 1
                    ),
                ],
            ]
        )
    if chance.random() < 0.6:
        events.append(TicketCancelled(ticket_id=ticket_id, cancelled_by="ann", reason="none"))
    return events


def promises(ticket_id: UUID, chance: Random) -> list[EventData]:
    events: list[EventData] = []
    for cycle in range(1, 1 + chance.randrange(4)):
        clock = {"ticket_id": ticket_id, "target": "resolution", "cycle": cycle, "due_at": START}
        events.append(SlaBreached(**clock))
        if chance.random() < 0.2:
            events.append(SlaBreachRetracted(**clock, reason="late"))
    return events


def story(seed: int, tickets: int = 20) -> list[Recorded]:
    chance = Random(seed)
    events: list[Recorded] = []
    for number in range(1, tickets + 1):
        events += written("intake", life(UUID(int=number), chance))
        events += written("sla", promises(UUID(int=number), chance))
    return delivered(events, seed)


def batches(events: list[Recorded], chance: Random) -> list[list[Recorded]]:
    cuts = sorted(chance.sample(range(1, len(events)), chance.randrange(1, 8)))
    return [events[a:b] for a, b in zip([0, *cuts], [*cuts, len(events)], strict=True)]


async def staff(desk: RoutingDesk) -> None:
    """Few people, so that some wait and some have all they can take."""
    for name, skills, group, most in [
        ("al", ["network"], "service-desk", 1),
        ("bo", ["network", "hardware"], "service-desk", 2),
        ("cy", ["software"], "service-desk", 1),
        ("di", ["network"], "network-support", 1),
        ("ed", ["hardware"], "hardware-support", 9),
        ("fay", ["network"], "network-experts", 9),
    ]:
        await desk.hire(name, *skills, group=group, workload_max=most)
    await desk.set_available("ed", available=False)
    await desk.give_out()


@pytest.mark.timeout(180)
async def test_batches_do_not_matter(make_database: Callable[[str], str]) -> None:
    async with routing_desk(make_database) as desk:
        escalated = taken_up = 0
        for seed in SEEDS:
            events, chance = story(seed), Random(seed)
            seen = []
            for cut in ([[e] for e in events], [events], batches(events, chance)):
                await desk.start_over()
                await staff(desk)
                await desk.tell_all(cut)
                seen.append((await desk.decided(), await desk.state()))
            one_by_one, *others = seen
            for other in others:
                assert other[0] == one_by_one[0], f"seed {seed}"
                assert other[1] == one_by_one[1], f"seed {seed}"
            text = str(one_by_one[0])
            escalated += text.count("ticket.escalated")
            taken_up += text.count("has room (")
        assert escalated > 20
        assert taken_up > 10  # or the stories show nothing of waiting


@pytest.mark.timeout(180)
async def test_no_load_is_too_high_and_nobody_waits_for_who_is_free(
    make_database: Callable[[str], str],
) -> None:
    async with routing_desk(make_database) as desk:
        for seed in SEEDS:
            await desk.start_over()
            await staff(desk)
            for batch in batches(story(seed), Random(seed)):
                await desk.tell(batch)
                counted = await desk.pool.fetch(
                    "SELECT agent_id, workload, workload_max, (SELECT count(*) FROM desk.ticket t"
                    " WHERE t.is_open AND t.agent_id = a.agent_id) AS has FROM desk.agent a"
                )
                for row in counted:
                    assert row["workload"] == row["has"] <= row["workload_max"], f"seed {seed}"
                idle = await desk.pool.fetch(
                    "SELECT t.ticket_id, s.agent_id FROM desk.ticket t JOIN desk.seat s"
                    ' ON s."group" = t."group" AND s.skill = t.skill WHERE t.is_waiting'
                )
                assert not idle, f"seed {seed}: {idle}"


@pytest.mark.timeout(180)
async def test_what_is_counted_anew_is_what_stood(make_database: Callable[[str], str]) -> None:
    async with routing_desk(make_database) as desk:
        committer = Committer(
            desk.journal, desk.pool, MetricRegistry().for_service("routing"), outbox_max=10**6
        )
        decisions = Decisions(desk.pool, desk.journal, committer, SystemClock())
        for seed in SEEDS:
            await desk.start_over()
            await staff(desk)
            await desk.tell_all(batches(story(seed), Random(seed)))
            log = written_of(await desk.own())
            await desk.tell(log)  # as it comes back through the log
            stood = await desk.state()
            decided = await desk.decided()
            await desk.forget("desk.agent", "desk.seat")
            await desk.owner.execute("UPDATE desk.ticket SET sequence = 0, agent_id = NULL")
            upkeep = Upkeep(desk.pool, decisions)
            while await upkeep.look_on():
                pass
            await desk.give_out()
            assert await desk.state() == stood, f"seed {seed}"
            assert await desk.decided() == decided, f"seed {seed}"


def written_of(own: dict[str, list[Recorded]]) -> list[Recorded]:
    return [event for events in own.values() for event in events]
