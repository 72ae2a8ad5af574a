"""Records that can never be applied, kept with the reason and redriven on demand (R10)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.log.port import Record
from shared.postgres.pool import Connection

_DETAIL_CHARS_MAX: Final = 4_000
_PARK: Final = """
INSERT INTO kernel.quarantine
    (topic, partition, record_offset, key, value, timestamp_ms, reason, detail, parked_at)
SELECT *, $9::timestamptz FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bytea[],
    $5::bytea[], $6::bigint[], $7::text[], $8::text[])
ON CONFLICT (topic, partition, record_offset) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Parked:
    """A record and why it cannot be applied; `reason` is a short name, `detail` a sentence."""

    record: Record
    reason: str
    detail: str


async def park(connection: Connection, parked: Sequence[Parked], now: datetime) -> None:
    """Store records once each, in the transaction that moves past them."""
    if not parked:
        return
    await connection.execute(
        _PARK,
        [entry.record.topic for entry in parked],
        [entry.record.partition for entry in parked],
        [entry.record.offset for entry in parked],
        [entry.record.key for entry in parked],
        [entry.record.value for entry in parked],
        [entry.record.timestamp_ms for entry in parked],
        [entry.reason for entry in parked],
        [
            entry.detail[:_DETAIL_CHARS_MAX].replace("\0", "\\0") for entry in parked
        ],  # it may quote the record
        now,
    )


async def read_parked(connection: Connection, ids: Sequence[int]) -> dict[int, Record]:
    """Return the records of those quarantine ids that have not been redriven."""
    rows = await connection.fetch(
        "SELECT id, topic, partition, record_offset, key, value, timestamp_ms"
        " FROM kernel.quarantine WHERE id = ANY($1::bigint[]) AND redriven_at IS NULL ORDER BY id",
        list(ids),
    )
    return {row["id"]: Record(*tuple(row)[1:]) for row in rows}


async def redriven(connection: Connection, number: int, now: datetime) -> bool:
    """Mark a record as redriven, in the transaction that applies it; say whether it waited."""
    status = await connection.execute(
        "UPDATE kernel.quarantine SET redriven_at = $2 WHERE id = $1 AND redriven_at IS NULL",
        number,
        now,
    )
    return status == "UPDATE 1"
