"""The outermost layer of a service's HTTP side, one plain ASGI middleware for all of it.

It begins the request's journey, limits the body, turns what nobody expected into a 500, counts and
logs. One layer and not five, for every request pays for it.
"""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from fastapi import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http.problem import internal_error, too_large, two_lines
from shared.telemetry.context import begin, enter, leave
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import ServiceMetrics
from shared.telemetry.traces import end_request, request_span, traceparent_of

CORRELATION_HEADER: Final = "X-Correlation-ID"
_MIB: Final = 1024 * 1024
_LENGTH_DIGITS_MAX: Final = 18
_DRAIN_BYTES_MAX: Final = 32 * _MIB
_DRAIN_SECONDS_MAX: Final = 5
_CLIENT_GONE: Final = 499
_UNMATCHED: Final = "unmatched"
PROBES: Final = ("/health/live", "/health/ready", "/metrics")
"""What machines look at all the time: not logged, and answered when nothing else is."""
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_log = get_logger("http")


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """How many bytes a request's body may have; more where the path ends in a batch's name."""

    bytes_max: int = _MIB
    batch_bytes_max: int = 8 * _MIB
    batch_suffixes: tuple[str, ...] = (":batch", "/events")

    def of(self, path: str) -> int:
        """Return the limit of one path."""
        return self.batch_bytes_max if path.endswith(self.batch_suffixes) else self.bytes_max


class Edge:
    """Wraps the app. Never raises unless the answer had begun; then the connection must break."""

    def __init__(
        self, app: ASGIApp, *, service: str, metrics: ServiceMetrics, limits: BodyLimits
    ) -> None:
        """Wrap `app`, whose requests count for `service`."""
        self._app = app
        self._service = service
        self._metrics = metrics
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection; what is not HTTP passes untouched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        above = _text(headers.get(b"traceparent"))
        is_probe = scope["path"].endswith(PROBES)
        span = None if is_probe else request_span(self._service, _method(scope), above)
        journey = begin(
            self._service,
            _text(headers.get(b"x-correlation-id")),
            above if span is None else traceparent_of(span),
        )
        started = perf_counter()
        token = enter(journey)
        limit = self._limits.of(scope["path"])
        exchange = _Exchange(receive, send, journey.correlation_id.encode(), limit)
        exchange.waits_for_go_ahead = b"expect" in headers
        exchange.has_no_body = scope["method"] == "HEAD"
        asked = {**scope, "method": "GET"} if exchange.has_no_body else scope
        try:
            await self._serve(asked, exchange, headers.get(b"content-length"))
        finally:
            scope["route"] = asked.get("route")
            self._report(scope, exchange.status, perf_counter() - started)
            if span is not None:
                end_request(span, _method(scope), _route(scope), exchange.status)
            leave(token)

    async def _serve(self, scope: Scope, exchange: "_Exchange", length: bytes | None) -> None:
        declared = length if length is not None and length.isdigit() else None
        if declared is not None and _exceeds(declared, exchange.limit):
            exchange.is_cut_off = True
            answer = too_large(scope["path"], exchange.limit)
            await answer(scope, exchange.receive, exchange.send)
            return
        if "\n" in scope["path"]:  # which `$` of a route's pattern would overlook at the end
            await two_lines(scope["path"])(scope, exchange.receive, exchange.send)
            return
        # A declared length is held by the HTTP server; only what comes in chunks must be counted.
        receive = exchange.receive if declared is not None else exchange.receive_counted
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status = _CLIENT_GONE
        except Exception:
            _log.exception("request failed", method=scope["method"], path=scope["path"])
            if exchange.has_begun:
                raise
            await internal_error(scope["path"])(scope, exchange.receive, exchange.send)

    def _report(self, scope: Scope, status: int, seconds: float) -> None:
        route = _route(scope)
        self._metrics.http_request(_method(scope), route, status, seconds)
        say = _log.debug if route in PROBES else _log.info
        say(
            "request",
            method=_method(scope),
            path=scope["path"],
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 2),
        )


class _Exchange:
    """One request and its answer: counts what comes in, marks what goes out.

    A body over the limit is read to its end and thrown away before the refusal goes out, for a
    client that still sends would see a broken connection in place of the 413. That has limits too.
    """

    __slots__ = (
        "_correlation_id",
        "_received",
        "_send",
        "has_begun",
        "has_no_body",
        "is_cut_off",
        "limit",
        "receive",
        "status",
        "waits_for_go_ahead",
    )

    def __init__(self, receive: Receive, send: Send, correlation_id: bytes, limit: int) -> None:
        self.receive = receive
        self.limit = limit
        self.status = 500
        self.has_begun = False
        self.has_no_body = False
        self.is_cut_off = False
        self.waits_for_go_ahead = False
        self._send = send
        self._correlation_id = correlation_id
        self._received = 0

    async def receive_counted(self) -> Message:
        """Receive a part of the body.

        FastAPI lets its own HTTPException alone pass through the reading of a body.
        """
        message = await self.receive()
        self._received += len(message.get("body", b""))
        if self._received > self.limit:
            self.is_cut_off = message.get("more_body", False)
            raise HTTPException(413, f"The body is larger than {self.limit} bytes.")
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer; the first part carries the headers every answer has."""
        if message["type"] == "http.response.start":
            headers = [
                *message.get("headers", ()),
                (b"x-content-type-options", b"nosniff"),
                (b"x-correlation-id", self._correlation_id),
            ]
            if self.is_cut_off and not await self._drained():
                headers.append((b"connection", b"close"))
            message["headers"] = headers
            self.has_begun = True
            self.status = message["status"]
        elif self.has_no_body:
            message = {**message, "body": b""}
        await self._send(message)

    async def _drained(self) -> bool:
        if self.waits_for_go_ahead:
            return False
        try:
            async with asyncio.timeout(_DRAIN_SECONDS_MAX):
                while self._received <= _DRAIN_BYTES_MAX:
                    message = await self.receive()
                    self._received += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return True
        except TimeoutError:
            return False
        return False


def _exceeds(length: bytes, limit: int) -> bool:
    return len(length) > _LENGTH_DIGITS_MAX or int(length) > limit


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", _UNMATCHED)


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def _text(header: bytes | None) -> str | None:
    return None if header is None else header.decode("latin-1")
