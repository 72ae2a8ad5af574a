"""What routing decides by: nobody gets too much, whoever races; and what a decision reads."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.histories import created, written
from support.routing_desk import LINEAGE, RoutingDesk, routing_desk

from services.routing.domain.triage import AssignTicket
from services.routing.handlers.assignments import assign_by_hand
from services.routing.handlers.state import open_state
from services.routing.handlers.upkeep import Upkeep
from services.routing.projections import READ_MODEL
from services.routing.queries import state as sql
from services.routing.queries.views import list_agents, list_queues
from shared.contracts.base import EventData
from shared.contracts.intake import Scope, TicketCancelled, TicketResolved, TicketUpdated
from shared.contracts.registry import Recorded, decode_event
from shared.contracts.routing import AgentAvailabilityChanged, TicketAssigned
from shared.journal.committer import Committer
from shared.journal.handler import Intent, Written
from shared.journal.journal import Append, Draft
from shared.runtime.decisions import Decisions
from shared.runtime.read_model import Fold, write
from shared.runtime.unit import Unit
from shared.telemetry.metrics import MetricRegistry


@pytest.fixture
async def desk(make_database: Callable[[str], str]) -> AsyncGenerator[RoutingDesk]:
    async with routing_desk(make_database) as running:
        yield running


def tickets(*numbers: int, category: str = "network") -> list[Recorded]:
    events: list[Recorded] = []
    for number in numbers:
        events += told(number, created(UUID(int=number)), category=category)
    return events


def told(number: int, *events: EventData, category: str = "network") -> list[Recorded]:
    """Return events of one ticket as intake's journal numbers them."""
    first = msgspec.structs.replace(created(UUID(int=number)), category=category)
    return written("intake", [first, *events[1:]])


def resolved(number: int) -> TicketResolved:
    return TicketResolved(ticket_id=UUID(int=number), resolved_by="bo", resolution="done")


def update(number: int, step: int) -> TicketUpdated:
    return TicketUpdated(
        ticket_id=UUID(int=number),
        title=f"title {step}",
        description="",
        impact=None,
        urgency="low" if step % 2 else "high",
        scope=Scope(),
        category="network",
        service=None,
    )


def decisions(desk: RoutingDesk) -> Decisions:
    metrics = MetricRegistry().for_service("routing")
    committer = Committer(desk.journal, desk.pool, metrics, outbox_max=10**6)
    return Decisions(desk.pool, desk.journal, committer, desk.clock)


async def by_hand(desk: RoutingDesk, number: int, agent: str) -> Written:
    async def decide(unit: Unit) -> Written:
        state = await open_state(unit)
        command = AssignTicket(UUID(int=number), "service-desk", agent, None, "because")
        intent = Intent(str(UUID(int=number)), command, desk.clock.now(), LINEAGE)
        result = await assign_by_hand(state, intent)
        await state.save()
        return result

    return await decisions(desk).make(decide)


# --- Races ---------------------------------------------------------------------------------------


async def test_two_consumers_never_give_anybody_too_much(desk: RoutingDesk) -> None:
    for name in ("al", "bo", "cy"):
        await desk.hire(name, "network", workload_max=3)
    await desk.give_out()
    async with desk.pool.acquire() as connection, connection.transaction():
        await desk.apply(connection, tickets(*range(1, 7)))
        other = asyncio.create_task(desk.tell(tickets(*range(7, 13))))
        async with asyncio.timeout(20):  # the other has come as far as it can
            while not other.done() and not await desk.owner.fetchval(WAITS):
                await asyncio.sleep(0.02)
    await other
    held = Counter(name for name in (await desk.holders()).values() if name is not None)
    assert held == {"al": 3, "bo": 3, "cy": 3}
    assert await desk.workloads() == held


WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"


async def test_nobody_waits_for_another_in_a_circle(desk: RoutingDesk) -> None:
    """Consumers end tickets of the same agents crosswise while people move them by hand."""
    for name in ("al", "bo"):
        await desk.hire(name, "network", workload_max=50)
    await desk.give_out()
    await desk.tell(tickets(*range(1, 41)))
    ends = [told(number, created(UUID(int=number)), resolved(number))[1] for number in range(1, 31)]
    await asyncio.gather(
        desk.tell(ends[:15]),
        desk.tell(ends[15:][::-1]),
        *(by_hand(desk, number, "al") for number in range(31, 41)),
        desk.set_available("bo", available=False),
    )
    await desk.give_out()
    assert await desk.workloads() == {"al": 10, "bo": 0}


# --- What a decision reads -----------------------------------------------------------------------

