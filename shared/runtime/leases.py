"""Leases: which replica does what. They spread the work; they do not guard it (R6).

What guards it is the compare-and-set on offsets and the expected sequence of the journal: a replica
that works on after its lease has expired changes nothing.
"""

from typing import Final

from shared.postgres.pool import Connection, Pool

TTL_SECONDS: Final = 6
_TAKE: Final = """
INSERT INTO kernel.lease AS l (name, holder, token, expires_at)
VALUES ($1, $2, 1, now() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE
SET holder = EXCLUDED.holder, expires_at = EXCLUDED.expires_at,
    token = l.token + (l.holder <> EXCLUDED.holder)::int
WHERE l.holder = EXCLUDED.holder OR l.expires_at < now()
RETURNING token
"""
_RELEASE: Final = """
UPDATE kernel.lease SET expires_at = now() WHERE holder = $1 AND name = ANY($2::text[])
"""
_LIVE: Final = "SELECT name, holder FROM kernel.lease WHERE expires_at >= now() AND name LIKE $1"


class Leases:
    """The leases of one replica of one service; `holder` names the replica."""

    def __init__(self, pool: Pool, holder: str) -> None:
        self._pool = pool
        self._holder = holder

    async def take(self, name: str) -> bool:
        """Take or renew a lease; False while another replica holds it."""
        async with self._pool.acquire() as connection:
            return await self._take(connection, name)

    async def take_share(self, partitions: int) -> frozenset[int]:
        """Renew what is held and take free partitions, up to a fair share among live replicas."""
        async with self._pool.acquire() as connection, connection.transaction():
            await self._take(connection, f"member:{self._holder}")
            members = len(await connection.fetch(_LIVE, "member:%"))
            held = {
                int(row["name"].removeprefix("partition:")): row["holder"]
                for row in await connection.fetch(_LIVE, "partition:%")
            }
            share = -(-partitions // members)
            mine = sorted(number for number, holder in held.items() if holder == self._holder)
            await self._release(connection, mine[share:])
            free = [number for number in range(partitions) if number not in held]
            wanted = mine[:share] + free[: max(0, share - len(mine))]
            taken = [n for n in wanted if await self._take(connection, f"partition:{n}")]
            return frozenset(taken)

    async def release_all(self) -> None:
        """Let others take over at once."""
        await self._pool.execute(
            "UPDATE kernel.lease SET expires_at = now() WHERE holder = $1", self._holder
        )

    async def _take(self, connection: Connection, name: str) -> bool:
        return await connection.fetchval(_TAKE, name, self._holder, TTL_SECONDS) is not None

    async def _release(self, connection: Connection, partitions: list[int]) -> None:
        if partitions:
            await connection.execute(
                _RELEASE, self._holder, [f"partition:{number}" for number in partitions]
            )
