"""Two versions of a service on one database: upgraded under load, rolled back, restarted midway."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import asyncpg
import msgspec
import pytest
from support.held_log import GatedLog
from support.inprocess import InProcessDesk, in_process_desk
from support.invariants import broken_invariants
from support.replicas import Reports

from services.host import ROOMS
from services.intake import tables
from services.intake.projections import READ_MODEL
from shared.contracts.registry import Recorded
from shared.http.kernel import Room
from shared.log.embedded import EmbeddedLog
from shared.replay import reading
from shared.runtime.read_model import ReadModel
from shared.runtime.service import Service

pytestmark = pytest.mark.timeout(120)


class Record(tables.Record, frozen=True):
    """The next version's: says who reported, too."""

    origin: str


def next_project(event: Recorded) -> Any:
    for facet in READ_MODEL.project(event):
        if isinstance(facet, tables.Record):
            yield Record(**msgspec.structs.asdict(facet), origin=event.data.origin)  # type: ignore[attr-defined]
        else:
            yield facet


BOARD, *OTHERS = READ_MODEL.tables
OLD = READ_MODEL
NEXT = ReadModel(
    (replace(BOARD, facets=(Record, *BOARD.facets[1:])), *OTHERS),
    next_project,
    version=OLD.version + 1,
)


@dataclass
class Upgrade:
    """Replicas of either version on one database; `play` says of which those are that start now."""

    patch: pytest.MonkeyPatch
    make_database: Callable[[str], str]
    folder: Path
    log: EmbeddedLog
    dsn: str

    def play(self, model: ReadModel, **spec: Any) -> None:
        real: Room = Upgrade.room()
        room = replace(real, spec=replace(real.spec, read_model=model, **spec))
        self.patch.setitem(ROOMS, "intake", lambda: room)  # type: ignore[arg-type] it is a dict

    room = staticmethod(ROOMS["intake"])

    @asynccontextmanager
    async def replica(
        self, model: ReadModel, name: str, wrap: Callable[[Any], Any] = lambda log: log, **spec: Any
    ) -> AsyncGenerator[InProcessDesk]:
        self.play(model, **spec)
        dsns = {"intake": self.dsn}
        async with in_process_desk(
            self.make_database,
            self.folder,
            log=self.log,
            dsns=dsns,
            replica=name,
            wrap=wrap,
            until_begun=False,
        ) as desk:
            yield desk

    async def live(self) -> str:
        connection = await asyncpg.connect(self.dsn)
        try:
            return await connection.fetchval("SELECT fingerprint FROM kernel.live_fold")
        finally:
            await connection.close()

    async def check(self, model: ReadModel, reports: Reports) -> None:
        """Fail unless all invariants hold, and no row was written by the other version."""
        self.play(model)
        broken = await broken_invariants({"intake": self.dsn}, self.log, reports.acknowledged)
        assert not broken, "\n".join(broken)
        if model is NEXT:
            connection = await asyncpg.connect(self.dsn)
            missing = await connection.fetchval(
                "SELECT count(*) FROM read.board WHERE record_seq > 0 AND origin IS NULL"
            )
            await connection.close()
            assert missing == 0


@pytest.fixture
async def upgrade(
    make_database: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Upgrade]:
    log = await EmbeddedLog(make_database("log")).open()
    yield Upgrade(monkeypatch, make_database, tmp_path, log, make_database("intake"))
    await log.close()


async def readiness(desk: InProcessDesk) -> tuple[int, str]:
    answer = await desk.clients["intake"].get("/health/ready")
    return answer.status_code, answer.text


async def becomes(desk: InProcessDesk, status: int, words: str = "") -> None:
    """Wait until readiness has the status and says the words."""
    async with asyncio.timeout(20):
        while (told := await readiness(desk))[0] != status or words not in told[1]:
            await asyncio.sleep(0.05)


async def more(reports: Reports, count: int) -> None:
    """Wait until so many more reports were acknowledged."""
    wanted = len(reports.acknowledged) + count
    async with asyncio.timeout(30):
        while len(reports.acknowledged) < wanted:
            await asyncio.sleep(0.02)


SUPERSEDED = f"the read model is of fold {NEXT.fingerprint[:16]} now"