FILL = """
INSERT INTO desk.agent SELECT 'a' || n, 'group-' || n % 4, ARRAY['skill-' || n % 8], true,
    n % 10, 11, 'A', 1, 1, false FROM generate_series(1, 4000) n;
INSERT INTO desk.seat SELECT "group", s, workload, agent_id
    FROM desk.agent, unnest(skills || ''::text) s;
INSERT INTO desk.ticket SELECT gen_random_uuid(), 3, 'P' || 1 + n % 4, 'low', 'low',
    'group-' || n % 4, CASE WHEN n % 2 = 0 THEN 'a' || 1 + n % 4000 END, 1, 0, 0, false, 1,
    'network', NULL, 'low', 1, 1, now() - n * interval '1 s', 1, n % 3 > 0, true,
    'skill-' || n % 8, 1 FROM generate_series(1, 40000) n;
ANALYZE desk.agent, desk.seat, desk.ticket, desk.breach
"""


def rows_read(plan: dict[str, Any]) -> tuple[int, set[str]]:
    """Return how many rows a plan's scans looked at, and the tables that were read whole."""
    count, whole = 0, set[str]()
    kind = plan["Node Type"]
    if "Relation Name" in plan:
        removed = plan.get("Rows Removed by Filter", 0)
        count += (plan["Actual Rows"] + removed) * plan["Actual Loops"]
        whole |= {plan["Relation Name"]} if kind == "Seq Scan" else set()
    for part in plan.get("Plans", []):
        below = rows_read(part)
        count, whole = count + below[0], whole | below[1]
    return count, whole


@pytest.mark.parametrize(
    ("statement", "arguments", "most"),
    [
        (sql.SEATS, ["group-1", "skill-1", -1, "", 32], 32),
        (sql.SEATS, ["group-1", "", 3, "a5", 32], 32),
        (sql.SEATS, ["nobody", "", -1, "", 32], 0),
        (sql.FIRST_WAITING, ["group-1", ["skill-1", "skill-5", ""], ""], 3),
        (sql.IS_ANYONE_WAITING, ["group-1"], 1),
        (sql.HAS_PEOPLE, ["group-1"], 1),
        (sql.AGENTS, [["a1", "a2"]], 2),
        (sql.PENDING, [[str(UUID(int=1))]], 0),
    ],
)
async def test_a_decision_reads_a_few_rows_however_large_the_desk(
    desk: RoutingDesk, statement: str, arguments: list[Any], most: int
) -> None:
    await desk.owner.execute(FILL)
    async with desk.pool.acquire() as connection:
        explained = await connection.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *arguments
        )
    [answer] = json.loads(explained)
    count, whole = rows_read(answer["Plan"])
    assert count <= most, explained
    assert not whole - {"breach"}, explained  # empty here


async def statements(desk: RoutingDesk, events: Sequence[Recorded]) -> list[str]:
    """Return what is asked of the database while the events are told."""
    asked: list[str] = []
    async with desk.pool.acquire() as connection, connection.transaction():
        raw: Any = connection
        with raw.query_logger(lambda record: asked.append(record.query)):
            await desk.apply(connection, events)
    return asked


async def test_the_cost_of_an_event_is_the_same_for_a_long_history(desk: RoutingDesk) -> None:
    await desk.hire("bo", "network")
    await desk.give_out()
    first = told(1, created(UUID(int=1)), *(update(1, step) for step in range(302)))
    await desk.tell(first[:2])
    short = await statements(desk, first[2:3])
    await desk.tell_all([first[place : place + 23] for place in range(3, 302, 23)])
    long = await statements(desk, first[302:303])
    assert long == short
    assert len((await desk.own())[str(UUID(int=1))]) > 250  # the rank went to and fro
    assert not [one for one in long if "read.history" in one and "SELECT" in one.split("INSERT")[0]]


# --- Whoever wrote it ----------------------------------------------------------------------------


async def test_what_an_older_program_did_is_found_and_mended(desk: RoutingDesk) -> None:
    """It knows nothing of the state: its facts and its decisions pass it by."""
    for name in ("al", "bo"):
        await desk.hire(name, "network", workload_max=2)
    await desk.give_out()
    await desk.tell(tickets(1, 2, 3, 4, 5))
    holders = await desk.holders()
    [waiting] = [name for name, holder in holders.items() if holder is None]
    mine = next(UUID(name).int for name, holder in holders.items() if holder == "al")
    ended = told(mine, created(UUID(int=mine)), resolved(mine))[1]
    late = tickets(6)
    async with desk.pool.acquire() as connection, connection.transaction():
        fold = Fold(READ_MODEL)
        for event in (ended, *late):
            fold.add(event)
        await write(connection, READ_MODEL, fold, "read")
        given = TicketAssigned(
            ticket_id=UUID(int=6),
            group="service-desk",
            agent_id="bo",
            line=1,
            reassignment_count=0,
            reasons=(),
        )
        away = AgentAvailabilityChanged(agent_id="bo", available=False)
        now = desk.clock.now()
        appends = [
            Append(str(UUID(int=6)), 0, (Draft(given, now),), LINEAGE),
            Append("bo", 1, (Draft(away, now),), LINEAGE),
        ]
        assert await desk.journal.append(connection, appends) == [True, True]
    assert await desk.workloads() == {"al": 2, "bo": 2}  # and nobody knows better
    upkeep = Upkeep(desk.pool, decisions(desk))
    while await upkeep.look_on():
        pass
    await desk.give_out()
    assert await desk.workloads() == {"al": 2, "bo": 3}
    assert (await desk.holders())[waiting] == "al"
    assert not (await desk.pool.fetchval("SELECT count(*) FROM desk.seat"))


