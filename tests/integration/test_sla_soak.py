"""Weeks of tickets through sla in moments; and races that a soak of years has found."""

from collections.abc import AsyncGenerator, Callable
from random import Random
from uuid import UUID

import pytest
from support.sla_desk import SoakDesk, outgoing, soak_desk
from support.sla_lives import DAY_US, HOUR_US, Life, Lives
from support.sla_soak import START_US, Size, soak

from services.sla.domain.rules.publishing import PolicyWanted, RulesWanted
from shared.calendar import instant
from shared.contracts.promises import Goal, Target
from shared.contracts.sla import SlaPolicyPublished

SOAK_SEED = 1


@pytest.mark.timeout(120)
async def test_weeks_of_tickets_are_judged_as_their_rules_say(
    make_database: Callable[[str], str],
) -> None:
    size = Size(days=20, per_day=30, seed=SOAK_SEED, sample=1)
    found = await soak(make_database("sla"), size, lambda _: None)
    assert found.differences == []
    assert found.checked == found.rebuilt == found.tickets >= 600
    assert found.changes >= 6
    words = "started warned breached breach_retracted paused resumed met missed cancelled"
    said = {f"sla.{word}" for word in (*words.split(), "due_inherited")}
    assert {word for word in said if not found.counts[word]} == set()
    assert found.counts["breaches learnt late"] > 10


@pytest.fixture
async def desk(make_database: Callable[[str], str]) -> AsyncGenerator[SoakDesk]:
    async with soak_desk(make_database("sla"), Random(SOAK_SEED), START_US) as running:
        yield running


def within(hours: int) -> RulesWanted:
    """Return the promise of a solution within so many hours, for clocks that run as well."""
    target = Target(
        name="resolution",
        kind="sla",
        goal=Goal(working_seconds=hours * 3600),
        start=("created",),
        stop=("resolved", "closed"),
    )
    policy = PolicyWanted(id="standard", applies_to="running", targets=(target,))
    return RulesWanted(policies=(policy,))


def be_born(desk: SoakDesk) -> Life:
    """Have a ticket created, and nothing else known of it."""
    lives = Lives(Random(SOAK_SEED), [])
    life = lives.be_born(START_US, START_US + HOUR_US, 1)[0]
    happenings = [one for _, one in lives.recorded(START_US + DAY_US)]
    desk.clock.at = instant(START_US + 2 * HOUR_US)
    desk.log.append([outgoing(life, one) for one in happenings[:2]])
    return life


async def generations(desk: SoakDesk, ticket: UUID) -> list[tuple[int, int, str | None]]:
    rows = await desk.service.pool.fetch(
        "SELECT generation, policy_version, outcome FROM read.clock"
        " WHERE ticket_id = $1 AND target = 'resolution' ORDER BY generation",
        ticket,
    )
    return [tuple(row) for row in rows]


async def let_pass(desk: SoakDesk) -> None:
    """Let an hour go by, and the timers fire."""
    desk.log.held_back = None
    await desk.step(START_US + 3 * HOUR_US, [])


async def test_a_clock_shown_only_after_a_version_for_running_clocks_is_taken_over(
    desk: SoakDesk,
) -> None:
    life = be_born(desk)
    desk.log.held_back = "sla.started"
    await desk.settle()
    await desk.rulebook.publish(within(2))
    await desk.settle()
    assert await generations(desk, life.ticket_id) == []
    await let_pass(desk)
    assert await generations(desk, life.ticket_id) == [(1, 1, "cancelled"), (2, 2, None)]


async def test_two_versions_for_running_clocks_may_be_read_at_once(desk: SoakDesk) -> None:
    life = be_born(desk)
    await desk.settle()
    desk.log.held_back = SlaPolicyPublished.TYPE
    for hours in (2, 3):
        desk.clock.at = instant(START_US + 2 * HOUR_US + hours)
        await desk.rulebook.publish(within(hours))
        await desk.settle()
    desk.log.held_back = None
    await desk.settle()
    await let_pass(desk)
    found = await generations(desk, life.ticket_id)
    assert (found[0], found[-1]) == ((1, 1, "cancelled"), (len(found), 3, None))
