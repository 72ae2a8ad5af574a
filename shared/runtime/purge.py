"""What the kernel's tables let go of. Each table's comment says the same (R15: growth has an end).

The journal, and the log with it, are kept for ever: they are the desk's memory.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

import structlog

from shared.clock import Clock
from shared.postgres.pool import Pool

CHUNK_SIZE: Final = 1_000
EVERY: Final = timedelta(hours=1)
_log = structlog.get_logger()


class Rule(NamedTuple):
    """What leaves a table, at most $2 rows at a time, at the instant $1."""

    table: str
    sql: str


# What is being sent has its next_at ahead: it is left to whoever sends it.
_GIVE_UP: Final = """
UPDATE kernel.delivery SET state = 'dead', since = $1,
    last_error = coalesce(last_error, 'never tried') || '; waited for 3 days'
WHERE id IN (
    SELECT id FROM kernel.delivery
    WHERE state = 'pending' AND since < $1::timestamptz - interval '3 days' AND next_at <= $1
    LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_DONE: Final = """
DELETE FROM kernel.delivery WHERE id IN (
    SELECT id FROM kernel.delivery
    WHERE state IN ('sent', 'discarded') AND since < $1::timestamptz - interval '14 days'
    LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_DEAD: Final = """
DELETE FROM kernel.delivery WHERE id IN (
    SELECT id FROM kernel.delivery
    WHERE state = 'dead' AND since < $1::timestamptz - interval '90 days'
    LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_LANES: Final = """
DELETE FROM kernel.lane WHERE id IN (
    SELECT id FROM kernel.lane WHERE claimed_until < $1::timestamptz - interval '30 days'
    LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_MEMBERS: Final = """
DELETE FROM kernel.lease WHERE name IN (
    SELECT name FROM kernel.lease
    WHERE name LIKE 'member:%' AND expires_at < $1::timestamptz - interval '1 day'
    LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
_PARKED: Final = """
DELETE FROM kernel.quarantine WHERE id IN (
    SELECT id FROM kernel.quarantine
    WHERE redriven_at < $1::timestamptz - interval '30 days'
        OR parked_at < $1::timestamptz - interval '365 days'
    LIMIT $2 FOR UPDATE SKIP LOCKED
)
"""
RULES: Final = (
    Rule("delivery", _GIVE_UP),
    Rule("delivery", _DONE),
    Rule("delivery", _DEAD),
    Rule("lane", _LANES),
    Rule("lease", _MEMBERS),
    Rule("quarantine", _PARKED),
)


class Purge:
    """Applies the rules once an hour, a chunk at a time. Any number of replicas may."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._next_at: datetime | None = None

    async def step(self) -> int:
        """Apply each rule to one chunk if it is time; return how many rows. 0: come back later."""
        now = self._clock.now()
        if self._next_at is not None and now < self._next_at <= now + EVERY:
            return 0
        rows = 0
        for rule in RULES:
            status = await self._pool.execute(rule.sql, now, CHUNK_SIZE)
            if count := int(status.rpartition(" ")[2]):
                _log.info("purged", table=rule.table, rows=count)
            rows += count
        if not rows:
            self._next_at = now + EVERY
        return rows
