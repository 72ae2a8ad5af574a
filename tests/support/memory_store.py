"""The kernel's database in memory, as far as the kernel can tell it from PostgreSQL.

It knows the kernel's statements by their text and carries them out at READ COMMITTED: a statement
sees what was committed, and its transaction's own writes; rows written are locked until the
transaction ends; who waits for a row looks at it again afterwards. Every statement and every commit
is a point at which a simulation may switch to another task, or kill the one that asks.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import combinations, count
from operator import gt
from typing import Any

import asyncpg

from shared.journal import journal, relay, snapshots
from shared.runtime import consumer, fence, leases, read_model, timers, unit
from shared.runtime.read_model import ReadModel, Table, Upsert
from support.memory_log import Pause, no_pause

Key = tuple[str, Any]
Statement = Callable[..., Awaitable[list["Row"]]]


class Row(tuple[Any, ...]):
    """A row by place and by name, as asyncpg gives it."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, **columns: Any) -> "Row":
        """Return a row with those columns."""
        row = cls(columns.values())
        row.names = tuple(columns)
        return row

    def __getitem__(self, key: Any) -> Any:
        """Return a column."""
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)


class Transaction:
    """What one transaction has written and not committed; None stands for a deleted row."""

    def __init__(self, store: "MemoryStore") -> None:
        self._store = store
        self.began_at = store.now()  # what now() says until the end
        self.writes: dict[Key, Any] = {}
        self.ended = asyncio.Event()
        self.waits_for: Transaction | None = None

    def get(self, table: str, key: Any) -> Any:
        """Return a row, None if there is none."""
        if (table, key) in self.writes:
            return self.writes[table, key]
        return self._store.tables.setdefault(table, {}).get(key)

    def scan(self, table: str) -> Iterator[tuple[Any, Any]]:
        """Yield key and row of the whole table."""
        own = {key: row for (name, key), row in self.writes.items() if name == table}
        seen = {**self._store.tables.setdefault(table, {}), **own}
        return ((key, row) for key, row in seen.items() if row is not None)

    async def lock(self, table: str, key: Any) -> None:
        """Wait until no other transaction has a write on the row, and keep others from it.

        Raises: asyncpg.DeadlockDetectedError when they wait for one another.
        """
        while (holder := self._store.locks.get((table, key))) not in {None, self}:
            assert holder is not None
            link: Transaction | None = holder
            while link is not None:
                if link is self:
                    raise asyncpg.DeadlockDetectedError("two transactions wait for one another")
                link = link.waits_for
            self.waits_for = holder
            await holder.ended.wait()
            self.waits_for = None
        self._store.locks[table, key] = self

    def put(self, table: str, key: Any, row: Any) -> None:
        """Write a row that is locked; None deletes it."""
        self.writes[table, key] = row

    def end(self, *, commit: bool) -> None:
        """Let others see the writes, or forget them."""
        for (table, key), row in self.writes.items() if commit else ():
            rows = self._store.tables.setdefault(table, {})
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        for place in [place for place, holder in self._store.locks.items() if holder is self]:
            del self._store.locks[place]
        self.ended.set()


class MemoryStore:
    """One service's database. `now` is the server's clock; `model` its read model."""

    def __init__(self, now: Callable[[], datetime], model: ReadModel | None = None) -> None:
        self.now = now
        self.tables: dict[str, dict[Any, Any]] = {}
        self.locks: dict[Key, Transaction] = {}
        self.outbox_ids = count(1)
        self.statements: dict[str, Statement] = {**KERNEL}
        if model is not None:
            self.tables["live_fold"] = {True: model.fingerprint}
        for table in model.tables if model is not None else ():
            for upsert in upserts(table):
                self.statements[upsert.sql] = upsert_of(upsert)

    def pool(self, pause: Pause = no_pause) -> "MemoryPool":
        """Return a pool for one replica; `pause` is awaited at every point of switching."""
        return MemoryPool(self, pause)

    def rows(self, table: str) -> dict[Any, Any]:
        """Return what is committed."""
        return self.tables.setdefault(table, {})


