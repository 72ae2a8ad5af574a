"""What reporting writes: the archive with its Merkle trees, and checkpoints of them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import asyncpg

from services.reporting.domain.merkle import Tree, append, leaf, root
from shared.contracts.registry import INBOUND, UndecodableError, decode_shared_record
from shared.contracts.reporting import AuditCheckpointed
from shared.journal.handler import CommandHandler, Decider, Intent
from shared.journal.snapshots import Compaction
from shared.log.port import Record, TopicPartition
from shared.postgres.pool import Connection
from shared.runtime.quarantine import Parked
from shared.runtime.service import Service
from shared.telemetry.context import lineage

_INSERT: Final = """
INSERT INTO archive.record
    (topic, partition, record_offset, key, value, timestamp_ms, writer, subject, sequence)
SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bigint[],
    $7::text[], $8::text[], $9::int[])
ON CONFLICT (topic, partition, record_offset) DO NOTHING RETURNING topic, partition, record_offset
"""
_CHANGED: Final = """
SELECT topic, partition, record_offset FROM archive.record a
JOIN unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[], $5::bytea[])
    n(topic, partition, record_offset, key, value) USING (topic, partition, record_offset)
WHERE (a.key, a.value) IS DISTINCT FROM (n.key, n.value)
"""
_SAVE: Final = """
INSERT INTO archive.tree (topic, partition, size, peaks) VALUES ($1, $2, $3, $4)
ON CONFLICT (topic, partition) DO UPDATE SET size = EXCLUDED.size, peaks = EXCLUDED.peaks
"""
_TWICE: Final = """
SELECT DISTINCT a.topic, a.partition, a.record_offset, a.writer, a.subject, a.sequence
FROM unnest($1::text[], $2::text[], $3::int[]) n(writer, subject, sequence)
JOIN archive.record a USING (writer, subject, sequence)
JOIN archive.record b USING (writer, subject, sequence)
WHERE a.value <> b.value AND (b.timestamp_ms, b.topic, b.partition, b.record_offset)
    < (a.timestamp_ms, a.topic, a.partition, a.record_offset)
"""

Identity = tuple[str | None, str | None, int | None]


async def archive(connection: Connection, records: Sequence[Record]) -> list[Parked]:
    """Keep every raw record, grow the trees, and name the records that equivocate.

    Two different events of one writer, stream and sequence mean that the writer was restored from
    an older backup (R3): the later one is parked, nothing is overwritten. Records that are kept
    already come again when offsets were moved back; one that has changed since is parked, too.
    """
    identities = [_identity(record) for record in records]
    fresh = await connection.fetch(
        _INSERT,
        [record.topic for record in records],
        [record.partition for record in records],
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
        [record.timestamp_ms for record in records],
        *map(list, zip(*identities, strict=True)),
    )
    parked: list[Parked] = []
    if len(fresh) == len(records):
        await _grow(connection, records)
    else:
        added = {tuple(row) for row in fresh}
        await _grow(connection, [record for record in records if _place(record) in added])
        parked = await _changed(connection, [r for r in records if _place(r) not in added])
    return parked + await _equivocations(connection, records, identities)


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


async def _changed(connection: Connection, records: Sequence[Record]) -> list[Parked]:
    rows = await connection.fetch(
        _CHANGED,
        [record.topic for record in records],
        [record.partition for record in records],
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
    )
    changed = {tuple(row) for row in rows}
    return [
        Parked(record, "changed", "the archive keeps another record of this offset")
        for record in records
        if _place(record) in changed
    ]


def _identity(record: Record) -> Identity:
    if record.topic == INBOUND:
        return None, None, None
    try:
        event = decode_shared_record(record)
    except UndecodableError:
        return None, None, None
    return event.writer, event.stream_id, event.sequence


async def _grow(connection: Connection, records: Sequence[Record]) -> None:
    grown: defaultdict[TopicPartition, list[bytes]] = defaultdict(list)
    for record in records:
        place = TopicPartition(record.topic, record.partition)
        grown[place].append(leaf(record.offset, record.key, record.value))
    trees = await read_trees(connection, list(grown))
    saved: list[tuple[str, int, int, list[bytes]]] = []
    for place, leaves in grown.items():
        tree = append(trees.get(place, Tree()), leaves)
        saved.append((place.topic, place.partition, tree.size, list(tree.peaks)))
    await connection.executemany(_SAVE, saved)


async def read_trees(
    connection: Connection, places: Sequence[TopicPartition] | None = None
) -> dict[TopicPartition, Tree]:
    """Return the trees of those partitions, or of all."""
    rows: list[asyncpg.Record] = await connection.fetch(
        "SELECT topic, partition, size, peaks FROM archive.tree"
        " WHERE $1::text[] IS NULL OR (topic, partition) IN"
        " (SELECT * FROM unnest($1::text[], $2::int[])) ORDER BY topic, partition",
        None if places is None else [place.topic for place in places],
        None if places is None else [place.partition for place in places],
    )
    return {
        TopicPartition(row["topic"], row["partition"]): Tree(row["size"], tuple(row["peaks"]))
        for row in rows
    }


async def _equivocations(
    connection: Connection, records: Sequence[Record], identities: Sequence[Identity]
) -> list[Parked]:
    known = sorted({identity for identity in identities if identity[0] is not None}, key=repr)
    if not known:
        return []
    rows = await connection.fetch(_TWICE, *map(list, zip(*known, strict=True)))
    twice = {(row["topic"], row["partition"], row["record_offset"]): row for row in rows}
    return [
        Parked(
            record,
            "equivocation",
            f"{row['writer']} wrote sequence {row['sequence']} of {row['subject']} before,"
            " with other content",
        )
        for record in records
        if (row := twice.get((record.topic, record.partition, record.offset))) is not None
    ]


def _decide(
    command: AuditCheckpointed, latest: AuditCheckpointed | None
) -> list[AuditCheckpointed]:
    return [] if command == latest else [command]


def _latest(
    _before: AuditCheckpointed | None, event: AuditCheckpointed, _at: object
) -> AuditCheckpointed:
    return event


_CHECKPOINTS: Final = Decider[AuditCheckpointed, AuditCheckpointed | None](
    None, _decide, _latest, Compaction[AuditCheckpointed]()
)


class Auditor:
    """Publishes the roots of the archive's trees, so that others can hold us to them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handler = CommandHandler(
            _CHECKPOINTS,
            service.committer,
            service.pool,
        )

    async def checkpoint(self) -> list[AuditCheckpointed]:
        """Publish the present root of every partition that has grown; return them all."""
        async with self._service.pool.acquire() as connection:
            trees = await read_trees(connection)
        checkpoints = [
            AuditCheckpointed(
                log_id=f"{place.topic}-{place.partition}",
                topic=place.topic,
                partition=place.partition,
                size=tree.size,
                root=root(tree).hex(),
            )
            for place, tree in trees.items()
            if place.topic != AuditCheckpointed.TYPE
        ]
        at = self._service.clock.now()
        await self._handler.handle_all(
            [Intent(point.stream_id, point, at, lineage()) for point in checkpoints]
        )
        return checkpoints
