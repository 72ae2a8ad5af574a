"""Rebuilding a read model from the log: fold in memory, COPY beside the live one, compare, switch.

All of it runs as the replay role, which cannot write journal, outbox, timers or deliveries (R8).
"""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import msgspec

from shared.contracts.registry import UndecodableError, decode_record
from shared.errors import UnavailableError
from shared.log.archived import ArchivedLog
from shared.log.port import Log, Record, TopicPartition
from shared.postgres.pool import Connection, Pool
from shared.replay import schema
from shared.replay.claim import may_claim, note_run
from shared.runtime.crash import crash_point
from shared.runtime.fence import name_fold, stop_all
from shared.runtime.read_model import Fold, ReadModel, Table, write

BATCH_SIZE_MAX: Final = 5_000
_PATIENCE_SECONDS: Final = 20
_LOCK_KEY: Final = 0x666F6C64  # "fold": one builds and switches at a time
_TRY_LOCK: Final = "SELECT pg_try_advisory_lock($1)"
_LOOK_IN_SECONDS: Final = 0.25
Positions = Mapping[TopicPartition, int]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where a table and its rebuild differ; `event` is the guard's sequence."""

    key: str
    column: str
    live: str | None
    rebuilt: str | None
    event: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One read table against its rebuild."""

    table: str
    rows: int
    live_digest: str
    rebuilt_digest: str
    difference: Difference | None

    @property
    def agrees(self) -> bool:
        """Whether both are the same, row for row."""
        return self.difference is None and self.live_digest == self.rebuilt_digest


def _no_progress(_done: int, _total: int) -> None:
    return


async def applied_positions(connection: Connection) -> dict[TopicPartition, int]:
    """Return how far the live read model is, as the current snapshot sees it."""
    rows = await connection.fetch(
        "SELECT topic, partition, next_offset FROM kernel.consumer_offset WHERE next_offset > 0"
    )
    return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def read_log(
    log: Log, start: Positions, end: Positions, archive: ArchivedLog | None = None
) -> AsyncIterator[list[Record]]:
    """Yield the records from `start` (0 where not named) up to `end`, in batches.

    With an archive, what it holds comes from there and only the rest from the log.

    Raises: UnavailableError when the log stops giving what it should still hold, or no longer
    holds what is wanted: an admin deleted history, which the archive still has.
    """
    topics = sorted({place.topic for place in end})
    if archive is not None:
        held = await archive.end_offsets(topics)
        archived = {place: min(last, held.get(place, 0)) for place, last in end.items()}
        async for records in _read(archive, start, archived):
            yield records
        start = {place: max(start.get(place, 0), last) for place, last in archived.items()}
    for place, begin in sorted((await log.begin_offsets(topics)).items()):
        if start.get(place, 0) < min(begin, end.get(place, 0)):
            raise UnavailableError(
                f"{place.topic}-{place.partition} begins at offset {begin} in the log; what was"
                " before is in the archive: --from-archive"
            )
    async for records in _read(log, start, end):
        yield records


async def _read(
    source: Log | ArchivedLog, start: Positions, end: Positions
) -> AsyncIterator[list[Record]]:
    left = {place: last for place, last in end.items() if last > start.get(place, 0)}
    reader = source.reader("replay")
    try:
        await reader.assign({place: start.get(place, 0) for place in left})
        while left:
            records = await reader.fetch(records_max=BATCH_SIZE_MAX, wait_seconds=_PATIENCE_SECONDS)
            if not records:
                raise UnavailableError(f"the log gives no more; missing: {min(left)}")
            yield [r for r in records if r.offset < end[r.topic, r.partition]]  # pyright: ignore[reportArgumentType] a place is a tuple
            for place, offset in {(r.topic, r.partition): r.offset for r in records}.items():
                if offset + 1 >= end[place]:  # pyright: ignore[reportArgumentType]
                    left.pop(TopicPartition(*place), None)
    finally:
        await reader.close()


async def fold_log(
    fold: Fold, batches: AsyncIterator[list[Record]], progress: Progress, total: int
) -> Fold:
    """Fold records the way the live consumer does; what it parks is left out here too."""
    done = 0
    with _uncollected():
        async for records in batches:
            for record in records:
                try:
                    event = decode_record(record)
                except UndecodableError:
                    continue
                fold.add(event)
            done += len(records)
            progress(done, total)
    return fold


@contextmanager
def _uncollected() -> Generator[None]:
    """Pause garbage collection: it would look at all the rows again and find no cycle in them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def verify(
    model: ReadModel,
    log: Log,
    pool: Pool,
    progress: Progress = _no_progress,
    archive: ArchivedLog | None = None,
) -> list[Verdict]:
    """Rebuild every table beside the live one and compare both at one instant.

    Offsets and rows are read in one snapshot, so the desk may go on working meanwhile. Leaves
    nothing behind.
    """
    async with pool.acquire() as connection:
        transaction = connection.transaction(isolation="repeatable_read")
        await transaction.start()
        try:
            end = await applied_positions(connection)
            records = read_log(log, {}, end, archive)
            fold = await fold_log(Fold(model), records, progress, sum(end.values()))
            await schema.create(connection, model, schema.SHADOW, fold)
            return [await _compare(connection, table) for table in model.tables]
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
    meanwhile. Returns the positions at which it was switched. Records that the log lost before they
    were read are folded from the archive; nobody reacts to them.
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
    until = await applied_positions(connection)
    records = read_log(log, {}, until, archive)
    fold = await fold_log(Fold(model), records, progress, sum(until.values()))
    async with connection.transaction():
        await schema.create(connection, model, schema.SHADOW, fold)
    async with connection.transaction():
        await stop_all(connection)
        end = await applied_positions(connection)
        if archive is not None:
            end |= await _pass_gaps(connection, log)
        records = read_log(log, until, end, archive)
        late = await fold_log(Fold(model), records, progress, sum(end.values()))
        await write(connection, model, late, schema.SHADOW)
        crash_point("rebuild.before_switch")
        await switch(connection, model, holder)
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


