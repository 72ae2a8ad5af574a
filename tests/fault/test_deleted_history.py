"""A topic whose history was deleted: noticed, refused, and rebuilt from the archive."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from services.host import ROOMS
from shared.errors import UnavailableError
from shared.log.archived import ArchivedLog
from shared.log.embedded import EmbeddedLog
from shared.log.port import TopicPartition
from shared.postgres.pool import open_pool
from shared.replay.rebuild import rebuild, verify
from shared.runtime.read_model import ReadModel
from shared.runtime.service import Service


class Shortened(EmbeddedLog):
    """An embedded log of which an admin deleted the beginning, as Kafka's tools can."""

    async def delete_before(self, topic: str, partition: int, offset: int) -> None:
        """Delete records of one partition."""
        await self.pool.execute(
            "DELETE FROM record WHERE topic = $1 AND partition = $2 AND record_offset < $3",
            topic,
            partition,
            offset,
        )

    async def begin_offsets(self, topics: object) -> dict[TopicPartition, int]:
        """See `Log.begin_offsets`."""
        rows = await self.pool.fetch(
            "SELECT p.topic, p.partition, coalesce(min(record_offset), p.next_offset) AS n"
            " FROM partition p LEFT JOIN record r USING (topic, partition)"
            " WHERE topic = ANY($1::text[]) GROUP BY p.topic, p.partition, p.next_offset",
            topics,
        )
        return {TopicPartition(row["topic"], row["partition"]): row["n"] for row in rows}


async def replay(
    desk: InProcessDesk, name: str, *, from_archive: bool, rebuilding: bool = False
) -> bool:
    """Verify (or rebuild, then verify) one service's read model; say whether all agrees."""
    model: ReadModel = ROOMS[name]().spec.read_model
    pool = await open_pool(desk.dsns[name], role="desk_replay", name="test", size_max=1)
    kept = await open_pool(desk.dsns["reporting"], role="desk_replay", name="test", size_max=1)
    try:
        archive = ArchivedLog(kept) if from_archive else None
        if rebuilding:
            await rebuild(model, desk.log, pool, archive=archive)
        verdicts = await verify(model, desk.log, pool, archive=archive)
        return all(verdict.agrees for verdict in verdicts)
    finally:
        await pool.close()
        await kept.close()


async def test_deleted_history_is_refused_and_comes_back_from_the_archive(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    log = Shortened(make_database("log"))
    await log.open()
    try:
        async with in_process_desk(make_database, tmp_path, log=log) as desk:
            acknowledged = {await desk.report(number) for number in range(20)}
            await desk.settle()
            await desk.check(acknowledged)
            await log.delete_before("ticket.created", 0, 3)
            await log.delete_before("ticket.prioritized", 1, 10**6)
            with pytest.raises(UnavailableError, match=r"ticket\.created-0 begins at offset 3"):
                await replay(desk, "intake", from_archive=False)
            connection = await asyncpg.connect(desk.dsns["intake"])
            await connection.execute("UPDATE read.board SET title = 'altered'")
            assert not await replay(desk, "intake", from_archive=True), "a change is still found"
            assert await replay(desk, "intake", from_archive=True, rebuilding=True)
            titles = await connection.fetchval("SELECT count(DISTINCT title) FROM read.board")
            await connection.close()
            assert titles == len(acknowledged)
            for name in ROOMS:
                assert await replay(desk, name, from_archive=True), name
    finally:
        await log.close()


async def test_what_was_deleted_unread_is_an_alarm_and_is_passed_by_a_rebuild_from_the_archive(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    log = Shortened(make_database("log"))
    await log.open()
    try:
        async with in_process_desk(
            make_database, tmp_path, log=log, services=["intake", "reporting"]
        ) as desk:
            acknowledged = {await desk.report(number) for number in range(10)}
            await desk.settle()
            late = make_database("routing")
            await log.delete_before("ticket.created", 0, 2)
            await log.delete_before("ticket.created", 1, 2)
            async with in_process_desk(
                make_database, tmp_path, log=log, dsns={"routing": late}
            ) as second:
                service = second.rooms["routing"].service
                async with asyncio.timeout(20):
                    while not (trouble := await trouble_of(service)):
                        await asyncio.sleep(0.05)
                assert "begins at offset 2 in the log, and only 0 were read" in trouble
                desk.dsns = {**desk.dsns, "routing": late}
                assert await replay(desk, "routing", from_archive=True, rebuilding=True)
                async with asyncio.timeout(30):
                    while await trouble_of(service):
                        await asyncio.sleep(0.05)
                await second.settle()
                tickets = await service.pool.fetchval(
                    "SELECT count(*) FROM read.history WHERE type = 'ticket.created'"
                )
                assert tickets == len(acknowledged)
    finally:
        await log.close()


async def trouble_of(service: Service) -> str | None:
    try:
        await service.check_loops()
    except UnavailableError as error:
        return error.detail if "begins at offset" in error.detail else None
    return None
