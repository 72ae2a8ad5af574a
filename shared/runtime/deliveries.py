"""Deliveries: what leaves the desk, written with the decision and sent until it arrives (R9)."""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import httpx

from shared.clock import Clock
from shared.postgres.pool import Pool
from shared.telemetry.metrics import ServiceMetrics

ATTEMPTS_MAX: Final = 12
BATCH_SIZE_MAX: Final = 50
TIMEOUT_SECONDS: Final = 10
_BACKOFF_SECONDS_MAX: Final = 3_600
_CLAIM: Final = """
UPDATE kernel.delivery SET attempts = attempts + 1, next_at = $1::timestamptz + interval '60 s'
WHERE id IN (
    SELECT id FROM kernel.delivery WHERE state = 'pending' AND next_at <= $1
    ORDER BY next_at LIMIT $2 FOR UPDATE SKIP LOCKED
) RETURNING id, target, body, attempts
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A body on its way to a URL; `attempts` counts this one too."""

    id: UUID
    target: str
    body: bytes
    attempts: int


def signature(secret: str, body: bytes) -> str:
    """Return the HMAC-SHA-256 by which the receiver knows that the desk sent this."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def backoff(attempts: int) -> timedelta:
    """Return the wait after so many attempts: 2, 4, 8 … seconds, at most an hour."""
    return timedelta(seconds=min(2**attempts, _BACKOFF_SECONDS_MAX))


class Deliveries:
    """Sends webhooks: CloudEvents by POST, signed, at least once; gives up visibly."""

    def __init__(
        self,
        pool: Pool,
        client: httpx.AsyncClient,
        clock: Clock,
        metrics: ServiceMetrics,
        *,
        secret: str,
    ) -> None:
        self._pool = pool
        self._client = client
        self._clock = clock
        self._metrics = metrics
        self._secret = secret

    async def step(self) -> int:
        """Try what is due; return how many were tried."""
        rows = await self._pool.fetch(_CLAIM, self._clock.now(), BATCH_SIZE_MAX)
        for row in rows:
            delivery = Delivery(*row)
            await self._record(delivery, await self._send(delivery))
        return len(rows)

    async def _send(self, delivery: Delivery) -> str | None:
        try:
            response = await self._client.post(
                delivery.target,
                content=delivery.body,
                timeout=TIMEOUT_SECONDS,
                headers={
                    "Content-Type": "application/cloudevents+json",
                    "Desk-Delivery": str(delivery.id),
                    "Desk-Signature": signature(self._secret, delivery.body),
                },
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return f"{type(error).__name__}: {error}"
        return None if response.is_success else f"HTTP {response.status_code}"

    async def _record(self, delivery: Delivery, error: str | None) -> None:
        if error is None:
            state, outcome = "sent", "delivered"
        elif delivery.attempts < ATTEMPTS_MAX:
            state, outcome = "pending", "retried"
        else:
            state, outcome = "dead", "dead_lettered"
        self._metrics.delivery("webhook", outcome)
        await self._pool.execute(
            "UPDATE kernel.delivery SET state = $2, last_error = $3, next_at = $4 WHERE id = $1",
            delivery.id,
            state,
            error,
            self._clock.now() + backoff(delivery.attempts),
        )
