"""A writer's own append-only record of what it decided (R5).

Appends say which sequence they expect; the primary key makes that an optimistic lock. What is
appended goes to the outbox in the same statement, so nothing is decided that will not be sent.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from shared.clock import Clock
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.registry import Recorded, decode_shared
from shared.contracts.sendable import UnsendableError, require_sendable
from shared.errors import DeskError
from shared.ids import event_id
from shared.postgres.pool import Connection

WAKE_CHANNEL: Final = "outbox"

_INSERT: Final = """
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::bytea[])
        WITH ORDINALITY AS t(stream_id, sequence, type, value, place)
), first AS (
    SELECT DISTINCT ON (stream_id) * FROM new ORDER BY stream_id, sequence
), begun AS (
    INSERT INTO kernel.journal (stream_id, sequence, type, value)
    SELECT stream_id, sequence, type, value FROM first f WHERE sequence = 1 OR EXISTS (
        SELECT FROM kernel.journal j
        WHERE j.stream_id = f.stream_id AND j.sequence = f.sequence - 1 OFFSET 0
    ) ORDER BY stream_id
    ON CONFLICT DO NOTHING RETURNING stream_id, sequence
), gone_on AS (
    INSERT INTO kernel.journal (stream_id, sequence, type, value)
    SELECT n.stream_id, n.sequence, type, value FROM new n
    JOIN begun b ON b.stream_id = n.stream_id AND b.sequence < n.sequence
    ORDER BY n.stream_id, n.sequence
), outboxed AS (
    INSERT INTO kernel.outbox (stream_id, sequence)
    SELECT n.stream_id, n.sequence FROM new n JOIN begun USING (stream_id) ORDER BY place
)
SELECT array_agg(stream_id), pg_notify('outbox', '') FROM begun HAVING count(*) > 0
"""
_READ: Final = """
SELECT stream_id, type, value FROM kernel.journal WHERE stream_id = ANY($1::text[])
ORDER BY stream_id, sequence
"""
_BEGINNINGS: Final = """
SELECT a.stream_id, j.type, j.value FROM unnest($1::text[], $2::int[]) a(stream_id, count),
LATERAL (
    SELECT sequence, type, value FROM kernel.journal j
    WHERE j.stream_id = a.stream_id AND j.sequence <= a.count OFFSET 0
) j ORDER BY a.stream_id, j.sequence
"""


class Draft(msgspec.Struct, frozen=True):
    """An event decided but not yet recorded; `time` is when it became true.

    `actor` and `lineage` are set where they are others than the append's.
    """

    data: EventData
    time: datetime
    actor: str | None = None
    lineage: Lineage | None = None


class Append(msgspec.Struct, frozen=True):
    """Drafts for one stream, to follow directly on sequence `expected` (0 for a new stream)."""

    stream_id: str
    expected: int
    drafts: tuple[Draft, ...]
    lineage: Lineage

    @property
    def last_sequence(self) -> int:
        """The stream's sequence once this is appended."""
        return self.expected + len(self.drafts)


Fate = bool | UnsendableError
"""Of an append: it was in time; it was too late; or why it never can be."""
_Row = tuple[str, int, str, bytes]


class Journal:
    """The journal of the service called `writer`. Holds no connection; callers bring theirs."""

    def __init__(self, writer: str, clock: Clock) -> None:
        self.writer = writer
        self._clock = clock

    async def read(
        self, connection: Connection, stream_ids: Collection[str]
    ) -> dict[str, list[Recorded]]:
        """Return the events of each stream in sequence; a stream without events gives []."""
        streams: dict[str, list[Recorded]] = {stream_id: [] for stream_id in stream_ids}
        for stream_id, event_type, value in await connection.fetch(_READ, list(streams)):
            streams[stream_id].append(decode_shared(event_type, value))
        return streams

    async def read_beginnings(
        self, connection: Connection, counts: Mapping[str, int]
    ) -> dict[str, list[Recorded]]:
        """Return of each stream its first events, so many at most."""
        streams: dict[str, list[Recorded]] = {stream_id: [] for stream_id in counts}
        rows = await connection.fetch(_BEGINNINGS, list(counts), list(counts.values()))
        for stream_id, event_type, value in rows:
            streams[stream_id].append(decode_shared(event_type, value))
        return streams

    async def read_values(
        self, connection: Connection, stream_ids: Collection[str]
    ) -> tuple[tuple[str, bytes], ...]:
        """Return type and bytes of every event, by stream and sequence, undecoded."""
        rows = await connection.fetch(_READ, list(stream_ids))
        return tuple((event_type, value) for _, event_type, value in rows)

    async def append(self, connection: Connection, appends: Sequence[Append]) -> list[Fate]:
        """Append inside the caller's transaction; say of each append what became of it.

        An append that finds its stream further on than it expects is left out, whole, and so is
        what would have followed on it, and one with an event that could not be sent, or not be read
        again (R14); the others go in. Where another writer is about to append to one of the
        streams, it waits to see what becomes of that.
        """
        recorded_at = self._clock.now()
        encoded = [self._rows(append, recorded_at) for append in appends]
        sendable = {n: rows for n, rows in enumerate(encoded) if not isinstance(rows, DeskError)}
        chains: dict[str, list[int]] = {}
        for place in sendable:
            append = appends[place]
            chain = chains.setdefault(append.stream_id, [])
            last = appends[chain[-1]].last_sequence if chain else append.expected
            if append.expected > last:
                chain.clear()  # this one has seen more than those: they are late
            if append.expected >= last:
                chain.append(place)
        places = sorted(place for chain in chains.values() for place in chain)
        fitting = [row for place in places for row in sendable[place]]
        begun: set[str] = set()
        if fitting:
            columns = (list(column) for column in zip(*fitting, strict=True))
            begun.update(await connection.fetchval(_INSERT, *columns) or ())
        in_time = {place for place in places if appends[place].stream_id in begun}
        return [
            rows if isinstance(rows, DeskError) else place in in_time
            for place, rows in enumerate(encoded)
        ]

    def _rows(self, append: Append, recorded_at: datetime) -> "list[_Row] | UnsendableError":
        rows: list[_Row] = []
        for sequence, draft in enumerate(append.drafts, append.expected + 1):
            try:
                value = encode_event(
                    self.writer,
                    draft.data,
                    sequence=sequence,
                    event_id=event_id(self.writer, append.stream_id, sequence),
                    time=draft.time,
                    recorded_at=recorded_at,
                    lineage=draft.lineage or append.lineage,
                    actor=draft.actor,
                )
                require_sendable(draft.data, value)
            except UnicodeEncodeError as error:
                return UnsendableError(f"{draft.data.TYPE} holds text that is no Unicode: {error}")
            except UnsendableError as error:
                return error
            rows.append((append.stream_id, sequence, draft.data.TYPE, value))
        return rows
