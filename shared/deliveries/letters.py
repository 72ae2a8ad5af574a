"""What an operator sees of deliveries, and may do with dead ones."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from shared.postgres.pool import Pool

REDRIVEN_MAX: Final = 1_000
Shown = Literal["pending", "sent", "dead", "discarded"]
_COLUMNS: Final = (
    "id, target, stream_id, sequence, state, attempts, since, next_at, last_error,"
    " encode(body, 'escape')"
)
# Redriven ones are new: they have their attempts and their three days before them again.
_REDRIVE: Final = """
UPDATE kernel.delivery SET state = 'pending', attempts = 0, since = $1, next_at = $1
WHERE id IN (
    SELECT id FROM kernel.delivery
    WHERE state = 'dead' AND (id = $2 OR lane = md5($3::text)::uuid)
    LIMIT $4 FOR UPDATE SKIP LOCKED
) RETURNING id
"""
_WAKE: Final = """
UPDATE kernel.lane SET rest_until = $1, failures = least(failures, 1)
WHERE id IN (SELECT lane FROM kernel.delivery WHERE id = ANY($2::uuid[]))
"""
_DISCARD: Final = """
UPDATE kernel.delivery SET state = 'discarded', since = $2 WHERE id = $1 AND state = 'dead'
"""


class DeliveryView(msgspec.Struct, frozen=True):
    """A delivery; `since` is when it came to its state. `body` as text, other bytes escaped."""

    id: UUID
    target: str
    stream_id: str
    sequence: int
    state: str
    attempts: int
    since: datetime
    next_at: datetime
    last_error: str | None
    body: str


class Letters:
    """The deliveries of one service, as its operator handles them."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(self, state: Shown, limit: int) -> Sequence[DeliveryView]:
        """Return those in a state, the latest to come to it first."""
        rows = await self._pool.fetch(
            f"SELECT {_COLUMNS} FROM kernel.delivery WHERE state = $1"  # noqa: S608 constant
            " ORDER BY since DESC LIMIT $2",
            state,
            limit,
        )
        return [DeliveryView(*row) for row in rows]

    async def show(self, delivery_id: UUID) -> DeliveryView | None:
        """Return one; None if it is not there, or not any more."""
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM kernel.delivery WHERE id = $1",  # noqa: S608 constant
            delivery_id,
        )
        return None if row is None else DeliveryView(*row)

    async def redrive(
        self, now: datetime, *, delivery_id: UUID | None = None, target: str | None = None
    ) -> int:
        """Have a dead one, or up to a thousand dead ones of a URL, sent again; return how many."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(_REDRIVE, now, delivery_id, target, REDRIVEN_MAX)
            await connection.execute(_WAKE, now, [row["id"] for row in rows])
        return len(rows)

    async def discard(self, delivery_id: UUID, now: datetime) -> bool:
        """Give a dead one up for good; False if there is no such dead one."""
        return await self._pool.execute(_DISCARD, delivery_id, now) == "UPDATE 1"
