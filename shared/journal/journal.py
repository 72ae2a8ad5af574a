"""A writer's own append-only record of what it decided (R5).

Appends say which sequence they expect; the primary key makes that an optimistic lock. What is
appended goes to the outbox in the same statement, so nothing is decided that will not be sent.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import msgspec

from shared.clock import Clock
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.registry import Recorded, decode_shared
from shared.ids import event_id
from shared.postgres.pool import Connection

WAKE_CHANNEL: Final = "outbox"

_HEADS: Final = """
SELECT s.id, (SELECT max(sequence) FROM kernel.journal j WHERE j.stream_id = s.id) AS head
FROM unnest($1::text[]) s(id)
"""
_INSERT: Final = """
WITH new AS (
    SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::bytea[])
        WITH ORDINALITY AS t(stream_id, sequence, type, value, place)
), journaled AS (
    INSERT INTO kernel.journal (stream_id, sequence, type, value)
    SELECT stream_id, sequence, type, value FROM new ORDER BY stream_id, sequence
), outboxed AS (
    INSERT INTO kernel.outbox (stream_id, sequence)
    SELECT stream_id, sequence FROM new ORDER BY place
)
SELECT pg_notify('outbox', '')
"""
_READ: Final = """
SELECT stream_id, type, value FROM kernel.journal WHERE stream_id = ANY($1::text[])
ORDER BY stream_id, sequence
"""


class Draft(msgspec.Struct, frozen=True):
    """An event decided but not yet recorded; `time` is when it became true.

    `actor` is set where it is another than the lineage's.
    """

    data: EventData
    time: datetime
    actor: str | None = None


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

    async def read_values(
        self, connection: Connection, stream_ids: Collection[str]
    ) -> tuple[tuple[str, bytes], ...]:
        """Return type and bytes of every event, by stream and sequence, undecoded."""
        rows = await connection.fetch(_READ, list(stream_ids))
        return tuple((event_type, value) for _, event_type, value in rows)

    async def append(self, connection: Connection, appends: Sequence[Append]) -> list[bool]:
        """Append inside the caller's transaction; say of each append whether it was in time.

        An append that finds its stream further on than it expects is left out, whole. A writer
        that commits between our look and our insert raises asyncpg.UniqueViolationError.
        """
        heads: dict[str, int] = {
            row["id"]: row["head"] or 0
            for row in await connection.fetch(_HEADS, list({a.stream_id for a in appends}))
        }
        in_time: list[bool] = []
        for append in appends:
            fits = heads[append.stream_id] == append.expected
            in_time.append(fits)
            if fits:
                heads[append.stream_id] = append.last_sequence
        fitting = [append for append, fits in zip(appends, in_time, strict=True) if fits]
        if fitting:
            await connection.execute(_INSERT, *self._columns(fitting))
        return in_time

    def _columns(
        self, appends: Sequence[Append]
    ) -> tuple[list[str], list[int], list[str], list[bytes]]:
        recorded_at = self._clock.now()
        streams: list[str] = []
        sequences: list[int] = []
        types: list[str] = []
        values: list[bytes] = []
        for append in appends:
            for sequence, draft in enumerate(append.drafts, append.expected + 1):
                streams.append(append.stream_id)
                sequences.append(sequence)
                types.append(draft.data.TYPE)
                values.append(
                    encode_event(
                        self.writer,
                        draft.data,
                        sequence=sequence,
                        event_id=event_id(self.writer, append.stream_id, sequence),
                        time=draft.time,
                        recorded_at=recorded_at,
                        lineage=append.lineage,
                        actor=draft.actor,
                    )
                )
        return streams, sequences, types, values
