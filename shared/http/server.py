"""The HTTP server: uvicorn, made to give no client more time, memory or connections than is due.

uvicorn alone reads a header of any length and waits for the rest of a request without end.
"""

import asyncio
import gc
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, Literal, cast

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from shared.http.door import Door, Reason
from shared.http.edge import PROBES
from shared.http.limits import ServerLimits
from shared.http.problem import Kind, respond
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import ServiceMetrics

_PROBES: Final = tuple(path.encode() for path in PROBES)
_PIPELINE_MAX: Final = 64
_SWEEP_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 5
_OTHER_DESCRIPTORS: Final = 512  # of the database, the log, files
_FIELD_BYTES: Final = 4  # ": " and the end of the line
_LATE: Final = Kind(408, "request-timeout", "The request did not come in time")
_FULL: Final = Kind(503, "unavailable", "A needed part is away; try again later")
_ANSWERS: Final[dict[Reason, tuple[Kind, str]]] = {
    "header_bytes": (
        Kind(431, "header-too-large", "The header is too large"),
        "The header of the request is larger than is read here.",
    ),
    "header_seconds": (_LATE, "The header of the request did not come in time."),
    "body_seconds": (_LATE, "The body of the request did not come in time."),
    "crowded": (_FULL, "Too many are connected; the request was not read. Send it again."),
    "peer": (_FULL, "Too many connections come from this address."),
    "busy": (_FULL, "Too many requests are being answered. Send it again."),
    "malformed": (Kind(400, "malformed-input", "The input cannot be read"), "This is no HTTP/1.1."),
    "stopping": (_FULL, "The server stops; the request was not read. Send it again."),
}
"""What is said before closing, where something can be said."""

_log = get_logger("http")


def _answer(reason: Reason, path: str = "") -> Response:
    kind, detail = _ANSWERS[reason]
    return respond(path, kind, detail, headers={"Connection": "close"})