async def test_its_own_words_from_an_older_program_are_taken_in(desk: RoutingDesk) -> None:
    await desk.hire("bo", "network", workload_max=2)
    await desk.give_out()
    await desk.tell(tickets(1))
    async with desk.pool.acquire() as connection, connection.transaction():
        away = AgentAvailabilityChanged(agent_id="bo", available=False)
        draft = Draft(away, desk.clock.now())
        await desk.journal.append(connection, [Append("bo", 1, (draft,), LINEAGE)])
    own = await desk.own()
    await desk.tell(own["bo"])
    await desk.tell(tickets(2))
    assert (await desk.holders())[str(UUID(int=2))] is None


async def test_a_ticket_that_an_older_program_moved_on_is_decided_from_where_it_is(
    desk: RoutingDesk,
) -> None:
    await desk.hire("bo", "network")
    await desk.give_out()
    events = told(1, created(UUID(int=1)), update(1, 1))
    await desk.tell(events[:1])
    given = TicketAssigned(
        ticket_id=UUID(int=1),
        group="network-support",
        agent_id=None,
        line=2,
        reassignment_count=1,
        reasons=(),
    )
    async with desk.pool.acquire() as connection, connection.transaction():
        append = Append(str(UUID(int=1)), 2, (Draft(given, desk.clock.now()),), LINEAGE)
        assert await desk.journal.append(connection, [append]) == [True]
    await desk.tell(events[1:])
    own = [event.type for event in (await desk.own())[str(UUID(int=1))]]
    assert [name.removeprefix("ticket.") for name in own] == [
        "prioritized",
        "assigned",
        "assigned",
        "prioritized",
    ]
    assert await desk.workloads() == {"bo": 0}


def imported(events: list[Recorded]) -> list[Recorded]:
    """Return events as they are when they tell of another system's past."""
    plain = [msgspec.json.decode(event.value) | {"history": True} for event in events]
    return [decode_event(one["type"], msgspec.json.encode(one)) for one in plain]


async def test_a_past_taken_over_is_load_and_goes_to_nobody_until_something_happens(
    desk: RoutingDesk,
) -> None:
    await desk.tell(imported(tickets(1, 2)))
    past = msgspec.structs.replace(LINEAGE, history=True)
    async with desk.pool.acquire() as connection, connection.transaction():
        for number, agent in ((1, "al"), (2, None)):
            given = TicketAssigned(
                ticket_id=UUID(int=number),
                group="service-desk",
                agent_id=agent,
                line=1,
                reassignment_count=0,
                reasons=(),
            )
            draft = Draft(given, desk.clock.now())
            append = Append(str(UUID(int=number)), 0, (draft,), past)
            assert await desk.journal.append(connection, [append]) == [True]
    await desk.hire("al", "network", workload_max=2)
    upkeep = Upkeep(desk.pool, decisions(desk))
    while await upkeep.look_on():
        pass
    await desk.give_out()
    assert await desk.workloads() == {"al": 1}
    assert await desk.holders() == {str(UUID(int=1)): "al", str(UUID(int=2)): None}
    await desk.tell(written("intake", [created(UUID(int=2)), update(2, 1)])[1:])
    assert await desk.workloads() == {"al": 2}


async def test_a_desk_without_state_builds_it_and_answers_from_it(desk: RoutingDesk) -> None:
    for name in ("al", "bo"):
        await desk.hire(name, "network", workload_max=2)
    await desk.give_out()
    await desk.tell(tickets(1, 2, 3, 4, 5, 6))
    cancelled = TicketCancelled(ticket_id=UUID(int=6), cancelled_by="ann", reason="none")
    await desk.tell(told(6, created(UUID(int=6)), cancelled)[1:])
    await desk.tell([event for events in (await desk.own()).values() for event in events])
    stood = await desk.state()
    await desk.forget("desk.agent", "desk.seat", "desk.ticket", "desk.breach")
    assert await Upkeep(desk.pool, decisions(desk)).look_on(), "stopped when tickets are there"
    await Upkeep(desk.pool, decisions(desk)).build()
    await desk.give_out()
    again = await desk.state()
    ended = str(UUID(int=6))
    assert again["desk.agent"] == stood["desk.agent"]
    assert again["desk.seat"] == stood["desk.seat"]
    assert again["desk.ticket"] == [row for row in stood["desk.ticket"] if row[0] != ended]
    assert [(a.agent_id, a.workload) for a in await list_agents(desk.pool)] == [
        ("al", 2),
        ("bo", 2),
    ]
    [queue] = await list_queues(desk.pool)
    assert (queue.group, queue.open, queue.unassigned) == ("service-desk", 5, 1)