async def switch(connection: Connection, model: ReadModel, holder: str | None = None) -> None:
    """Make the shadow schema the live one, in the caller's transaction; by `holder`, if any."""
    await connection.execute(f"DROP SCHEMA IF EXISTS {schema.PREVIOUS} CASCADE")
    if await schema.fingerprint_of(connection, schema.LIVE) is not None:
        await connection.execute(f"ALTER SCHEMA {schema.LIVE} RENAME TO {schema.PREVIOUS}")
    await connection.execute(f"ALTER SCHEMA {schema.SHADOW} RENAME TO {schema.LIVE}")
    await name_fold(connection, model.fingerprint)
    if holder is not None:
        await note_run(connection, holder, model.fingerprint)


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
    if it may take another version's place (see `claim`).
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
        await _rebuild(connection, model, log, progress, holder=holder)
        return True


def digest_sql(name: str, columns: list[str]) -> str:
    """Return the query for a table's row count and its digest, whatever the order of rows."""
    row = f"md5(ROW({', '.join(columns)})::text)"
    digest = f"md5(coalesce(string_agg({row}, '' ORDER BY {row}), ''))"
    return f"SELECT count(*) AS rows, {digest} AS digest FROM {name}"  # noqa: S608 names are ours


async def _compare(connection: Connection, table: Table) -> Verdict:
    columns = [column.name for column in table.columns]
    live = await connection.fetchrow(digest_sql(f"{schema.LIVE}.{table.name}", columns))
    rebuilt = await connection.fetchrow(digest_sql(f"{schema.SHADOW}.{table.name}", columns))
    if live is None or rebuilt is None:
        raise UnavailableError(f"no digest of {table.name}")
    difference = None
    if live["digest"] != rebuilt["digest"]:
        difference = await _first_difference(connection, table)
    return Verdict(table.name, live["rows"], live["digest"], rebuilt["digest"], difference)


async def _first_difference(connection: Connection, table: Table) -> Difference | None:
    keys = ", ".join(table.key)
    row = await connection.fetchrow(
        f"SELECT to_jsonb(l) AS live, to_jsonb(r) AS rebuilt"  # noqa: S608 names are ours
        f" FROM {schema.LIVE}.{table.name} l"
        f" FULL JOIN {schema.SHADOW}.{table.name} r USING ({keys})"
        f" WHERE l IS DISTINCT FROM r ORDER BY {keys} LIMIT 1"
    )
    if row is None:
        return None
    live: dict[str, object] = row["live"] or {}
    rebuilt: dict[str, object] = row["rebuilt"] or {}
    guard = ""
    for column in table.columns:
        name = column.name
        if name.endswith("_seq"):
            guard = name
        if live.get(name) != rebuilt.get(name):
            known = live or rebuilt
            return Difference(
                key=", ".join(str(known[key]) for key in table.key),
                column=name,
                live=_shown(live.get(name)),
                rebuilt=_shown(rebuilt.get(name)),
                event=f"{guard} live {live.get(guard)}, rebuilt {rebuilt.get(guard)}",
            )
    return None


def _shown(value: object) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
