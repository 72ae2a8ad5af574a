"""Filling a read model beside the live one, in chunks of bounded memory.

It goes by partition number, since a stream has one (R1). Each chunk is kept together with the
positions that it reaches, so that what was stopped goes on from there.
"""

import gc
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Final

import asyncpg

from shared.contracts.registry import UndecodableError, decode_record
from shared.log.port import Record, TopicPartition
from shared.postgres.pool import Connection
from shared.replay import schema
from shared.replay.merging import merge_sql, only_newest_sql, parts_of
from shared.replay.reading import Positions
from shared.runtime.read_model import Fold, ReadModel, Table, write

ROWS_MAX: Final = 50_000
"""How many rows are held in memory; a hundred megabytes or so."""
Progress = Callable[[int, int], None]
Read = Callable[[Positions, Positions], AsyncIterator[list[Record]]]
_REACHED: Final = """
INSERT INTO {schema}.fold_position (topic, partition, next_offset)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[])
ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset
"""
_PLAN: Final = """
INSERT INTO {schema}.fold_position (topic, partition, next_offset, until)
SELECT topic, partition, 0, until FROM unnest($1::text[], $2::int[], $3::bigint[])
    planned(topic, partition, until)
"""
_HAS_KEY: Final = """
SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = $1::regclass AND contype = 'p')
"""
_NO_WAIT_FOR_DISK: Final = "SET LOCAL synchronous_commit TO off"


