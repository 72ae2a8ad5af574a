"""What reporting writes: the archive with its Merkle trees, checkpoints of them, and rollups."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from services.reporting.domain.buckets import SIZES, ranges_us
from services.reporting.domain.merkle import Tree, append, leaf, root
from services.reporting.domain.rollup import Contents, WorkingContents
from services.reporting.domain.times import HOUR_US
from services.reporting.queries import read_hours, read_tickets
from services.reporting.tables import HOUR, ROLLUP_LOCK
from shared.calendar import WorkingCalendar
from shared.contracts.registry import INBOUND, UndecodableError, decode_shared_record
from shared.contracts.reporting import AuditCheckpointed
from shared.journal.handler import CommandHandler, Decider, Intent
from shared.log.port import Record, TopicPartition
from shared.postgres.pool import Connection, Pool
from shared.runtime.quarantine import Parked
from shared.runtime.service import Service
from shared.runtime.unit import IN_NO_HURRY
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
_FIND: Final = f"""
WITH found AS (DELETE FROM read.mark WHERE ticket_id IS NOT NULL RETURNING ticket_id)
INSERT INTO read.mark (size, number, calendar)
SELECT DISTINCT 1, {HOUR}, '' FROM found JOIN read.ticket USING (ticket_id)
WHERE birth_seq IS NOT NULL
"""  # noqa: S608 text of ours
_TAKE: Final = """
DELETE FROM read.mark WHERE size = $1 AND number IN (
    SELECT DISTINCT number FROM read.mark WHERE size = $1 AND ticket_id IS NULL LIMIT $2
) RETURNING number, calendar
"""
_PARTS: Final = """
SELECT calendar, number, whole, priority, assigned_group, category, flow FROM read.rollup
WHERE size = $1 AND number >= $2 AND number < $3 AND calendar = ANY($4::text[])
"""
_KEEP: Final = """
INSERT INTO read.rollup
    (size, number, calendar, whole, priority, assigned_group, category, flow)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (calendar, size, number) DO UPDATE SET whole = EXCLUDED.whole,
    priority = EXCLUDED.priority, assigned_group = EXCLUDED.assigned_group,
    category = EXCLUDED.category, flow = EXCLUDED.flow
"""
_BUCKETS_MAX: Final = 32
_PASS_SECONDS_MAX: Final = 5
_ROUND_SECONDS: Final = 1.0
_GIVE_WAY: Final = 9

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


class Auditor:
    """Publishes the roots of the archive's trees, so that others can hold us to them."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._handler = CommandHandler(
            Decider[AuditCheckpointed, AuditCheckpointed | None](None, _decide, _latest),
            service.journal,
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


class Rollups:
    """Keeps the KPIs' rollups up to date, behind the projector's back and never in its way.

    A mark is deleted in the transaction that computes its bucket anew, and the bucket above is
    marked in it, so that at each instant an unmarked bucket is what its tickets make of it.
    """

    def __init__(self) -> None:
        self._calendars: dict[str, WorkingCalendar] = {}

    async def keep(self, service: Service) -> None:
        """Refresh what is marked, from hours up, with pauses; the longer the more others do."""
        loop = asyncio.get_running_loop()
        busy = 0.0
        for size in SIZES:
            until = loop.time() + _PASS_SECONDS_MAX
            refreshed = _BUCKETS_MAX
            while refreshed == _BUCKETS_MAX and loop.time() < until:
                began = loop.time()
                refreshed = await self.refresh(service.pool, size)
                took = loop.time() - began
                busy += took
                await asyncio.sleep(took * (_GIVE_WAY if service.behind else 1))
        await asyncio.sleep(max(_ROUND_SECONDS, busy))

    async def refresh(self, pool: Pool, size: int) -> int:
        """Compute some marked buckets of a size anew; return how many, 0 if another is at it."""
        async with pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", ROLLUP_LOCK):
                return 0
            await connection.execute(IN_NO_HURRY)
            if size == SIZES[0]:
                await connection.execute(_FIND)
            marked: defaultdict[int, set[str]] = defaultdict(set)
            for number, calendar in await connection.fetch(_TAKE, size, _BUCKETS_MAX):
                marked[number].add(calendar)
            if not marked:
                return 0
            calendars = await self._published(connection)
            wanted = {
                number: {"", *calendars} if "" in names else names & calendars.keys()
                for number, names in marked.items()
            }
            count = self._count if size == SIZES[0] else self._add_up
            await count(connection, size, wanted)
            if size != SIZES[-1]:
                above = SIZES[SIZES.index(size) + 1]
                ratio = above // size
                upward = {
                    (above, n // ratio, name) for n, names in marked.items() for name in names
                }
                await connection.executemany(
                    "INSERT INTO read.mark (size, number, calendar) VALUES ($1, $2, $3)",
                    sorted(upward),
                )
            return len(marked)

    async def _published(self, connection: Connection) -> Mapping[str, WorkingCalendar]:
        rows = await connection.fetch("SELECT digest FROM read.hours")
        if {row["digest"] for row in rows} != self._calendars.keys():
            self._calendars = await read_hours(connection)
        return self._calendars

    async def _count(
        self, connection: Connection, size: int, wanted: Mapping[int, set[str]]
    ) -> None:
        """Count the tickets of hours."""
        contents = {number: self._contents(names) for number, names in wanted.items()}
        async for ticket in read_tickets(connection, ranges_us(wanted)):
            for counted in contents[ticket.created_us // HOUR_US].values():
                counted.add(ticket)
        for number, counted in contents.items():
            await _keep(connection, size, number, counted)

    async def _add_up(
        self, connection: Connection, size: int, wanted: Mapping[int, set[str]]
    ) -> None:
        """Add up what the smaller buckets hold."""
        below = SIZES[SIZES.index(size) - 1]
        ratio = size // below
        for number, names in wanted.items():
            counted = self._contents(names)
            rows = await connection.fetch(
                _PARTS, below, number * ratio, (number + 1) * ratio, sorted(names)
            )
            for calendar, _, *packed in rows:
                counted[calendar].take(packed)
            await _keep(connection, size, number, counted)

    def _contents(self, names: set[str]) -> dict[str, Contents | WorkingContents]:
        return {
            name: WorkingContents(self._calendars[name]) if name else Contents() for name in names
        }


async def _keep(
    connection: Connection,
    size: int,
    number: int,
    counted: Mapping[str, Contents | WorkingContents],
) -> None:
    rows = [(size, number, name, *contents.packed()) for name, contents in counted.items()]
    await connection.executemany(_KEEP, rows)
