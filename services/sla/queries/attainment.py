"""How many promises were kept: whole hours and more from rollups, the rest from the clocks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from services.sla.domain.clocks.attainment import Attainment, AttainmentQuery, Dimension
from shared.buckets import HOUR_US, Broken, BucketSpan, ranges_us
from shared.calendar import instant, microseconds
from shared.months import Months
from shared.postgres.pool import Connection
from shared.runtime.rollups import OUTDATED

DIMENSIONS: Final[dict[Dimension, str]] = {
    "policy": "policy_id",
    "group": "assigned_group",
    "month": "to_char(at AT TIME ZONE $4, 'YYYY-MM')",
    "priority": "priority",
    "customer": "customer",
    "site": "site",
    "service": "service",
    "category": "category",
}
TOTAL_KEYS: Final = "target, kind, source_system"
KEYS: Final = ", ".join([TOTAL_KEYS, *(c for d, c in DIMENSIONS.items() if d != "month")])
"""What is counted apart; the month follows from the hour."""
VERDICTS_WITHIN: Final = """
SELECT v.* FROM (
    SELECT DISTINCT r.first, r.after, c.ticket_id, c.target, c.cycle
    FROM unnest($1::timestamptz[], $2::timestamptz[]) r(first, after), LATERAL (
        SELECT ticket_id, target, cycle FROM read.clock
        WHERE outcome IS NOT NULL AND stopped_at >= r.first AND stopped_at < r.after
        UNION ALL SELECT ticket_id, target, cycle FROM read.clock
        WHERE breached_at IS NOT NULL AND breached_at >= r.first AND breached_at < r.after
    ) c
) c, LATERAL (
    SELECT * FROM read.verdict v
    WHERE (v.ticket_id, v.target, v.cycle) = (c.ticket_id, c.target, c.cycle) OFFSET 0
) v WHERE v.at >= c.first AND v.at < c.after
"""
"""The verdicts of intervals that have nothing in common.

A verdict falls when one of its cycle's clocks ended or was breached: two index ranges for each
interval, then each cycle by its key.
"""
_ENDS: Final = """
SELECT least(min(first), min(breach)) AS first, greatest(max(last), max(breach_last)) AS last FROM (
    SELECT min(stopped_at) AS first, max(stopped_at) AS last FROM read.clock
    WHERE outcome IS NOT NULL AND stopped_at IS NOT NULL
) stops, (
    SELECT min(breached_at) AS breach, max(breached_at) AS breach_last FROM read.clock
    WHERE breached_at IS NOT NULL
) breaches
"""
_BUCKETS: Final = """
FROM unnest({spans}) s(size, first, last), LATERAL (
    SELECT * FROM read.rollup b WHERE b.size = s.size AND b.number BETWEEN s.first AND s.last
    AND b.is_total = {is_total} OFFSET 0
) b
"""
_ENDED_LATER: Final = f"""
SELECT DISTINCT b.size, b.number
{_BUCKETS.format(spans="$1::int[], $2::bigint[], $3::bigint[]", is_total="true")}
WHERE b.until > $4
"""
_LATE_US: Final = """
CASE WHEN is_missed AND until > breached_at
    THEN 1000000 * extract(epoch FROM least(until, $3) - breached_at) ELSE 0 END
"""
_COUNTED: Final = f"""
WITH counted AS (
    SELECT {KEYS}, to_timestamp(number * b.size * 3600) AS at, met, missed,
        late_us + overdue * 1000000 * extract(epoch FROM $3::timestamptz) - overdue_us AS late_us
    {_BUCKETS.format(spans="$5::int[], $6::bigint[], $7::bigint[]", is_total="$13")}
    UNION ALL
    SELECT {KEYS}, at, (NOT is_missed)::int, is_missed::int, {_LATE_US} FROM (
        SELECT *, CASE WHEN is_running THEN $8 ELSE ended_at END AS until FROM ({VERDICTS_WITHIN}) v
    ) single
)
"""
_ATTAINMENT: Final = """
SELECT target, kind, source_system, sum(met)::bigint AS met, sum(missed)::bigint AS missed,
    (coalesce(sum(late_us), 0) / 1000000)::bigint AS late_seconds {keys}
