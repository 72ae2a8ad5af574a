"""What sla's workers do for ever: review periods that ended, keep the rollups of verdicts."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Final

from services.sla.handlers import Agreements
from services.sla.queries.attainment import KEYS, TOTAL_KEYS, VERDICTS_WITHIN
from shared.buckets import ranges_us
from shared.calendar import instant
from shared.postgres.pool import Connection
from shared.runtime.service import Service

LOOK_EVERY_SECONDS: Final = 60
_PAUSE_SECONDS: Final = 5
_FORGET: Final = "DELETE FROM read.rollup WHERE size = $1 AND number = ANY($2::bigint[])"
_COLUMNS: Final = (
    f"size, number, is_total, {KEYS}, met, missed, late_us, overdue, overdue_us, until"
)
_COUNT: Final = f"""
INSERT INTO read.rollup ({_COLUMNS})
SELECT 1, hour, grouping(policy_id) = 1, {KEYS},
    count(*) FILTER (WHERE NOT is_missed), count(*) FILTER (WHERE is_missed),
    coalesce(sum(1000000 * extract(epoch FROM ended_at - breached_at))
        FILTER (WHERE is_missed AND NOT is_running AND ended_at > breached_at), 0),
    count(breached_at) FILTER (WHERE is_missed AND is_running),
    coalesce(sum(1000000 * extract(epoch FROM breached_at))
        FILTER (WHERE is_missed AND is_running), 0),
    max(CASE WHEN is_running THEN breached_at ELSE ended_at END)
        FILTER (WHERE is_missed AND breached_at IS NOT NULL)
FROM (
    SELECT *, floor(extract(epoch FROM at) / 3600)::bigint AS hour FROM ({VERDICTS_WITHIN}) v
) v GROUP BY GROUPING SETS ((hour, {TOTAL_KEYS}), (hour, {KEYS}))
"""  # noqa: S608 text of ours
_ADD_UP: Final = f"""
INSERT INTO read.rollup ({_COLUMNS})
SELECT $2, n, is_total, {KEYS}, sum(met), sum(missed), sum(late_us), sum(overdue),
    sum(overdue_us), max(until)
FROM unnest($3::bigint[]) n, LATERAL (
    SELECT * FROM read.rollup WHERE size = $1
    AND number >= n * ($2::int / $1::int) AND number < (n + 1) * ($2::int / $1::int) OFFSET 0
) part GROUP BY n, is_total, {KEYS}
"""  # noqa: S608 text of ours


class Reviewer:
    """Reviews the periods of agreements that ended, looking once a minute. Several replicas may.

    A step is short, so that the loop it is in shows that it lives.
    """

    def __init__(self) -> None:
        self._look_at = 0.0

    async def __call__(self, service: Service) -> None:
        """Review a few periods if it is time to look, else pause a little."""
        wait_seconds = self._look_at - asyncio.get_running_loop().time()
        if wait_seconds > 0:
            await asyncio.sleep(min(wait_seconds, _PAUSE_SECONDS))
        elif not await Agreements(service, service.work_pool).review_all():
            self._look_at = asyncio.get_running_loop().time() + LOOK_EVERY_SECONDS


async def count_verdicts(connection: Connection, hours: Sequence[int]) -> None:
    """Count the verdicts of hours anew; see `Count`."""
    await connection.execute(_FORGET, 1, hours)
    ranges = ranges_us(hours)
    await connection.execute(
        _COUNT, [instant(first) for first, _ in ranges], [instant(after) for _, after in ranges]
    )


async def add_up_verdicts(
    connection: Connection, sizes: tuple[int, int], numbers: Collection[int]
) -> None:
    """Make buckets of the second size anew from those of the first; see `AddUp`."""
    await connection.execute(_FORGET, sizes[1], numbers)
    await connection.execute(_ADD_UP, *sizes, numbers)
