"""Promises kept, from rollups: at each instant what a scan of all clocks says."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, get_args
from uuid import UUID

import pytest
from support.attainment_scan import scanned

from services.sla.chores import add_up_verdicts, count_verdicts
from services.sla.domain.clocks.attainment import AttainmentQuery, Dimension
from services.sla.projections import READ_MODEL
from services.sla.queries import read_attainment
from shared.postgres.migrate import migrate
from shared.postgres.pool import Connection, Pool, open_pool
from shared.replay import schema
from shared.runtime import rollups
from shared.runtime.rollups import Rollups

START = datetime(2025, 1, 30, 21, 7, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Niue"]
_CLOCK = """
INSERT INTO read.clock (ticket_id, target, cycle, generation, kind, policy_id, source_system,
    outcome, stopped_at, breached_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (ticket_id, target, cycle, generation) DO UPDATE SET policy_id = EXCLUDED.policy_id,
    source_system = EXCLUDED.source_system, outcome = EXCLUDED.outcome,
    stopped_at = EXCLUDED.stopped_at, breached_at = EXCLUDED.breached_at
"""
_TICKET = """
INSERT INTO read.ticket (ticket_id, priority, customer, site, service, category, assigned_group)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (ticket_id) DO UPDATE SET
    priority = EXCLUDED.priority, customer = EXCLUDED.customer, site = EXCLUDED.site,
    service = EXCLUDED.service, category = EXCLUDED.category,
    assigned_group = EXCLUDED.assigned_group
"""


def chore() -> Rollups:
    return Rollups(READ_MODEL.fingerprint, count_verdicts, add_up_verdicts)


@dataclass
class Room:
    """Sla's clocks, to which anything may happen, also what takes an earlier word back."""

    chance: Random
    pool: Pool

    def at(self) -> datetime:
        days = self.chance.choice([2, 60, 700]) * self.chance.random()
        return START + timedelta(days=days, microseconds=self.chance.randrange(10**6))

    async def happens(self, events: int) -> None:
        for _ in range(events):
            ticket = UUID(int=self.chance.randrange(1, 40))
            if self.chance.random() < 0.3:
                dims = [
                    self.chance.choice([None, *"ab"]) for _ in range(_TICKET.count("EXCLUDED."))
                ]
                await self.pool.execute(_TICKET, ticket, *dims)
            else:
                await self._moves(ticket)

    async def _moves(self, ticket: UUID) -> None:
        chance = self.chance
        outcome = chance.choice([None, "met", "missed", "cancelled"])
        await self.pool.execute(
            _CLOCK,
            ticket,
            chance.choice(["response", "resolution"]),
            chance.choice([1, 1, 2]),
            chance.choice([1, 1, 2, 3]),
            "sla",
            chance.choice(["p1", "p2"]),
            chance.choice([None, None, "old desk"]),
            outcome,
            self.at() if outcome in {"met", "missed"} else None,
            self.at() if chance.random() < 0.4 else None,
        )

    def question(self) -> AttainmentQuery:
        chance = self.chance
        bounds = sorted(self.at() for _ in range(2))
        few: Callable[[], tuple[str, ...]] = lambda: ("a",) if chance.random() < 0.2 else ()  # noqa: E731
        return AttainmentQuery(
            start=chance.choice([None, bounds[0]]),
            end=chance.choice([None, bounds[1]]),
            by=tuple(chance.sample(get_args(Dimension), chance.randrange(3))),
            zone=chance.choice(ZONES),
            targets=("response",) if chance.random() < 0.2 else (),
            priorities=few(),
            customers=few(),
            services=few(),
        )

    async def compare(self, connection: Connection) -> None:
        """Fail unless the answer is that of a scan."""
        asked = self.question()
        at = self.at() if self.chance.random() < 0.3 else START + timedelta(days=900)
        found = [
            (
                *(one.target, one.kind, one.source_system, one.met, one.missed, one.late_seconds),
                *one.key.values(),
            )
            for one in await read_attainment(connection, asked, at)
        ]
        assert found == await scanned(connection, asked, at), (asked, at)


@pytest.fixture(params=[1, 2, 3, 4])
def seed(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
async def room(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> AsyncGenerator[Room]:
    monkeypatch.setattr(rollups, "HOURS_MAX", 7)
    dsn = make_database("sla")
    await migrate(dsn)
    replay = await open_pool(dsn, role="desk_replay", name="replay", size_max=1)
    async with replay.acquire() as connection, connection.transaction():
        await schema.create(connection, READ_MODEL, schema.LIVE)
    await replay.close()
    pool = await open_pool(dsn, role="desk_app", name="test", size_max=2)
    yield Room(Random(seed), pool)
    await pool.close()


async def test_each_answer_is_that_of_a_scan_however_far_the_chore_is(room: Room) -> None:
    kept = chore()
    async with room.pool.acquire() as connection:
        for _ in range(12):
            await room.happens(room.chance.randrange(12))
            for _ in range(room.chance.choice([0, 1, 3, 100])):
                await kept.refresh(room.pool)
            for _ in range(4):
                await room.compare(connection)


async def rows(pool: Pool) -> list[tuple[Any, ...]]:
    columns = "size, number, target, met, missed, late_us, overdue, overdue_us, until, priority"
    found = await pool.fetch(f"SELECT {columns} FROM read.rollup")
    return sorted((tuple(row) for row in found), key=repr)


async def test_rollups_are_the_same_however_they_came_about(room: Room) -> None:
    kept = chore()
    for _ in range(8):
        await room.happens(10)
        await kept.refresh(room.pool)
    while await kept.refresh(room.pool):
        pass
    before = await rows(room.pool)
    assert before
    await room.pool.execute("INSERT INTO read.touched VALUES (NULL, NULL)")
    await room.pool.execute("DELETE FROM read.rollup WHERE size = 1")
    while await kept.refresh(room.pool):
        pass
    assert await rows(room.pool) == before
