"""Human-readable numbers: never given twice, with gaps where a write failed."""

from collections.abc import Sequence

from shared.coalesce import Coalescer
from shared.postgres.pool import Pool


class Numbers:
    """Hands out the numbers of one service; callers at the same time share a round trip."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._coalescer = Coalescer[int, list[int]](
            self._draw, batch_size_max=512, pending_max=8_192
        )

    async def take(self, count: int = 1) -> list[int]:
        """Return that many numbers nobody else has."""
        return await self._coalescer.submit(count)

    async def _draw(self, counts: Sequence[int]) -> list[list[int] | Exception]:
        rows = await self._pool.fetch(
            "SELECT nextval('kernel.number') FROM generate_series(1, $1)", sum(counts)
        )
        numbers = iter(sorted(row[0] for row in rows))
        return [[next(numbers) for _ in range(count)] for count in counts]
