"""Snapshots: the few events that a stream's state rests on, so that no command reads the others.

A snapshot holds no state, only the sequences of events: a state is always folded from the journal,
by the code of today. It is written by whoever has read a long tail, and by nobody in time for
anything: a writer that writes none only leaves a longer tail (ADR 0019).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Generic, NamedTuple, TypeVar

import structlog

from shared.contracts.base import EventData
from shared.contracts.registry import Recorded, decode_shared
from shared.postgres.pool import Connection

C = TypeVar("C")
READ: Final = """
SELECT a.id AS stream_id, s.sequence AS taken, s.kept, j.type, j.value
FROM unnest($1::text[]) a(id)
LEFT JOIN kernel.snapshot s ON s.stream_id = a.id AND s.version = $2
LEFT JOIN LATERAL (
    SELECT type, value FROM kernel.journal
    WHERE stream_id = a.id AND sequence > coalesce(s.sequence, 0)
    UNION ALL
    SELECT type, value FROM kernel.journal WHERE stream_id = a.id AND sequence = ANY(s.kept)
) j ON true
"""
RECALL: Final = """
SELECT a.stream_id, j.type, j.value FROM unnest($1::text[], $3::text[]) a(stream_id, key),
LATERAL (
    SELECT sequence FROM kernel.snapshot_key k
    WHERE k.stream_id = a.stream_id AND k.version = $2 AND k.key = a.key OFFSET 0
) k,
LATERAL (
    SELECT type, value FROM kernel.journal j
    WHERE j.stream_id = a.stream_id AND j.sequence = k.sequence OFFSET 0
) j
"""
TAKE: Final = """
WITH taken AS (
    INSERT INTO kernel.snapshot AS old (stream_id, version, sequence, kept)
    VALUES ($1, $2, $3, $4::int[])
    ON CONFLICT (stream_id, version) DO UPDATE
    SET sequence = EXCLUDED.sequence, kept = EXCLUDED.kept WHERE old.sequence < EXCLUDED.sequence
), outdated AS (
    DELETE FROM kernel.snapshot WHERE stream_id = $1 AND version < $2
), outdated_keys AS (
    DELETE FROM kernel.snapshot_key WHERE stream_id = $1 AND version < $2
)
INSERT INTO kernel.snapshot_key AS old (stream_id, version, key, sequence)
SELECT $1, $2, * FROM unnest($5::text[], $6::int[])
ON CONFLICT (stream_id, version, key) DO UPDATE SET sequence = EXCLUDED.sequence
WHERE old.sequence < EXCLUDED.sequence
"""
FORGET: Final = """
WITH keys AS (DELETE FROM kernel.snapshot_key WHERE stream_id = $1 AND version = $2)
DELETE FROM kernel.snapshot WHERE stream_id = $1 AND version = $2
"""
_NO_VERSION: Final = 0
"""Of this there are no snapshots."""
_BY_SEQUENCE: Final = attrgetter("sequence")
_log: Final = structlog.get_logger()


def _no_key(_event: EventData) -> str | None:
    return None


def _asks_nothing(_command: Any) -> Collection[str]:  # noqa: ANN401 any command
    return ()


@dataclass(frozen=True)
class Compaction(Generic[C]):
    """What of a stream's past its state rests on: the last event of each type, in sequence.

    Events that `key` names are too many for that. The last of each key is found by it, and only
    the commands that ask for the key get to see it. Folding what is left must give what folding
    all gives, as far as `decide` can tell; a fold for which that is no longer so, or another `key`,
    needs another `version`: snapshots of other versions are not read. Who reads more events than
    `tail_max` behind a snapshot takes the next one.
    """

    version: int = 1
    tail_max: int = 32
    key: Callable[[EventData], str | None] = _no_key
    asks: Callable[[C], Collection[str]] = _asks_nothing

    def rest(self, events: Iterable[Recorded], keys: Collection[str]) -> list[Recorded]:
        """Return, in sequence, what a state rests on that is asked for these keys."""
        last: dict[tuple[bool, str], Recorded] = {}
        for event in events:
            key = self.key(event.data)
            if key is None or key in keys:
                last[key is None, key or event.type] = event
        return sorted(last.values(), key=_BY_SEQUENCE)


class Past(NamedTuple):
    """The events of a stream that its state rests on, in sequence, and the sequence of its last."""

    events: list[Recorded]
    sequence: int


class _Read(NamedTuple):
    """What was read of a stream, in sequence, and the snapshot by which; `taken` 0 is none."""

    events: list[Recorded]
    taken: int
    kept: Sequence[int]

    @property
    def tail(self) -> list[Recorded]:
        return [event for event in self.events if event.sequence > self.taken]

    @property
    def is_sound(self) -> bool:
        """Whether the journal has all that the snapshot names, and goes on right behind it."""
        if not self.taken:
            return True
        sequences = [event.sequence for event in self.events]
        ahead = range(self.taken + 1, self.taken + 1 + len(self.tail))
        return self.taken in self.kept and sequences == [*sorted(self.kept), *ahead]


async def read_pasts(
    connection: Connection,
    compaction: Compaction[Any] | None,
    wanted: Mapping[str, Collection[str]],
) -> dict[str, Past]:
    """Return what the state of each stream rests on, if it is asked for the keys wanted of it.

    Without a compaction that is all of it. A snapshot that does not fit the journal is thrown away,
    and the journal read instead. Of a tail that has grown long the next snapshot is taken, in the
    caller's transaction if there is one.
    """
    if compaction is None:
        streams = await _read(connection, _NO_VERSION, list(wanted))
        return {stream_id: _past(read.events, read) for stream_id, read in streams.items()}
    version = compaction.version
    streams = await _read(connection, version, list(wanted))
    broken = [stream_id for stream_id, read in streams.items() if not read.is_sound]
    for stream_id in broken:
        _log.warning("snapshot_broken", stream_id=stream_id)
        await connection.execute(FORGET, stream_id, version)
    if broken:
        streams |= await _read(connection, _NO_VERSION, broken)
    for stream_id in sorted(streams):  # in one order, so that no two wait for each other
        if len(streams[stream_id].tail) > compaction.tail_max:
            await _take(connection, compaction, stream_id, streams[stream_id])
    asked = [(s, key) for s, keys in wanted.items() if streams[s].taken for key in keys]
    recalled = await _recall(connection, version, asked)
    return {
        stream_id: _past(
            compaction.rest([*recalled.get(stream_id, ()), *read.events], wanted[stream_id]), read
        )
        for stream_id, read in streams.items()
    }


def _past(events: list[Recorded], read: _Read) -> Past:
    return Past(events, read.events[-1].sequence if read.events else 0)


async def _read(
    connection: Connection, version: int, stream_ids: Sequence[str]
) -> dict[str, _Read]:
    streams: dict[str, _Read] = {}
    rows = await connection.fetch(READ, stream_ids, version)
    for stream_id, taken, kept, event_type, value in rows:
        read = streams.setdefault(stream_id, _Read([], taken or 0, kept or ()))
        if value is not None:
            read.events.append(decode_shared(event_type, value))
    for read in streams.values():
        read.events.sort(key=_BY_SEQUENCE)
    return streams


async def _take(
    connection: Connection, compaction: Compaction[Any], stream_id: str, read: _Read
) -> None:
    last = read.events[-1].sequence
    kept = {last, *(event.sequence for event in compaction.rest(read.events, ()))}
    keyed = ((compaction.key(event.data), event.sequence) for event in read.tail)
    keys = {key: sequence for key, sequence in keyed if key is not None}
    columns = (sorted(kept), list(keys), list(keys.values()))
    await connection.execute(TAKE, stream_id, compaction.version, last, *columns)


async def _recall(
    connection: Connection, version: int, asked: Sequence[tuple[str, str]]
) -> dict[str, list[Recorded]]:
    """Return the events asked for by stream and key, as far as they lie before a snapshot."""
    found: dict[str, list[Recorded]] = {}
    if asked:
        streams, keys = ([pair[place] for pair in asked] for place in (0, 1))
        for stream_id, event_type, value in await connection.fetch(RECALL, streams, version, keys):
            found.setdefault(stream_id, []).append(decode_shared(event_type, value))
    return found
