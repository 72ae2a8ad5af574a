"""One attempt at one webhook: a signed POST, bounded in time and in what is read of the answer."""

import asyncio
import hashlib
import hmac
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

from shared.clock import Clock
from shared.deliveries.queue import Delivery
from shared.deliveries.rules import ReceiverAnswer, retry_after
from shared.telemetry.traces import delivery_span

CONNECT_SECONDS: Final = 3
TIMEOUT_SECONDS: Final = 10
ANSWER_BYTES_MAX: Final = 16 * 1024
_DETAIL_BYTES_MAX: Final = 200
_KEPT_CONNECTIONS_MAX: Final = 64


def signature(secret: str, body: bytes) -> str:
    """Return the HMAC-SHA-256 by which the receiver knows that the desk sent this."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def webhook_client() -> httpx.AsyncClient:
    """Return a client that follows no redirect, keeps no cookie, and waits no longer than it may.

    How many connections it opens is bounded by who uses it.
    """
    return httpx.AsyncClient(
        follow_redirects=False,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=_KEPT_CONNECTIONS_MAX),
    )


class Webhook:
    """Posts CloudEvents, each under its delivery's id, by which a receiver knows a repeated one."""

    def __init__(
        self, client: httpx.AsyncClient, clock: Clock, *, secret: str | None, service: str
    ) -> None:
        self._client = client
        self._clock = clock
        self._secret = secret
        self._service = service

    async def send(self, delivery: Delivery) -> ReceiverAnswer:
        """Try once, for TIMEOUT_SECONDS in all; whatever goes wrong there is an answer."""
        if self._secret is None:
            return ReceiverAnswer(None, 0, "no secret is set to sign it with")
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                status, said, wait = await self._post(delivery, self._secret)
        except TimeoutError:
            return ReceiverAnswer(None, loop.time() - began, f"no answer in {TIMEOUT_SECONDS} s")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ValueError) as error:
            return ReceiverAnswer(None, loop.time() - began, f"{type(error).__name__}: {error}")
        return ReceiverAnswer(
            status, loop.time() - began, said, retry_after(wait, self._clock.now())
        )

    async def _post(self, delivery: Delivery, secret: str) -> tuple[int, str, str | None]:
        headers = {
            "Content-Type": "application/cloudevents+json",
            "Desk-Delivery": str(delivery.id),
            "Desk-Signature": signature(secret, delivery.body),
        }
        with delivery_span(self._service, delivery.body) as trace:
            async with self._client.stream(
                "POST", delivery.target, content=delivery.body, headers=headers | trace
            ) as response:
                body = b""
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) >= ANSWER_BYTES_MAX:
                        break  # what is left unread costs the connection, and nothing else
                said = body[:_DETAIL_BYTES_MAX].decode(errors="replace").replace("\0", "")
                return response.status_code, said, response.headers.get("Retry-After")
