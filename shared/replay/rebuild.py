"""Rebuilding a read model from the log beside the live one, and comparing the two.

All of it runs as the replay role, which cannot write journal, outbox, timers or deliveries (R8).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.errors import UnavailableError
from shared.log.archived import ArchivedLog
from shared.log.port import Log, Record, TopicPartition
from shared.postgres.pool import Connection, Pool
from shared.replay import schema
from shared.replay.claim import may_claim, note_run
from shared.replay.compare import Difference, TableComparison, compare
from shared.replay.reading import BATCH_SIZE_MAX, Positions, read_log
from shared.replay.shadow import Progress, Read, Shadow
from shared.runtime.crash import crash_point
from shared.runtime.fence import stop_all, superseded
from shared.runtime.read_model import ReadModel

__all__ = ["Difference", "TableComparison", "ensure", "read_log", "rebuild", "verify"]

_LOCK_KEY: Final = 0x666F6C64  # "fold": one builds and switches at a time
_TRY_LOCK: Final = "SELECT pg_try_advisory_lock($1)"
_LOOK_IN_SECONDS: Final = 0.25
_ROUNDS_MAX: Final = 10


def _no_progress(_done: int, _total: int) -> None:
    return


async def applied_positions(connection: Connection) -> dict[TopicPartition, int]:
    """Return how far the live read model is, as the current snapshot sees it."""
    rows = await connection.fetch(
        "SELECT topic, partition, next_offset FROM kernel.consumer_offset WHERE next_offset > 0"
    )
    return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


def _reader_of(log: Log, archive: ArchivedLog | None) -> Read:
    def read(start: Positions, end: Positions) -> AsyncIterator[list[Record]]:
        return read_log(log, start, end, archive)

    return read


async def verify(
    model: ReadModel,
    log: Log,
    pool: Pool,
    progress: Progress = _no_progress,
    archive: ArchivedLog | None = None,
) -> list[TableComparison]:
    """Rebuild every table beside the live one and compare both at one instant.

    Offsets and rows are read in one snapshot, so the desk may go on working meanwhile; but that
    snapshot lasts as long as the rebuild, and dead rows are not cleared away before. Leaves nothing
    behind.

    Raises: UnavailableError when the live model is another version's.
    """
    async with pool.acquire() as connection:
        transaction = connection.transaction(isolation="repeatable_read")
        await transaction.start()
        try:
            live = await schema.live_fingerprint(connection)
            if live != model.fingerprint:
                raise UnavailableError(superseded(live, model.fingerprint))
            end = await applied_positions(connection)
            shadow = Shadow(connection, model, schema.CHECK, _reader_of(log, archive), progress)
            await shadow.build(end)
            return [await compare(connection, table, schema.CHECK) for table in model.tables]
        finally:
            await transaction.rollback()


async def rebuild(
    model: ReadModel,
    log: Log,
    pool: Pool,
    progress: Progress = _no_progress,
    archive: ArchivedLog | None = None,
) -> Positions:
    """Rebuild the model and put it in the place of the live one, which is kept for rollback.

    Works while the desk runs: the consumers are held still only for the records that came
    meanwhile. One that was stopped goes on where it was. Returns the positions at which it was
    switched. Records that the log lost before they were read are folded from the archive; nobody
    reacts to them.
    """
    async with building(pool) as connection:
        return await _rebuild(connection, model, log, progress, archive)


@asynccontextmanager
async def building(pool: Pool) -> AsyncGenerator[Connection]:
    """Lend the connection of the one who may build and switch now; wait for whoever does.

    All that is written must go over this connection: if it breaks, the lock is lost, and what was
    under way is undone with it. Waiting looks in from time to time, for a statement that waits in
    the database would keep dead rows from being cleared away.
    """
    async with pool.acquire() as connection:
        while not await connection.fetchval(_TRY_LOCK, _LOCK_KEY):  # noqa: ASYNC110 it does not call
            await asyncio.sleep(_LOOK_IN_SECONDS)
        yield connection  # the pool unlocks what comes back to it


async def _rebuild(
    connection: Connection,
    model: ReadModel,
    log: Log,
    progress: Progress,
    archive: ArchivedLog | None = None,
    holder: str | None = None,
) -> Positions:
    read = _reader_of(log, archive)
    shadow = Shadow(connection, model, schema.SHADOW, read, progress)
    await shadow.build(await applied_positions(connection))
    for _ in range(_ROUNDS_MAX):
        if await shadow.catch_up(await applied_positions(connection)) <= BATCH_SIZE_MAX:
            break
    async with connection.transaction():
        await stop_all(connection)
        end = await applied_positions(connection)
        if archive is not None:
            end |= await _pass_gaps(connection, log)
        await shadow.catch_up(end)
        crash_point("rebuild.before_switch")
        await schema.switch(connection, model)
        if holder is not None:
            await note_run(connection, holder, model.fingerprint)
        return end


async def _pass_gaps(connection: Connection, log: Log) -> dict[TopicPartition, int]:
    """Move the consumers on to where the log begins, and return which positions that changed."""
    rows = await connection.fetch(
        "SELECT topic, partition, next_offset FROM kernel.consumer_offset"
    )
    begins = await log.begin_offsets(sorted({row["topic"] for row in rows}))
    passed = {
        place: begin
        for row in rows
        if (begin := begins.get(place := TopicPartition(row[0], row[1]), 0)) > row["next_offset"]
    }
    await connection.executemany(
        "UPDATE kernel.consumer_offset SET next_offset = $3 WHERE topic = $1 AND partition = $2",
        [(*place, begin) for place, begin in passed.items()],
    )
    return passed


async def ensure(
    model: ReadModel,
    log: Log,
    pool: Pool,
    progress: Progress = _no_progress,
    *,
    holder: str | None = None,
) -> bool:
    """Make the live read model fit this version of the program; say whether it was rebuilt.

    Of those who start at once, one builds; the others wait and find it done. A `holder` builds only
    if it may take another version's place (see `claim`). What was live before only catches up.
    """
    async with pool.acquire() as connection:
        if await schema.live_fingerprint(connection) == model.fingerprint:
            return False
    async with building(pool) as connection:
        live = await schema.live_fingerprint(connection)
        if live == model.fingerprint:
            return False
        if holder is not None and not await may_claim(connection, holder, model.fingerprint):
            return False
        if live is None and not await applied_positions(connection):
            async with connection.transaction():
                await schema.create(connection, model, schema.LIVE)
            return False
        await schema.take_previous(connection, model)
        await _rebuild(connection, model, log, progress, holder=holder)
        return True
