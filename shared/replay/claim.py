"""Which of two versions may put its read model in the place of the other's (R13).

New replicas come to take over; a replica that is merely started again does not. So a replica may
switch if what it last ran is not what it is now, or if nobody runs the live version any more.
"""

from typing import Final

from shared.postgres.pool import Connection, Pool

SEEN_SECONDS_MAX: Final = 15
_MAY: Final = """
SELECT NOT EXISTS (SELECT FROM kernel.fold_run WHERE holder = $1 AND fingerprint = $2)
    OR NOT EXISTS (
        SELECT FROM kernel.fold_run r JOIN kernel.live_fold USING (fingerprint)
        WHERE seen_at > now() - make_interval(secs => $3)
    )
"""
_ELSEWHERE: Final = """
SELECT EXISTS (
    SELECT FROM kernel.fold_run r JOIN kernel.live_fold USING (fingerprint)
    WHERE fingerprint <> $1 AND seen_at > now() - make_interval(secs => $2)
)
"""
_RUNS: Final = """
WITH forgotten AS (DELETE FROM kernel.fold_run WHERE seen_at < now() - interval '30 days')
INSERT INTO kernel.fold_run (holder, fingerprint, seen_at) VALUES ($1, $2, now())
ON CONFLICT (holder) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, seen_at = EXCLUDED.seen_at
"""
_LEAVES: Final = (
    "UPDATE kernel.fold_run SET seen_at = now() - $2 * interval '1 s' WHERE holder = $1"
)


async def may_claim(connection: Connection, holder: str, fingerprint: str) -> bool:
    """Say whether this replica may switch from the live fold to its own."""
    return await connection.fetchval(_MAY, holder, fingerprint, SEEN_SECONDS_MAX)


async def runs_elsewhere(connection: Connection, fingerprint: str) -> bool:
    """Say whether some replica is at work with another fold, which is the live one."""
    return await connection.fetchval(_ELSEWHERE, fingerprint, SEEN_SECONDS_MAX)


async def note_run(connection: Connection, holder: str, fingerprint: str) -> None:
    """Note that the replica runs this fold, which is live."""
    await connection.execute(_RUNS, holder, fingerprint)


async def note_leave(pool: Pool, holder: str) -> None:
    """Note that the replica has ended: it keeps nobody from switching."""
    await pool.execute(_LEAVES, holder, SEEN_SECONDS_MAX)