class MemoryPool:
    """Stands where an asyncpg pool stands."""

    def __init__(self, store: MemoryStore, pause: Pause) -> None:
        self._store = store
        self._pause = pause

    @asynccontextmanager
    async def acquire(self) -> "AsyncGenerator[MemoryConnection]":
        """Lend a connection."""
        yield MemoryConnection(self._store, self._pause)

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:
        """Run one statement in a transaction of its own."""
        return await MemoryConnection(self._store, self._pause).fetch(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """Return the first column of the first row."""
        return await MemoryConnection(self._store, self._pause).fetchval(sql, *arguments)

    async def execute(self, sql: str, *arguments: Any) -> str:
        """Return the command's tag."""
        return await MemoryConnection(self._store, self._pause).execute(sql, *arguments)


class MemoryConnection:
    """Stands where an asyncpg connection stands."""

    def __init__(self, store: MemoryStore, pause: Pause) -> None:
        self._store = store
        self._pause = pause
        self._transaction: Transaction | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """Commit at the end, or roll back when anything goes wrong, a kill included."""
        own = self._transaction = Transaction(self._store)
        try:
            yield
            await self._pause()
        except BaseException:
            own.end(commit=False)
            raise
        else:
            own.end(commit=True)
        finally:
            self._transaction = None
        await self._pause()

    async def fetch(self, sql: str, *arguments: Any) -> list[Row]:
        """Run a statement. Raises: KeyError for one that the kernel did not have before."""
        run = self._store.statements[sql]
        if self._transaction is not None:
            await self._pause()
            return await run(self._store, self._transaction, *arguments)
        async with self.transaction():
            return await run(self._store, self._transaction, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """Return the first column of the first row."""
        rows = await self.fetch(sql, *arguments)
        return rows[0][0] if rows else None

    async def execute(self, sql: str, *arguments: Any) -> str:
        """Return the command's tag, with the number of rows it touched."""
        return f"UPDATE {len(await self.fetch(sql, *arguments))}"


async def _append(store: MemoryStore, tx: Transaction, *columns: Sequence[Any]) -> list[Row]:
    rows = list(zip(*columns, strict=True))
    begun: dict[str, bool] = {}
    for stream, sequence, event_type, value in sorted(rows, key=lambda row: row[:2]):
        if stream not in begun:
            begun[stream] = sequence == 1 or tx.get("journal", (stream, sequence - 1)) is not None
            if begun[stream]:
                await tx.lock("journal", (stream, sequence))
                begun[stream] = tx.get("journal", (stream, sequence)) is None
        if begun[stream]:
            await tx.lock("journal", (stream, sequence))
            tx.put("journal", (stream, sequence), (event_type, value))
    for stream, sequence, _type, _value in rows:
        if begun[stream]:
            tx.put("outbox", next(store.outbox_ids), (stream, sequence))
    there = [stream for stream, is_begun in begun.items() if is_begun]
    return [Row.of(array_agg=there)] if there else []


async def _read_journal(_: MemoryStore, tx: Transaction, streams: Sequence[str]) -> list[Row]:
    return [
        Row.of(stream_id=stream, type=event_type, value=value)
        for (stream, _n), (event_type, value) in sorted(tx.scan("journal"), key=lambda r: r[0])
        if stream in streams
    ]


async def _read_past(
    _: MemoryStore, tx: Transaction, streams: Sequence[str], version: int
) -> list[Row]:
    found: list[Row] = []
    for asked in streams:
        taken, kept = tx.get("snapshot", (asked, version)) or (None, None)
        events = [
            event
            for (stream, sequence), event in tx.scan("journal")
            if stream == asked and (sequence > (taken or 0) or sequence in (kept or ()))
        ]
        found += [
            Row.of(stream_id=asked, taken=taken, kept=kept, type=event_type, value=value)
            for event_type, value in events or [(None, None)]
        ]
    return found


async def _recall(
    _: MemoryStore, tx: Transaction, streams: Sequence[str], version: int, keys: Sequence[str]
) -> list[Row]:
    found: list[Row] = []
    for stream, key in zip(streams, keys, strict=True):
        sequence = tx.get("snapshot_key", (stream, version, key))
        event = None if sequence is None else tx.get("journal", (stream, sequence))
        if event is not None:
            found.append(Row.of(stream_id=stream, type=event[0], value=event[1]))
    return found


async def _take_snapshot(
    _: MemoryStore,
    tx: Transaction,
    stream: str,
    version: int,
    taken: int,
    kept: Sequence[int],
    *keyed: Sequence[Any],
) -> list[Row]:
    await tx.lock("snapshot", (stream, version))
    if (tx.get("snapshot", (stream, version)) or (0,))[0] < taken:
        tx.put("snapshot", (stream, version), (taken, kept))
    for key, sequence in zip(*keyed, strict=True):
        await tx.lock("snapshot_key", (stream, version, key))
        if (tx.get("snapshot_key", (stream, version, key)) or 0) < sequence:
            tx.put("snapshot_key", (stream, version, key), sequence)
    return await _drop_snapshots(tx, lambda s, v: s == stream and v < version)


async def _forget(_: MemoryStore, tx: Transaction, stream: str, version: int) -> list[Row]:
    return await _drop_snapshots(tx, lambda s, v: (s, v) == (stream, version))


async def _drop_snapshots(tx: Transaction, is_meant: Callable[[str, int], bool]) -> list[Row]:
    for table in ("snapshot", "snapshot_key"):
        for key, _row in list(tx.scan(table)):
            if is_meant(*key[:2]):
                await tx.lock(table, key)
                tx.put(table, key, None)
    return []


def outbox_rows(tx: Transaction, after: int, limit: int) -> list[Row]:
    """Return the outbox from behind an id on, with what the journal has of it."""
    found: list[Row] = []
    for number, (stream, sequence) in sorted(tx.scan("outbox"), key=lambda row: row[0]):
        if number > after and len(found) < limit:
            event_type, value = tx.get("journal", (stream, sequence))
            found.append(Row.of(id=number, type=event_type, stream_id=stream, value=value))
    return found


async def _next(_: MemoryStore, tx: Transaction, limit: int, _bytes: int) -> list[Row]:
    return outbox_rows(tx, 0, limit)


async def _sent(_: MemoryStore, tx: Transaction, numbers: Sequence[int]) -> list[Row]:
    for number in numbers:
        await tx.lock("outbox", number)
        tx.put("outbox", number, None)
    return []


async def _load(
    _: MemoryStore, tx: Transaction, topics: Sequence[str], partitions: Sequence[int]
) -> list[Row]:
    found: list[Row] = []
    for place in zip(topics, partitions, strict=True):
        if tx.get("offset", place) is None:
            await tx.lock("offset", place)
            if tx.get("offset", place) is None:
                tx.put("offset", place, 0)
        offset = tx.get("offset", place)
        found.append(Row.of(topic=place[0], partition=place[1], next_offset=offset))
    return found


async def _applied(_: MemoryStore, tx: Transaction) -> list[Row]:
    return [
        Row.of(topic=place[0], partition=place[1], next_offset=offset)
        for place, offset in tx.scan("offset")
    ]


async def _hold(_: MemoryStore, tx: Transaction, fingerprint: str) -> list[Row]:
    live = tx.get("live_fold", True)
    return [Row.of(fingerprint=live)] if live == fingerprint else []


async def _move(store: MemoryStore, tx: Transaction, *arguments: Any) -> list[Row]:
    *columns, fingerprint = arguments
    moved: list[Row] = []
    if not await _hold(store, tx, fingerprint):
        return moved
    for topic, partition, before, after in zip(*columns, strict=True):
        await tx.lock("offset", (topic, partition))
        if tx.get("offset", (topic, partition)) == before:
            tx.put("offset", (topic, partition), after)
            moved.append(Row.of(topic=topic))
    return moved


async def _take(_: MemoryStore, tx: Transaction, name: str, holder: str, ttl: float) -> list[Row]:
    await tx.lock("lease", name)
    held = tx.get("lease", name)
    if held is not None and held[0] != holder and held[2] >= tx.began_at:
        return []
    token = 1 if held is None else held[1] + (held[0] != holder)
    tx.put("lease", name, (holder, token, tx.began_at + timedelta(seconds=ttl)))
    return [Row.of(token=token)]


async def _release(_: MemoryStore, tx: Transaction, holder: str, names: Sequence[str]) -> list[Row]:
    for name, held in list(tx.scan("lease")):
        if held[0] == holder and name in names:
            await tx.lock("lease", name)
            tx.put("lease", name, (holder, held[1], tx.began_at))
    return []


async def _live(_: MemoryStore, tx: Transaction, pattern: str) -> list[Row]:
    return [
        Row.of(name=name, holder=held[0])
        for name, held in tx.scan("lease")
        if held[2] >= tx.began_at and name.startswith(pattern.rstrip("%"))
    ]


async def _nothing(_: MemoryStore, _tx: Transaction) -> list[Row]:
    return []


async def _disarm(
    _: MemoryStore, tx: Transaction, streams: Sequence[str], *kept: Sequence[str]
) -> list[Row]:
    keep = set(zip(*kept, strict=True))
    for key, _row in list(tx.scan("timer")):
        if key[0] in streams and key not in keep:
            await tx.lock("timer", key)
            tx.put("timer", key, None)
    return []


async def _arm(_: MemoryStore, tx: Transaction, *columns: Any) -> list[Row]:
    *keys, dues, now = columns
    for stream, name, due in zip(*keys, dues, strict=True):
        await tx.lock("timer", (stream, name))
        tx.put("timer", (stream, name), (due, now))
    return []


async def _next_due(_: MemoryStore, tx: Transaction, until: datetime) -> list[Row]:
    due = [max(row) for _key, row in tx.scan("timer") if max(row) <= until]
    return [Row.of(min=min(due, default=None))]


async def _claim(store: MemoryStore, tx: Transaction, until: datetime, limit: int) -> list[Row]:
    claimed: list[Row] = []
    for key, row in sorted(tx.scan("timer"), key=lambda timer: max(timer[1])):
        is_locked = store.locks.get(("timer", key)) not in {None, tx}
        if max(row) <= until and not is_locked and len(claimed) < limit:
            await tx.lock("timer", key)
            tx.put("timer", key, None)
            claimed.append(Row.of(stream_id=key[0], name=key[1], due_at=row[0]))
    return claimed


async def _histories(_: MemoryStore, tx: Transaction, streams: Sequence[str]) -> list[Row]:
    return [
        Row.of(stream_id=row["stream_id"], type=row["type"], value=row["value"])
        for _key, row in tx.scan("history")
        if row["stream_id"] in streams
    ]


def upserts(table: Table) -> Iterator[Upsert]:
    """Yield a statement for each set of facets that a batch may bring."""
    for size in range(1, len(table.shapes) + 1):
        for shapes in combinations(table.shapes, size):
            yield table.upsert("read", shapes)


def upsert_of(upsert: Upsert, wins: Callable[[int, int], bool] = gt) -> Statement:
    """Return what carries `upsert` out; `wins` compares a facet's new sequence with the old one."""
    names = [column.name for column in upsert.columns]
    width = len(upsert.table.key)

    async def run(_: MemoryStore, tx: Transaction, *columns: Sequence[Any]) -> list[Row]:
        for values in zip(*columns, strict=True):
            key = tuple(str(value) for value in values[:width])
            await tx.lock(upsert.table.name, key)
            new = dict(zip(names, values, strict=True))
            row = dict(tx.get(upsert.table.name, key) or {})
            row |= {name: new[name] for name in names[:width]}
            for shape in upsert.shapes:
                if wins(new[shape.guard] or 0, row.get(shape.guard) or 0):
                    row |= {c.name: new[c.name] for c in shape.columns}
                    row[shape.guard] = new[shape.guard]
            tx.put(upsert.table.name, key, row)
        return []

    return run


KERNEL: dict[str, Statement] = {
    journal._INSERT: _append,
    journal._READ: _read_journal,
    snapshots.READ: _read_past,
    snapshots.RECALL: _recall,
    snapshots.TAKE: _take_snapshot,
    snapshots.FORGET: _forget,
    relay._NEXT: _next,
    relay.SENT: _sent,
    consumer._LOAD: _load,
    consumer.APPLIED: _applied,
    consumer._MOVE: _move,
    fence.HOLD: _hold,
    leases._TAKE: _take,
    leases._RELEASE: _release,
    leases._LIVE: _live,
    unit.DISARM: _disarm,
    unit.IN_NO_HURRY: _nothing,
    unit._ARM: _arm,
    timers.NEXT_DUE: _next_due,
    timers._CLAIM: _claim,
    read_model.HISTORIES: _histories,
}