async def test_a_rolling_upgrade_and_its_rollback_leave_no_row_of_the_other_version(
    upgrade: Upgrade,
) -> None:
    old_stack, new_stack = AsyncExitStack(), AsyncExitStack()
    old = await old_stack.enter_async_context(upgrade.replica(OLD, "old"))
    reports = Reports([old], Random(1))
    load = asyncio.create_task(reports.run())
    await more(reports, 30)

    new = await new_stack.enter_async_context(upgrade.replica(NEXT, "new"))
    await becomes(new, 200)
    reports.desks.append(new)
    await becomes(old, 503, SUPERSEDED)
    held = "SELECT count(*) FROM kernel.lease WHERE holder = 'old' AND expires_at > now()"
    assert await old.rooms["intake"].service.pool.fetchval(held) == 0
    await more(reports, 50)

    reports.desks.remove(old)
    await old_stack.aclose()
    async with upgrade.replica(OLD, "old") as again:
        await becomes(again, 503, SUPERSEDED)
        refused = await again.clients["intake"].get("/tickets")
        assert (refused.status_code, refused.headers["retry-after"] > "0") == (503, True)
        await more(reports, 20)
        assert await upgrade.live() == NEXT.fingerprint, "a mere restart does not switch back"
    reports.pause.clear()
    await new.settle()
    await upgrade.check(NEXT, reports)
    reports.pause.set()

    async with upgrade.replica(OLD, "older") as older:
        await becomes(older, 200)
        await becomes(new, 503, f"the read model is of fold {OLD.fingerprint[:6]}")
        reports.desks[:] = [older]
        await new_stack.aclose()
        await more(reports, 30)
        reports.stopping = True
        await load
        await older.settle()
        await upgrade.check(OLD, reports)


async def test_an_embedded_desk_takes_up_whichever_version_is_started(upgrade: Upgrade) -> None:
    reports: list[str] = []
    for number, model in enumerate([OLD, NEXT, OLD, OLD, NEXT]):
        async with upgrade.replica(model, "embedded") as desk:
            await becomes(desk, 200)
            reports.append(await desk.report(number))
            await desk.settle()
            assert await upgrade.live() == model.fingerprint
    assert len(reports) == 5


async def test_when_nobody_is_left_of_the_live_version_the_other_takes_over(
    upgrade: Upgrade,
) -> None:
    async with upgrade.replica(OLD, "old") as old:
        await old.report(1)
        async with upgrade.replica(NEXT, "new") as new:
            await becomes(new, 200)
            await becomes(old, 503, SUPERSEDED)
        await becomes(old, 200)
        assert await upgrade.live() == OLD.fingerprint
        await old.report(2)
        await old.settle()


async def test_the_old_version_serves_while_the_new_one_builds_and_says_how_far_it_is(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upgrade.replica(OLD, "old") as old:
        for number in range(12):
            await old.report(number)
        await old.settle()
        monkeypatch.setattr(reading, "BATCH_SIZE_MAX", 4)
        held: list[GatedLog] = []

        def hold(log: Any) -> GatedLog:
            held.append(GatedLog(log, free=2))
            return held[0]

        async with upgrade.replica(NEXT, "new", hold) as new:
            await becomes(new, 503, "rebuilding, ")
            assert " %" in (await readiness(new))[1]
            assert (await new.clients["intake"].get("/health/live")).status_code == 200
            refused = await new.clients["intake"].get("/tickets")
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert "rebuilding" in refused.json()["detail"]

            late = await old.report(12)
            await old.settle()
            assert (await old.clients["intake"].get(f"/tickets/{late}")).status_code == 200
            await becomes(old, 200)
            held[0].gate.set()
            await becomes(new, 200)
            assert (await new.clients["intake"].get(f"/tickets/{late}")).status_code == 200
            await becomes(old, 503, SUPERSEDED)


async def test_a_replica_stopped_while_it_builds_ends_and_leaves_the_old_one_at_work(
    upgrade: Upgrade,
) -> None:
    async with upgrade.replica(OLD, "old") as old:
        await old.report(1)
        await old.settle()
        async with upgrade.replica(NEXT, "new", GatedLog) as new:
            await becomes(new, 503, "rebuilding")
        await old.report(2)
        await old.settle()
        assert (await readiness(old))[0] == 200
        assert await upgrade.live() == OLD.fingerprint


async def test_who_has_not_begun_is_not_ready(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.runtime.service._START_SECONDS", 0.1)
    may_begin = asyncio.Event()

    async def begin(_: Service) -> None:
        await may_begin.wait()

    async with upgrade.replica(READ_MODEL, "one", on_start=begin) as one:
        await becomes(one, 503, "the service begins its work")
        assert (await one.clients["intake"].get("/tickets")).status_code == 503
        may_begin.set()
        await becomes(one, 200, "")
        assert (await one.clients["intake"].get("/tickets")).status_code == 200