class Shadow:
    """A read model in a schema of its own, on one connection; what is done there is resumed.

    `read` gives the records between two positions.
    """

    def __init__(
        self, connection: Connection, model: ReadModel, name: str, read: Read, progress: Progress
    ) -> None:
        self._connection = connection
        self._model = model
        self._schema = name
        self._read = read
        self._progress = progress
        self._done = 0
        self._total = 0

    async def build(self, until: Positions) -> None:
        """Make the model of all records up to `until`; what was built before it was stopped stays.

        Then the positions may be others: the model is as of those it was begun for.
        """
        state = await schema.fingerprint_of(self._connection, self._schema)
        if state == self._model.fingerprint:
            return
        if state != _unfinished(self._model):
            await self._begin(until)
        places = await self._planned()
        self._total = sum(last for _, last in places.values())
        self._done = sum(position for position, _ in places.values())
        left = {place.partition for place, (first, last) in places.items() if first < last}
        for number in sorted(left):
            await self._fill({p: span for p, span in places.items() if p.partition == number})
        if await self._has_parts():
            await self._merge()  # it was stopped between the last part and this
        for table in self._model.tables:
            await self._close(table)
        async with self._connection.transaction():
            for table in self._model.tables:
                await self._execute(f"DROP TABLE IF EXISTS {self._parts(table)}")
            await schema.finish(self._connection, self._model, self._schema)

    async def catch_up(self, end: Positions) -> int:
        """Apply what came since, as the live consumer does; return how many records."""
        rows = await self._connection.fetch(
            f"SELECT topic, partition, next_offset FROM {self._schema}.fold_position"  # noqa: S608
        )
        start = {TopicPartition(row[0], row[1]): row[2] for row in rows}
        wanted = {p: last for p, last in end.items() if self._model.folds(p.topic)}
        done = 0
        async for records in self._read(start, wanted):
            fold = Fold(self._model)
            _add(fold, records)
            async with self._connection.transaction():
                await self._execute(_NO_WAIT_FOR_DISK)
                await write(self._connection, self._model, fold, self._schema)
                await self._note_reached(_ends(records))
            done += len(records)
        return done

    async def _begin(self, until: Positions) -> None:
        places = [(*p, last) for p, last in until.items() if self._model.folds(p.topic)]
        async with self._connection.transaction():
            await schema.begin(self._connection, self._model, self._schema)
            for table in self._model.tables:
                if not table.is_of_facts:
                    await self._execute(
                        f"CREATE TABLE {self._parts(table)} (LIKE {self._schema}.{table.name})"
                        " WITH (autovacuum_enabled = false)"  # merging goes by where rows lie
                    )
            sql = _PLAN.format(schema=self._schema)
            await self._connection.execute(
                sql, *map(list, zip(*places, strict=True)) if places else ([], [], [])
            )
            await self._execute(f"COMMENT ON SCHEMA {self._schema} IS '{_unfinished(self._model)}'")

    async def _planned(self) -> dict[TopicPartition, tuple[int, int]]:
        rows = await self._connection.fetch(
            f"SELECT topic, partition, next_offset, until FROM {self._schema}.fold_position"  # noqa: S608
        )
        return {TopicPartition(row[0], row[1]): (row[2], row[3]) for row in rows}

    async def _fill(self, spans: dict[TopicPartition, tuple[int, int]]) -> None:
        """Fold one partition number: copied at once if it is small, else in parts, to be merged."""
        in_parts = await self._has_parts()
        fold = Fold(self._model)
        start = {place: first for place, (first, _) in spans.items()}
        reached = dict(start)
        async for records in self._read(start, {place: last for place, (_, last) in spans.items()}):
            _add(fold, records)
            reached |= _ends(records)
            self._done += len(records)
            self._progress(self._done, self._total)
            if fold.size >= ROWS_MAX:
                await self._keep(fold, reached, in_parts=True)
                fold, in_parts = Fold(self._model), True
        await self._keep(fold, reached, in_parts=in_parts)
        if in_parts:
            await self._merge()

    async def _keep(
        self, fold: Fold, reached: dict[TopicPartition, int], *, in_parts: bool
    ) -> None:
        async with self._connection.transaction():
            await self._execute(_NO_WAIT_FOR_DISK)
            for table in self._model.tables:
                is_whole = table.is_of_facts or not in_parts
                await self._connection.copy_records_to_table(
                    table.name if is_whole else parts_of(table),
                    schema_name=self._schema,
                    columns=[column.name for column in table.columns],
                    records=fold.rows(table),
                )
            await self._note_reached(reached)

    async def _merge(self) -> None:
        async with self._connection.transaction():
            await self._execute(_NO_WAIT_FOR_DISK)
            for table in self._model.tables:
                if not table.is_of_facts:
                    await self._execute(merge_sql(table, self._schema))
                    await self._execute(f"TRUNCATE {self._parts(table)}")

    async def _has_parts(self) -> bool:
        """Say whether a partition number was left in parts; those of another are merged by then."""
        tables = [table for table in self._model.tables if not table.is_of_facts]
        some = " OR ".join(f"EXISTS (SELECT FROM {self._parts(table)})" for table in tables)
        return bool(tables) and await self._connection.fetchval(f"SELECT {some}")

    async def _close(self, table: Table) -> None:
        """Give the table its key and its indexes, once."""
        name = f"{self._schema}.{table.name}"
        if await self._connection.fetchval(_HAS_KEY, name):
            return
        try:
            await self._index(table)
        except asyncpg.UniqueViolationError:
            # The log holds a record twice, or a stream in two partitions: their number was raised.
            async with self._connection.transaction():
                if table.is_of_facts:
                    await self._execute(only_newest_sql(table, self._schema))
                else:
                    await self._execute(f"INSERT INTO {self._parts(table)} TABLE {name}")
                    await self._execute(f"TRUNCATE {name}")
                    await self._execute(merge_sql(table, self._schema))
            await self._index(table)

    async def _index(self, table: Table) -> None:
        async with self._connection.transaction():
            for statement in table.index_sql(self._schema):
                await self._execute(statement)

    async def _note_reached(self, reached: Positions) -> None:
        sql = _REACHED.format(schema=self._schema)
        places = list(reached)
        await self._connection.execute(
            sql, [p.topic for p in places], [p.partition for p in places], list(reached.values())
        )

    def _parts(self, table: Table) -> str:
        return f"{self._schema}.{parts_of(table)}"

    async def _execute(self, statement: str) -> None:
        await self._connection.execute(statement)


@contextmanager
def _uncollected() -> Generator[None]:
    """Pause garbage collection: it would look at all the rows again and find no cycle in them.

    Not across an await: others work in this process meanwhile, and make cycles.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _unfinished(model: ReadModel) -> str:
    return f"unfinished {model.fingerprint}"


def _add(fold: Fold, records: Sequence[Record]) -> None:
    """Fold records the way the live consumer does; what it parks is left out here too."""
    with _uncollected():
        for record in records:
            try:
                fold.add(decode_record(record))
            except UndecodableError:
                continue


def _ends(records: Sequence[Record]) -> dict[TopicPartition, int]:
    """Return up to where these records reach, in each partition."""
    last = {(record.topic, record.partition): record.offset for record in records}
    return {TopicPartition(*place): offset + 1 for place, offset in last.items()}
