"""The archive of raw records, read as if it were the log it was copied from (R8).

It holds the same records at the same offsets, also those that the log itself no longer has.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from shared.log.port import LogReader, LogUnavailableError, Record, TopicPartition
from shared.postgres.pool import Pool

_FETCH: Final = """
SELECT record_offset, key, value, timestamp_ms FROM archive.record
WHERE topic = $1 AND partition = $2 AND record_offset >= $3 ORDER BY record_offset LIMIT $4
"""
_ENDS: Final = "SELECT topic, partition, size FROM archive.tree WHERE topic = ANY($1::text[])"
_AWAY: Final = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class ArchivedLog:
    """What replay needs of a log, from the database that keeps the archive."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def reader(self, name: str) -> LogReader:  # noqa: ARG002 PostgreSQL needs no client name
        """See `Log.reader`."""
        return ArchivedReader(self._pool)

    async def end_offsets(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """See `Log.end_offsets`: how far each partition has been archived."""
        try:
            rows = await self._pool.fetch(_ENDS, list(topics))
        except _AWAY as error:
            raise LogUnavailableError(f"the archive: {type(error).__name__}") from error
        return {TopicPartition(row["topic"], row["partition"]): row["size"] for row in rows}


class ArchivedReader:
    """Reads one partition after the other."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._positions: dict[TopicPartition, int] = {}

    async def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.assign`."""
        self._positions = dict(positions)

    async def fetch(self, *, records_max: int, wait_seconds: float) -> list[Record]:  # noqa: ARG002
        """See `LogReader.fetch`; it never waits, since what is archived is there."""
        while self._positions:
            place, position = next(iter(self._positions.items()))
            try:
                rows = await self._pool.fetch(_FETCH, *place, position, records_max)
            except _AWAY as error:
                raise LogUnavailableError(f"the archive: {type(error).__name__}") from error
            if rows:
                self._positions[place] = rows[-1]["record_offset"] + 1
                return [Record(*place, *row) for row in rows]
            del self._positions[place]
        return []

    async def publish(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `LogReader.publish`; nobody watches an archive being read."""

    async def close(self) -> None:
        """See `LogReader.close`; there is nothing to give up."""
