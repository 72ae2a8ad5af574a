"""A version for running clocks reaches every ticket under way, some at a time, whatever happens."""

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from random import Random
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from support.histories import START, created, ends, written
from support.sla_desk import SoakDesk, soak_desk
from support.sla_soak import START_US, Size, soak

from services.sla import reactions
from services.sla.domain.rules.publishing import PolicyWanted, RulesWanted
from shared.calendar import SECOND_US, instant, microseconds
from shared.contracts.promises import Goal, Target
from shared.log.port import Outgoing
from shared.runtime import timers

MINUTE_US = 60 * SECOND_US
BASE_US = microseconds(START) + 10 * MINUTE_US
TICKETS = 9
AT_ONCE = 2
TOGETHER = 4  # timers that share a transaction
AFTERWARDS = {"name": "survey", "start": ("closed",), "stop": ("reopened",)}
_GENERATIONS = """
SELECT ticket_id, array_agg(policy_version ORDER BY generation) FROM read.clock
WHERE target IN ('resolution', 'survey') GROUP BY ticket_id
"""
_WOKEN = "SELECT count(*) FROM kernel.timer WHERE name = 'takeover'"


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[SoakDesk]:
    monkeypatch.setattr(reactions, "_WAKE_AT_ONCE", AT_ONCE)
    async with soak_desk(make_database("sla"), Random(1), START_US, TOGETHER) as running:
        yield running


def within(hours: int, minutes: int = 0, **other: Any) -> RulesWanted:
    """Return the promise of so many hours, for clocks that run as well; in force at a minute."""
    words = {"name": "resolution", "start": ("created",), "stop": ("resolved", "closed")}
    target = Target(kind="sla", goal=Goal(working_seconds=hours * 3600), **(words | other))
    at = instant(BASE_US + minutes * MINUTE_US) if minutes else None
    policy = PolicyWanted(id="standard", applies_to="running", targets=(target,), effective_from=at)
    return RulesWanted(policies=(policy,))


def of_intake(ticket: int, *, is_over: bool = False) -> list[Outgoing]:
    ticket_id = UUID(int=ticket)
    events = written("intake", [created(ticket_id), *(ends(ticket_id) if is_over else [])])
    return [Outgoing(event.type, event.stream_id.encode(), event.value) for event in events]


async def publish(desk: SoakDesk, minute: int, wanted: RulesWanted) -> None:
    desk.clock.at = instant(BASE_US + minute * MINUTE_US)
    await desk.rulebook.publish(wanted)
    await desk.settle()


async def goes_on(desk: SoakDesk, minute: int) -> list[int]:
    """Let timers fire at an instant until none is due; return how many were woken at each look."""
    woken: list[int] = []
    until_us = BASE_US + minute * MINUTE_US
    while len(woken) < 3 or sum(woken[-3:]):
        until_us += SECOND_US
        desk.clock.at = instant(until_us)
        with suppress(ConnectionResetError):
            await desk._timers.fire(instant(until_us))
        woken.append(await desk.service.pool.fetchval(_WOKEN))
        await desk.settle()
    return woken


async def versions(desk: SoakDesk) -> dict[int, list[int]]:
    rows = await desk.service.pool.fetch(_GENERATIONS)
    return {row[0].int: row[1] for row in rows}


def all_of(tickets: Iterable[int], generations: list[int]) -> dict[int, list[int]]:
    return dict.fromkeys(tickets, generations)


async def test_a_version_wakes_some_tickets_at_a_time_and_a_crash_forgets_none(
    desk: SoakDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.log.append([one for n in range(1, TICKETS + 1) for one in of_intake(n)])
    await publish(desk, 1, within(20))
    await goes_on(desk, 1)
    before = (await versions(desk))[1]
    crashes: list[str] = []

    def crash_every_other_time(place: str) -> None:
        crashes.append(place)
        if len(crashes) % 2:
            raise ConnectionResetError

    await publish(desk, 2, within(30))
    assert await desk.service.pool.fetchval(_WOKEN) == 0
    with monkeypatch.context() as bad_weather:
        bad_weather.setattr(timers, "crash_point", crash_every_other_time)
        woken = await goes_on(desk, 3)
    assert max(woken) <= TOGETHER
    assert len([count for count in woken if count]) >= TICKETS / AT_ONCE - 1
    assert await versions(desk) == all_of(range(1, TICKETS + 1), [*before, 3])


async def test_what_comes_while_a_version_goes_round_is_judged_by_it_as_well(
    desk: SoakDesk,
) -> None:
    desk.log.append([one for n in range(3, TICKETS + 1) for one in of_intake(n)])
    await publish(desk, 1, within(20, minutes=5))
    desk.log.append(of_intake(1))
    await desk.settle()
    desk.clock.at = instant(BASE_US + 6 * MINUTE_US)
    await desk._timers.fire(instant(BASE_US + 6 * MINUTE_US))
    desk.log.append(of_intake(2))
    await desk.settle()
    await publish(desk, 7, within(30))
    await goes_on(desk, 8)
    found = await versions(desk)
    assert found.keys() == {*range(1, TICKETS + 1)}
    assert {generations[-1] for generations in found.values()} == {3}


async def test_a_clock_of_a_ticket_that_is_over_is_taken_over_when_it_is_read(
    desk: SoakDesk,
) -> None:
    await publish(desk, 1, within(20, **AFTERWARDS))
    await goes_on(desk, 1)
    desk.log.held_back = "sla.started"
    desk.log.append(of_intake(1, is_over=True))
    await desk.settle()
    await publish(desk, 2, within(30, **AFTERWARDS))
    await goes_on(desk, 2)
    assert await versions(desk) == {}
    desk.log.held_back = None
    await desk.settle()
    await goes_on(desk, 4)
    assert await versions(desk) == {1: [2, 3]}


async def test_policies_that_come_into_force_at_one_instant_go_round_together(
    desk: SoakDesk,
) -> None:
    desk.log.append(of_intake(1))
    await publish(desk, 1, within(20))
    (standard,) = within(30).policies
    other = replace(standard, id="other", targets=within(5, name="other").policies[0].targets)
    await publish(desk, 2, RulesWanted(policies=(standard, other)))
    await goes_on(desk, 3)
    assert (await versions(desk))[1][-1] == 3


@pytest.mark.timeout(120)
async def test_weeks_of_versions_that_go_round_in_small_steps(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactions, "_WAKE_AT_ONCE", 3)
    size = Size(days=8, per_day=30, seed=5, sample=1)
    found = await soak(make_database("sla"), size, lambda _: None)
    assert found.differences == []
    assert found.changes >= 2
