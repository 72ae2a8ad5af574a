"""EmbeddedLog: records in PostgreSQL, for one machine and no broker (R12). It is not Kafka.

Offsets of a partition are gapless: they are handed out under the partition's row lock and become
visible with the transaction that holds it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg

from shared.log.partitioner import partition_of
from shared.log.port import (
    LogUnavailableError,
    Outgoing,
    Record,
    TopicPartition,
    require_sizes,
)
from shared.postgres.listener import Listener
from shared.postgres.pool import KeptConnection

FETCH_BYTES_MAX: Final = 16 * 1024 * 1024
_CHANNEL: Final = "log"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS partition (
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS record (
    topic text NOT NULL,
    partition integer NOT NULL,
    record_offset bigint NOT NULL,
    key bytea,
    value bytea,
    taken_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition, record_offset)
);
"""
_CREATE: Final = """
INSERT INTO partition (topic, partition)
SELECT topic, n FROM unnest($1::text[]) topic CROSS JOIN generate_series(0, $2::int - 1) n
WHERE NOT EXISTS (SELECT FROM partition p WHERE p.topic = topic.topic)
ON CONFLICT DO NOTHING RETURNING topic
"""
_RESERVE: Final = """
WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::int[]) w(topic, partition, count)
), locked AS (
    SELECT p.topic, p.partition FROM partition p JOIN wanted USING (topic, partition)
    ORDER BY p.topic, p.partition FOR UPDATE OF p
)
UPDATE partition p SET next_offset = p.next_offset + w.count
FROM wanted w JOIN locked USING (topic, partition)
WHERE p.topic = w.topic AND p.partition = w.partition
RETURNING p.topic, p.partition, p.next_offset - w.count AS base
"""
_INSERT: Final = """
INSERT INTO record (topic, partition, record_offset, key, value)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[], $5::bytea[])
"""
_FETCH: Final = """
SELECT topic, partition, record_offset, key, value,
       (extract(epoch FROM taken_at) * 1000)::bigint AS timestamp_ms
FROM (
    SELECT r.*, sum(octet_length(r.value)) OVER (ROWS UNBOUNDED PRECEDING)
                - octet_length(r.value) AS bytes_before
    FROM unnest($1::text[], $2::int[], $3::bigint[]) at(topic, partition, position)
    JOIN partition p ON p.topic = at.topic AND p.partition = at.partition
        AND p.next_offset > at.position
    CROSS JOIN LATERAL (
        SELECT * FROM record r
        WHERE r.topic = at.topic AND r.partition = at.partition AND r.record_offset >= at.position
        ORDER BY r.record_offset LIMIT $4
    ) r
    LIMIT $4
) r WHERE coalesce(bytes_before, 0) < $5
"""
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection cut in mid-use
)