FROM counted WHERE ($4::text IS NOT NULL)
    AND (cardinality($9::text[]) = 0 OR target = ANY($9::text[]))
    AND (cardinality($10::text[]) = 0 OR priority = ANY($10::text[]))
    AND (cardinality($11::text[]) = 0 OR customer = ANY($11::text[]))
    AND (cardinality($12::text[]) = 0 OR service = ANY($12::text[]))
GROUP BY {groups} ORDER BY {groups}
"""


class _Plan(NamedTuple):
    """Buckets to take whole, and the times of which each verdict is to be read."""

    spans: Sequence[BucketSpan] = ()
    ranges: Sequence[tuple[datetime, datetime]] = ()


async def read_attainment(
    connection: Connection, asked: AttainmentQuery, at: datetime
) -> list[Attainment]:
    """Return the verdicts as of `at`, by target, who judged, and the dimensions asked for.

    What changes meanwhile is not seen: neither half of a bucket, nor one bucket without another.
    """
    until = at if asked.end is None else min(at, asked.end)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        plan = await _plan(connection, asked, until)
        keys = [DIMENSIONS[name] for name in asked.by]
        sql = _COUNTED + _ATTAINMENT.format(
            keys="".join(f", {key} AS key_{place}" for place, key in enumerate(keys)),
            groups=", ".join(["target", "kind", "source_system", *keys]),
        )
        rows = await connection.fetch(
            sql,
            [first for first, _ in plan.ranges],
            [after for _, after in plan.ranges],
            until,
            asked.zone,
            *_columns(plan.spans),
            at,
            list(asked.targets),
            list(asked.priorities),
            list(asked.customers),
            list(asked.services),
            not any((set(asked.by) - {"month"}, asked.priorities, asked.customers, asked.services)),
        )
    return [
        Attainment(
            target=row["target"],
            kind=row["kind"],
            source_system=row["source_system"],
            key={name: row[f"key_{place}"] for place, name in enumerate(asked.by)},
            judged=row["met"] + row["missed"],
            met=row["met"],
            missed=row["missed"],
            share=row["met"] / (row["met"] + row["missed"]),
            late_seconds=row["late_seconds"],
        )
        for row in rows
    ]


async def _plan(connection: Connection, asked: AttainmentQuery, until: datetime) -> _Plan:
    """Return how to hold each verdict of the period once, in as few buckets as it goes.

    A bucket is no use where it is out of date, where an edge of the period or of a month lies in
    it, or where one of its promises was broken before `until` and settled after: that lateness
    must be cut off. Its parts may be.
    """
    ends = await connection.fetchrow(_ENDS)
    if ends is None or ends["first"] is None:
        return _Plan()
    edges = [microseconds(edge) for edge in (asked.start, asked.end) if edge is not None]
    first, last = microseconds(ends["first"]), microseconds(ends["last"])
    if asked.start is not None:
        first = max(first, microseconds(asked.start))
    if asked.end is not None:
        last = min(last, microseconds(asked.end) - 1)
    if first > last:
        return _Plan()
    broken = Broken(row["hour"] for row in await connection.fetch(OUTDATED))
    if "month" in asked.by:
        edges += Months(ZoneInfo(asked.zone), first, last).starts_us
    for edge in edges:
        broken.cut(edge)
    while True:
        spans = broken.whole(first, last)
        rows = await connection.fetch(_ENDED_LATER, *_columns(spans), until)
        if not rows:
            break
        for size, number in rows:
            broken.spoil(size, number)
    hours = [hour for hour in broken.hours if first // HOUR_US <= hour <= last // HOUR_US]
    return _Plan(
        spans,
        [
            (instant(max(begin, first)), instant(min(end, last + 1)))
            for begin, end in ranges_us(hours)
        ],
    )


def _columns(spans: Sequence[BucketSpan]) -> tuple[list[int], list[int], list[int]]:
    return (
        [span.size for span in spans],
        [span.first for span in spans],
        [span.last for span in spans],
    )