class _Connection(HttpToolsProtocol):
    """One connection; what it owes is where its client stands with the present request.

    `rest`: the answer is out and the body is not yet in.
    """

    def __init__(
        self,
        door: Door,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._door = door
        self._limits = door.limits
        self._service = self.app
        self._owes: Literal["header", "body", "rest", "next", "nothing"] = "header"
        self._since = 0.0
        self._body_bytes = 0
        self._barren_bytes = 0
        self._got_on = False
        self._unsent = 0
        self._sent_at = 0.0
        self.peer = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the connection in, or tell it to come later."""
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        self._sent_at = self.loop.time()
        reason = self._door.enter(self)
        self._turn("header")
        if reason is not None:
            self.give_way(reason)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._door.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; bytes that bring the request no further are counted.

        They are part of a header, of a trailer, or of a chunk's extensions, which the parser keeps
        or skips without telling us of them.
        """
        if self.transport.is_closing():
            return
        if self._owes == "next":
            self._turn("header")
        self._got_on = False
        super().data_received(data)
        self._barren_bytes = 0 if self._got_on else self._barren_bytes + len(data)
        if self._barren_bytes > self._limits.header_bytes_max:
            self.give_way("header_bytes")

    def on_message_begin(self) -> None:
        """Wait for a header."""
        super().on_message_begin()
        self._got_on = True
        self._turn("header")

    def on_headers_complete(self) -> None:
        """Have the request answered: by the service, or by a refusal."""
        self._got_on = True
        path = self.url.partition(b"?")[0]
        size = len(self.url) + sum(len(n) + len(v) + _FIELD_BYTES for n, v in self.headers)
        if size > self._limits.header_bytes_max:
            self._refuse_instead("header_bytes", path)
        elif self._door.is_busy and not path.endswith(_PROBES):
            self._refuse_instead("busy", path)
        else:
            self.app = self._service
        super().on_headers_complete()
        self._body_bytes = 0
        self._turn("body")
        if len(self.pipeline) > _PIPELINE_MAX:
            self.give_way("pipeline")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        super().on_body(body)
        self._got_on = True
        self._body_bytes += len(body)

    def on_message_complete(self) -> None:
        """Owe nothing more, unless the answer is out already: then the next request."""
        super().on_message_complete()
        self._got_on = True
        self._turn("next" if self.cycle.response_complete else "nothing")

    def on_response_complete(self) -> None:
        """Wait for what is still to come of the request, or for the next."""
        super().on_response_complete()
        if self.cycle.response_complete and self._owes in {"body", "nothing"}:
            self._turn("rest" if self._owes == "body" else "next")

    def resume_writing(self) -> None:
        """Note that the client reads."""
        self._sent_at = self.loop.time()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in the shape of every other error."""
        _ = msg
        self.give_way("malformed")

    def shutdown(self) -> None:
        """Finish the answer under way; whose request is not read yet is sent away."""
        if self._owes == "nothing":
            super().shutdown()
        else:
            self.give_way("stopping")

    def overdue(self, now: float) -> Reason | None:
        """Return which deadline has passed. While we do not read, nobody is late."""
        if self._reads_nothing(now):
            return "write_seconds"
        if self.flow.read_paused:
            self._since = now
            return None
        waited = now - self._since
        limits = self._limits
        match self._owes:
            case "header":
                return "header_seconds" if waited > limits.header_seconds else None
            case "body" | "rest":
                earned = 0 if self._owes == "rest" else self._body_bytes
                allowed = limits.body_seconds + earned / limits.body_bytes_per_second_min
                return "body_seconds" if waited > allowed else None
            case "next":
                return "idle_seconds" if waited > limits.idle_seconds else None
            case "nothing":
                return None

    def give_way(self, reason: Reason) -> None:
        """Say why, where the client could take it for the answer to its request, and close."""
        self._door.refused(reason)
        if reason == "write_seconds":
            self.transport.abort()
            return
        if self.transport.is_closing():
            return
        if reason in _ANSWERS and self._can_be_told:
            answer = _answer(reason)
            lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
            self.transport.write(
                b"".join([STATUS_LINE[answer.status_code], *lines, b"\r\n", bytes(answer.body)])
            )
        if (cycle := self._under_way) is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    @property
    def _can_be_told(self) -> bool:
        cycle = self._under_way
        if cycle is None:
            return self._owes == "header"
        return self._owes == "body" and not cycle.response_started and not self.pipeline

    @property
    def _under_way(self) -> RequestResponseCycle | None:
        """The newest request whose answer is not out."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first
        return None if cycle is None or cycle.response_complete else cycle

    def _turn(self, owes: Literal["header", "body", "rest", "next", "nothing"]) -> None:
        self._owes = owes
        self._since = self.loop.time()
        match owes:
            case "nothing":
                self._door.owes_nothing(self)
            case "next":
                self._door.owes_next(self)
            case _:
                self._door.owes_request(self)

    def _refuse_instead(self, reason: Reason, path: bytes) -> None:
        self._door.refused(reason)
        self.app = cast("Any", _answer(reason, path.decode("latin-1")))

    def _reads_nothing(self, now: float) -> bool:
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent:
            self._sent_at = now
        self._unsent = unsent
        return now - self._sent_at > self._door.write_seconds


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the caller, who lets everything else end in order too."""
        yield


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    limits: ServerLimits,
    metrics: ServiceMetrics,
) -> None:
    """Answer requests until `stop` is set; requests under way are finished first, 5 s at most."""
    limits = replace(limits, connections_max=_room_for(limits.connections_max))
    door = Door(limits, metrics)
    server = _Server(
        Config(
            app,
            http=cast("type[asyncio.Protocol]", partial(_Connection, door)),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=limits.idle_seconds,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
    )

    async def watch() -> None:
        await stop.wait()
        door.stop()
        server.should_exit = True

    async def sweep() -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            door.sweep(asyncio.get_running_loop().time())

    tasks = [asyncio.create_task(watch()), asyncio.create_task(sweep())]
    _spare_the_collector()
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()


def _room_for(connections: int) -> int:
    """Have the process's limit of open files raised, and return how many connections fit in it.

    Out of descriptors, the desk could reach neither its database nor its log.
    """
    if os.name != "posix":
        return connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    granted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    if granted < wanted:
        connections = max(granted - _OTHER_DESCRIPTORS, granted // 2)
        _log.warning("too few file descriptors", wanted=wanted, connections=connections)
    return connections


def _spare_the_collector() -> None:
    """Leave what is there at the start out of garbage collection, and collect less often.

    Modules, routes and schemas live as long as the process. To look through all of them again and
    again stops every request for more than a tenth of a second.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
