"""The KPIs' rollups on real PostgreSQL: kept by the chore, made again exactly, by one at a time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from support.kpi_scan import close_to, scanned
from support.told import START, Follower, Story

from services.reporting import queries
from services.reporting.chores import KpiRollups
from services.reporting.domain.kpi import GroupBy
from services.reporting.domain.tally import TicketRow
from services.reporting.projections import READ_MODEL
from services.reporting.queries import Measures, kpis, read_hours, read_tickets
from services.sla.domain.rules.defaults import OFFICE, default_calendars
from shared.contracts.registry import TOPICS
from shared.log.embedded import EmbeddedLog
from shared.log.port import Outgoing
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.replay import schema
from shared.replay.rebuild import rebuild
from shared.runtime import rollups

ZONES = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Niue"]


@dataclass
class Room:
    """Reporting's read model on a log, followed at the test's pace."""

    story: Story
    follower: Follower
    app: Pool
    replay: Pool
    rollups: KpiRollups

    async def hears(self, tickets: int, events: int) -> None:
        await self.follower.hear(self.story.goes_on(tickets, events))

    async def settles(self) -> int:
        """Let the chore count until all is done; return how many hours that took."""
        hours = 0
        while counted := await self.rollups.refresh(self.app):
            hours += counted
        while await self.rollups.make(self.app):
            await self.compare()
        return hours

    async def outdated(self) -> int:
        return await self.app.fetchval(
            "SELECT (SELECT count(*) FROM read.stale) + (SELECT count(*) FROM read.touched)"
        )

    async def rows(self) -> list[tuple[Any, ...]]:
        """Return every rollup, to the byte."""
        found = await self.app.fetch("SELECT * FROM read.rollup ORDER BY size, number, calendar")
        return [tuple(row) for row in found]

    async def compare(self, **more: Any) -> None:
        """Fail unless the report is that of a scan, at this instant."""
        measures = self.measures(**more)
        found = msgspec.json.decode(msgspec.json.encode(await kpis(self.app, measures)))
        expected = await self.scan(measures)
        found.pop("percentiles")
        found.pop("period")
        assert found == close_to(expected)

    def measures(self, **more: Any) -> Measures:
        chance = self.story.chance
        some = [START + timedelta(days=800 * chance.random()) for _ in range(2)]
        asked: dict[str, Any] = {
            "start": chance.choice([None, min(some)]),
            "end": chance.choice([None, max(some)]),
            "by": chance.choice([None, *get_args(GroupBy)]),
            "zone": ZoneInfo(chance.choice(ZONES)),
        }
        return Measures(calendar=OFFICE, **(asked | more))

    async def scan(self, measures: Measures) -> dict[str, Any]:
        everything = (0, 4_000_000_000_000_000)
        async with self.app.acquire() as connection, connection.transaction():
            tickets = [ticket async for ticket in read_tickets(connection, [everything])]
            calendars = await read_hours(connection)
            digest = await connection.fetchval(
                "SELECT digest FROM read.hours WHERE calendar_id = $1", measures.calendar
            )
        return scanned(
            tickets,
            start=measures.start,
            end=measures.end,
            by=measures.by,
            zone=measures.zone,
            calendar=calendars[digest],
        )


@pytest.fixture(params=[1, 2, 3])
def seed(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
async def room(
    make_database: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, seed: int
) -> AsyncGenerator[Room]:
    """A room that knows a calendar and no tickets."""
    monkeypatch.setattr(rollups, "HOURS_MAX", 5)
    dsn = make_database("reporting")
    await migrate(dsn)
    app = await open_pool(dsn, role="desk_app", name="test", size_max=4)
    replay = await open_pool(dsn, role="desk_replay", name="test", size_max=2)
    async with replay.acquire() as connection, connection.transaction():
        await schema.create(connection, READ_MODEL, schema.LIVE)
    log = await EmbeddedLog(make_database("log")).open()
    await log.create_topics(TOPICS, 2)
    chance = Random(seed)
    made = Room(
        Story(chance), Follower(READ_MODEL, log, app, chance), app, replay, KpiRollups(timedelta())
    )
    await made.follower.hear([calendar(made.story, "Europe/Berlin")])
    yield made
    await log.close()
    await app.close()
    await replay.close()


def calendar(story: Story, zone: str) -> Outgoing:
    published, *_ = default_calendars(zone)
    return story.say(published, START)


@pytest.mark.timeout(120)
async def test_a_report_is_that_of_a_scan_however_far_the_chore_is(room: Room) -> None:
    await room.compare()
    for _ in range(8):
        await room.hears(tickets=12, events=50)
        await room.compare()
        for _ in range(room.story.chance.randrange(5)):
            await room.rollups.refresh(room.app)
            await room.compare()
    await room.settles()
    assert await room.outdated() == 0
    for by in (None, *get_args(GroupBy)):
        await room.compare(by=by)
        await room.compare(by=by, start=None, end=None)


async def test_a_report_of_settled_rollups_reads_no_ticket(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.hears(tickets=40, events=100)
    await room.settles()
    asked: list[Any] = []

    async def watched(connection: Any, ranges: Any) -> AsyncIterator[TicketRow]:
        asked.extend(ranges)
        async for ticket in read_tickets(connection, ranges):
            yield ticket

    monkeypatch.setattr(queries, "read_tickets", watched)
    await kpis(room.app, room.measures(start=None, end=None, by="group"))
    assert asked == []
    await room.hears(tickets=0, events=1)
    await kpis(room.app, room.measures(start=None, end=None, by="group"))
    assert len(asked) == 1, "only the hour of the ticket to which something happened"


async def test_a_rebuild_makes_the_same_rollups_to_the_byte(room: Room) -> None:
    for _ in range(4):
        await room.hears(tickets=10, events=60)
        await room.rollups.refresh(room.app)
    await room.settles()
    kept = await room.rows()
    assert {size for size, *_ in kept} == {1, 24, 192, 1_536}
    await rebuild(READ_MODEL, room.follower.log, room.replay)
    assert await room.rows() == []
    await room.compare()
    await room.settles()
    assert await room.rows() == kept
    await room.hears(tickets=3, events=20)
    await room.compare()
    await room.settles()
    await room.compare()


async def test_replicas_share_the_work_and_do_none_of_it_twice(room: Room) -> None:
    await room.hears(tickets=60, events=60)
    alone = KpiRollups()
    counted = 0
    while await room.outdated():
        counted += sum(
            await asyncio.gather(*(one.refresh(room.app) for one in (room.rollups, alone)))
        )
    assert counted == await room.app.fetchval(
        "SELECT count(DISTINCT number) FROM read.rollup WHERE size = 1"
    )
    await room.compare()


async def test_while_a_replica_is_at_it_the_others_leave_it_alone(room: Room) -> None:
    await room.hears(tickets=10, events=10)
    async with room.app.acquire() as connection, connection.transaction():
        assert await connection.fetchval(rollups._LOCK)
        assert await room.rollups.refresh(room.app) == 0
    assert await room.rollups.refresh(room.app) == 5


async def test_what_changes_while_it_is_counted_is_counted_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.hears(tickets=40, events=40)

    async def interrupted(connection: Any, ranges: Any) -> AsyncIterator[TicketRow]:
        tickets = [ticket async for ticket in read_tickets(connection, ranges)]
        await room.hears(tickets=1, events=5)
        for ticket in tickets:
            yield ticket

    monkeypatch.setattr("services.reporting.chores.read_tickets", interrupted)
    for _ in range(6):
        await room.rollups.refresh(room.app)
        await room.compare()
    monkeypatch.undo()
    await room.settles()
    await room.compare(start=None, end=None)


async def test_a_verdict_that_saw_no_ticket_and_comes_after_its_count_is_not_lost(
    room: Room,
) -> None:
    await room.hears(tickets=20, events=0)
    await room.settles()
    birth = room.story.goes_on(1, 0)
    async with room.app.acquire() as connection, connection.transaction():
        await connection.execute(
            "INSERT INTO read.verdict (ticket_id, target, cycle, generation, verdict_seq, kind,"
            " outcome) VALUES ($1, 'resolution', 1, 1, 1, 'sla', 'missed')",
            UUID(int=21),
        )
        await room.follower.hear(birth)
        assert await room.settles() == 1
    await room.compare(start=None, end=None)
    assert await room.settles() == 1
    await room.compare(start=None, end=None)
    assert (await room.scan(room.measures(start=None, end=None)))["overall"]["sla"]["judged"] == 1


async def test_a_new_calendar_changes_the_working_times_of_the_past(room: Room) -> None:
    await room.hears(tickets=40, events=200)
    await room.settles()
    before = (await room.scan(room.measures(start=None, end=None)))["overall"]
    await room.follower.hear([calendar(room.story, "Asia/Tokyo")])
    await room.compare(start=None, end=None)
    await room.settles()
    await room.compare(start=None, end=None)
    after = (await room.scan(room.measures(start=None, end=None)))["overall"]
    assert after["ttr_working_hours"] != before["ttr_working_hours"]
    names = await room.app.fetchval("SELECT count(DISTINCT calendar) FROM read.rollup")
    assert names == 2, "the calendar that nobody has any more is gone"
