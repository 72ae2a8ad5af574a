"""A replica that does nothing but send deliveries: `python -m support.deliverer DSN`."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from shared.clock import Clock, SystemClock
from shared.deliveries.queue import Queue
from shared.deliveries.sender import DeliverySender
from shared.deliveries.webhook import Webhook, webhook_client
from shared.postgres.pool import open_pool
from shared.telemetry.metrics import MetricRegistry


@asynccontextmanager
async def delivering(
    dsn: str, clock: Clock, chance: Callable[[], float] = lambda: 0.0
) -> AsyncGenerator[DeliverySender]:
    """Yield a sender of the deliveries in a database, with connections of its own."""
    pool = await open_pool(dsn, role="desk_app", name="deliverer", size_max=3)
    async with webhook_client() as client:
        webhook = Webhook(client, clock, secret="secret", service="intake")
        metrics = MetricRegistry().for_service("test")
        deliveries = DeliverySender(Queue(pool), webhook, clock, chance, metrics)
        try:
            yield deliveries
        finally:
            await deliveries.close()
            await pool.close()


async def _run(dsn: str) -> None:
    async with delivering(dsn, SystemClock()) as deliveries:
        while True:
            await deliveries.step()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
