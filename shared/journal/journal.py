"""A writer's own append-only record of what it decided (R5).

Appends say which sequence they expect; the primary key makes that an optimistic lock. What is
appended goes to the outbox in the same statement, so nothing is decided that will not be sent.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec
from msgspec.structs import replace
from opentelemetry.trace import Span

from shared.clock import Clock
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.registry import Recorded, decode_shared
from shared.contracts.sendable import UnsendableError, require_sendable
from shared.errors import DeskError
from shared.ids import event_id
from shared.postgres.pool import Connection
from shared.postgres.turn import HeldTurn
from shared.telemetry.traces import append_span, is_tracing, traceparent_of

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
_HEADS: Final = """
SELECT s.id, (SELECT max(sequence) FROM kernel.journal j WHERE j.stream_id = s.id) AS head
FROM unnest($1::text[]) s(id)
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
    """Drafts for one stream, to follow directly on sequence `expected` (0 for a new stream).

    Those of one `turn` are appended all or none, and only if it was not lost.
    """

    stream_id: str
    expected: int
    drafts: tuple[Draft, ...]
    lineage: Lineage
    turn: HeldTurn | None = None

    @property
    def last_sequence(self) -> int:
        """The stream's sequence once this is appended."""
        return self.expected + len(self.drafts)


class TornTurnError(Exception):
    """A writer without a turn got into one; undo the transaction and append again."""


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
        streams, it waits to see what becomes of that. Appends of one turn go in all or none: one
        that is torn nevertheless, by a writer who asks for no turn, raises TornTurnError, after
        which the whole is to be tried again.
        """
        recorded_at = self._clock.now()
        appends, spans = _traced(self.writer, appends)
        encoded = [self._rows(append, recorded_at) for append in appends]
        lost = await _lost_turns(connection, appends)
        refused = zip(appends, encoded, strict=True)
        lost |= {a.turn for a, rows in refused if a.turn and isinstance(rows, DeskError)}
        sendable = {
            place: rows
            for place, rows in enumerate(encoded)
            if not isinstance(rows, DeskError) and appends[place].turn not in lost
        }
        places = _following(appends, sendable)
        while late := {appends[n].turn for n in sendable.keys() - set(places)} - {None}:
            sendable = {n: rows for n, rows in sendable.items() if appends[n].turn not in late}
            places = _following(appends, sendable)
        fitting = [row for place in places for row in sendable[place]]
        begun: set[str] = set()
        if fitting:
            columns = (list(column) for column in zip(*fitting, strict=True))
            begun.update(await connection.fetchval(_INSERT, *columns) or ())
        in_time = {place for place in places if appends[place].stream_id in begun}
        torn = {appends[place].turn for place in places if place not in in_time} - {None}
        if torn & {appends[place].turn for place in in_time}:
            raise TornTurnError
        for place in in_time & spans.keys():
            for span in spans[place]:
                span.end()
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
                refused = UnsendableError(f"{draft.data.TYPE} holds what is no Unicode: {error}")
            except UnsendableError as error:
                refused = error
            else:
                rows.append((append.stream_id, sequence, draft.data.TYPE, value))
                continue
            refused.sequence = sequence
            return refused
        return rows


def _traced(
    writer: str, appends: Sequence[Append]
) -> tuple[Sequence[Append], dict[int, list[Span]]]:
    """Have events name the spans that write them; return these, by the places of their appends.

    What one cause called for is one span. A span that is never ended is never told of: it belongs
    to an append that was late, or undone.
    """
    if not is_tracing():
        return appends, {}
    traced, spans = list(appends), dict[int, list[Span]]()
    for place, append in enumerate(appends):
        types: dict[Lineage, list[str]] = {}
        for draft in append.drafts:
            types.setdefault(draft.lineage or append.lineage, []).append(draft.data.TYPE)
        below: dict[Lineage, Lineage] = {}
        for cause, told in types.items():
            span = append_span(writer, cause.traceparent, told, cause.causation_id)
            if span is not None:
                spans.setdefault(place, []).append(span)
                below[cause] = replace(cause, traceparent=traceparent_of(span))
        if below:
            drafts = [
                replace(draft, lineage=below.get(draft.lineage or append.lineage, draft.lineage))
                for draft in append.drafts
            ]
            traced[place] = replace(append, drafts=tuple(drafts))
    return traced, spans


def _following(appends: Sequence[Append], wanted: Iterable[int]) -> list[int]:
    """Return which of the wanted appends follow on one another, by their places."""
    chains: dict[str, list[int]] = {}
    for place in wanted:
        append = appends[place]
        chain = chains.setdefault(append.stream_id, [])
        last = appends[chain[-1]].last_sequence if chain else append.expected
        if append.expected > last:
            chain.clear()  # this one has seen more than those: they are late
        if append.expected >= last:
            chain.append(place)
    return sorted(place for chain in chains.values() for place in chain)


async def read_heads(connection: Connection, stream_ids: Collection[str]) -> dict[str, int]:
    """Return the sequence of each stream's last event, 0 for a stream without events."""
    rows = await connection.fetch(_HEADS, list(stream_ids))
    return {row["id"]: row["head"] or 0 for row in rows}


async def _lost_turns(connection: Connection, appends: Sequence[Append]) -> set[HeldTurn]:
    """Use the turns of these appends, by name, so that two cannot wait for each other.

    A turn is lost, too, if one of its streams has moved on.
    """
    in_turn = [append for append in appends if append.turn is not None]
    turns = {append.turn for append in in_turn if append.turn is not None}
    in_order = sorted(turns, key=lambda turn: turn.name)
    lost = {turn for turn in in_order if not await turn.move(connection)}
    if in_turn:
        heads = await read_heads(connection, {append.stream_id for append in in_turn})
        lost |= {a.turn for a in in_turn if a.turn and heads[a.stream_id] != a.expected}
    return lost