class EmbeddedLog:
    """A log in its own PostgreSQL database."""

    def __init__(self, dsn: str, *, pool_size_max: int = 8) -> None:
        self._dsn = dsn
        self._pool_size_max = pool_size_max
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._readers: set[EmbeddedReader] = set()
        self._listener = Listener(dsn, name="log listener", channel=_CHANNEL, on_news=self._wake)

    async def open(self) -> "EmbeddedLog":
        """Connect, make the tables where they are missing, and listen for new records."""
        self._pool = await asyncpg.create_pool(
            self._dsn,
            min_size=1,
            max_size=self._pool_size_max,
            connection_class=KeptConnection,
            server_settings={"application_name": "log", "timezone": "UTC"},
        )
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(1)")
            await connection.execute(_SCHEMA)
        return self

    @property
    def pool(self) -> "asyncpg.Pool[asyncpg.Record]":
        """The pool of the log's database. Raises: LogUnavailableError before `open`."""
        if self._pool is None:
            raise LogUnavailableError("the log is not open")
        return self._pool

    def writer(self, name: str) -> "EmbeddedWriter":  # noqa: ARG002 PostgreSQL needs no client name
        """See `Log.writer`."""
        return EmbeddedWriter(self)

    def reader(self, name: str) -> "EmbeddedReader":  # noqa: ARG002 PostgreSQL needs no client name
        """See `Log.reader`."""
        reader = EmbeddedReader(self)
        self._readers.add(reader)
        return reader

    async def create_topics(self, topics: Sequence[str], partitions: int) -> list[str]:
        """See `Log.create_topics`."""
        rows = await self._query(_CREATE, list(topics), partitions)
        return sorted({row["topic"] for row in rows})

    async def partitions(self, topics: Sequence[str]) -> dict[str, int]:
        """See `Log.partitions`."""
        rows = await self._query(
            "SELECT topic, count(*) AS n FROM partition WHERE topic = ANY($1::text[]) GROUP BY 1",
            list(topics),
        )
        return {row["topic"]: row["n"] for row in rows}

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """See `Log.end_offsets`."""
        rows = await self._query(
            "SELECT topic, partition, next_offset FROM partition WHERE topic = ANY($1::text[])",
            list(topics),
        )
        return {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}

    async def begin_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """See `Log.begin_offsets`; this log never deletes, so all begin at 0."""
        return dict.fromkeys(await self.end_offsets(topics), 0)

    async def check(self) -> None:
        """See `Log.check`."""
        await self._query("SELECT 1")

    async def close(self) -> None:
        """See `Log.close`."""
        self._listener.close()
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def listen(self) -> None:
        """Hear of new records; a lost connection is made anew by the next reader that waits."""
        await self._listener.ensure()

    def forget(self, reader: "EmbeddedReader") -> None:
        """Stop waking a reader that is closed."""
        self._readers.discard(reader)

    def _wake(self, topics: str | None) -> None:
        news = None if topics is None else set(topics.split(","))
        for reader in self._readers:
            reader.wake(news)

    async def _query(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:  # noqa: ANN401 SQL values
        try:
            return await self.pool.fetch(sql, *arguments)
        except _AWAY as error:
            raise LogUnavailableError(f"the log's database: {type(error).__name__}") from error


class EmbeddedWriter:
    """Appends batches, each in one transaction."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._partitions: dict[str, int] = {}

    async def send(self, records: Sequence[Outgoing]) -> None:
        """See `LogWriter.send`."""
        if not records:
            return
        require_sizes(records)
        await self._learn({record.topic for record in records})
        placed: defaultdict[TopicPartition, list[Outgoing]] = defaultdict(list)
        for record in records:
            number = partition_of(record.key, self._partitions[record.topic])
            placed[TopicPartition(record.topic, number)].append(record)
        try:
            async with self._log.pool.acquire() as connection, connection.transaction():
                bases = await connection.fetch(
                    _RESERVE,
                    [place.topic for place in placed],
                    [place.partition for place in placed],
                    [len(batch) for batch in placed.values()],
                )
                await connection.execute(_INSERT, *_columns(placed, bases))
                topics = ",".join(sorted({place.topic for place in placed}))
                await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, topics)
        except _AWAY as error:
            raise LogUnavailableError(f"the log's database: {type(error).__name__}") from error

    async def close(self) -> None:
        """See `LogWriter.close`; there is nothing to give up."""

    async def _learn(self, topics: set[str]) -> None:
        if unknown := topics - self._partitions.keys():
            self._partitions |= await self._log.partitions(sorted(unknown))
        if missing := sorted(topics - self._partitions.keys()):
            raise LogUnavailableError(f"no such topic: {', '.join(missing)}")


def _columns(
    placed: Mapping[TopicPartition, list[Outgoing]], bases: Sequence[asyncpg.Record]
) -> tuple[list[Any], ...]:
    rows: list[tuple[str, int, int, bytes, bytes]] = []
    for topic, partition, base in bases:
        rows.extend(
            (topic, partition, offset, record.key, record.value)
            for offset, record in enumerate(placed[TopicPartition(topic, partition)], base)
        )
    return tuple(list(column) for column in zip(*rows, strict=True))


class EmbeddedReader:
    """Reads assigned partitions by position; wakes when a writer says there is something new."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._positions: dict[TopicPartition, int] = {}
        self._topics: set[str] = set()
        self._news = asyncio.Event()

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.assign`."""
        self._positions = dict(positions)
        self._topics = {place.topic for place in positions}
        self._news.set()

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:
        """See `LogReader.fetch`."""
        try:
            await self._log.listen()
            self._news.clear()
            records = await self._read(records_max)
            if not records and wait_seconds > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_seconds):  # as in the relay
                        await self._news.wait()
                records = await self._read(records_max)
        except _AWAY as error:
            raise LogUnavailableError(f"the log's database: {type(error).__name__}") from error
        return records

    async def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.publish`; lag of this log is read from the services themselves."""

    async def close(self) -> None:
        """See `LogReader.close`."""
        self._log.forget(self)

    def wake(self, topics: set[str] | None) -> None:
        """Look again if one of `topics` is read here, or if nobody knows which have news."""
        if topics is None or not self._topics.isdisjoint(topics):
            self._news.set()

    async def _read(self, records_max: int) -> list[Record]:
        if not self._positions:
            return []
        rows = await self._log.pool.fetch(
            _FETCH,
            [place.topic for place in self._positions],
            [place.partition for place in self._positions],
            list(self._positions.values()),
            records_max,
            FETCH_BYTES_MAX,
        )
        records = [Record(*row) for row in rows]
        for place, offset in {(r.topic, r.partition): r.offset for r in records}.items():
            del self._positions[TopicPartition(*place)]  # it is read last next time
            self._positions[TopicPartition(*place)] = offset + 1
        return records
