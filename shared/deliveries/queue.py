"""Deliveries as rows, in a lane for each URL.

One replica at a time works in a lane: it holds it by a token, for CLAIM_SECONDS by the database's
clock, and every statement that begins or ends a piece of work says that token. So nothing is sent
by two while the first is at work, and what it leaves behind is due again when its claim has ended.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from shared.deliveries.rules import State
from shared.postgres.pool import Pool

CLAIM_SECONDS: Final = 20
_LOOK_AHEAD: Final = 500

# Leaps from lane to lane along an index, however long each is. Receivers known to be quick and the
# others have places of their own: a hundred that do not answer keep nobody waiting who does.
_TAKE: Final = """
WITH RECURSIVE waiting AS (
    (SELECT lane FROM kernel.delivery WHERE state = 'pending' ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (
        SELECT d.lane FROM kernel.delivery d WHERE d.state = 'pending' AND d.lane > w.lane
        ORDER BY d.lane LIMIT 1
    ) FROM waiting w WHERE w.lane IS NOT NULL
), due AS (
    SELECT w.lane, coalesce(l.is_quick, false) AS is_quick, row_number() OVER (
        PARTITION BY coalesce(l.is_quick, false) ORDER BY first.next_at
    ) AS place
    FROM waiting w CROSS JOIN LATERAL (
        SELECT d.next_at FROM kernel.delivery d WHERE d.state = 'pending' AND d.lane = w.lane
        ORDER BY d.next_at LIMIT 1
    ) first LEFT JOIN kernel.lane l ON l.id = w.lane
    WHERE first.next_at <= $1
        AND (l.id IS NULL OR l.rest_until <= $1 AND l.claimed_until < now())
)
INSERT INTO kernel.lane AS l (id, token, claimed_until)
SELECT lane, 1, now() + make_interval(secs => $4) FROM due
WHERE place <= CASE WHEN is_quick THEN $2::int ELSE $3::int END ORDER BY lane
ON CONFLICT (id) DO UPDATE SET token = l.token + 1, claimed_until = EXCLUDED.claimed_until
WHERE l.claimed_until < now()
RETURNING l.id, l.token, l.failures, l.is_quick
"""
_HOLD: Final = """
UPDATE kernel.lane SET claimed_until = now() + make_interval(secs => $3)
WHERE id = $1 AND token = $2
"""
# The head of a stream is its earliest delivery that is neither sent nor dead. Later ones wait until
# it is tried again: they get its next_at, so that they are not looked at in vain before.
_PICK: Final = """
WITH due AS (
    SELECT id, stream_id FROM kernel.delivery
    WHERE lane = $1 AND state = 'pending' AND next_at <= $2 ORDER BY next_at, sequence LIMIT $3
), head AS (
    SELECT h.* FROM (SELECT DISTINCT stream_id FROM due) s CROSS JOIN LATERAL (
        SELECT d.id, d.stream_id, d.next_at FROM kernel.delivery d
        WHERE d.lane = $1 AND d.state = 'pending' AND d.stream_id = s.stream_id
        ORDER BY d.sequence, d.id LIMIT 1
    ) h
), held AS (
    UPDATE kernel.delivery d SET next_at = head.next_at FROM due JOIN head USING (stream_id)
    WHERE d.id = due.id AND head.next_at > $2
)
UPDATE kernel.delivery d SET attempts = attempts + 1, next_at = $2 + make_interval(secs => $5)
FROM (SELECT id FROM head WHERE next_at <= $2 ORDER BY next_at LIMIT $4) chosen
WHERE d.id = chosen.id
RETURNING d.id, d.target, d.body, d.attempts, d.since
"""
_RECORD: Final = """
UPDATE kernel.delivery SET state = $3, last_error = $4, next_at = $5,
    since = CASE WHEN $3 = 'pending' THEN since ELSE $6 END
WHERE id = $1 AND attempts = $2 AND state = 'pending'
"""
_LEAVE: Final = """
UPDATE kernel.lane SET claimed_until = now(), failures = $3, is_quick = $4, rest_until = $5
WHERE id = $1 AND token = $2
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A body on its way to a URL; `attempts` counts this one too. `since` is when it was decided.

    Deliveries of one stream to one URL are sent by their sequence.
    """

    id: UUID
    target: str
    body: bytes
    attempts: int
    since: datetime


@dataclass(slots=True)
class Lane:
    """A claim on all that goes to one URL, and what is known of who answers there."""

    id: UUID
    token: int
    failures: int
    is_quick: bool
    rest_until: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What becomes of a delivery after an attempt."""

    state: State
    error: str | None
    next_at: datetime


class Queue:
    """The deliveries of one service."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take(self, now: datetime, quick_max: int, others_max: int) -> list[Lane]:
        """Claim lanes in which something is due, those that have waited longest first."""
        rows = await self._pool.fetch(_TAKE, now, quick_max, others_max, CLAIM_SECONDS)
        return [Lane(*row, rest_until=now) for row in rows]

    async def pick(self, lane: Lane, now: datetime, count: int) -> list[Delivery] | None:
        """Claim what is due in the lane, one of each stream; None if another took the lane.

        They are due again in CLAIM_SECONDS unless their results are recorded.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            if await connection.execute(_HOLD, lane.id, lane.token, CLAIM_SECONDS) == "UPDATE 0":
                return None
            rows = await connection.fetch(_PICK, lane.id, now, _LOOK_AHEAD, count, CLAIM_SECONDS)
            return [Delivery(*row) for row in rows]

    async def record(self, delivery: Delivery, result: Result, now: datetime) -> None:
        """Write what became of a delivery; one that another has claimed since stays as it is."""
        await self._pool.execute(
            _RECORD,
            delivery.id,
            delivery.attempts,
            result.state,
            result.error,
            result.next_at,
            now,
        )

    async def leave(self, lane: Lane) -> None:
        """Give the lane up, with what was learnt of its receiver."""
        await self._pool.execute(
            _LEAVE, lane.id, lane.token, lane.failures, lane.is_quick, lane.rest_until
        )
