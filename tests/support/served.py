"""A small ASGI app behind the real HTTP server on a real socket, and clients that send bytes."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.http.limits import ServerLimits
from shared.http.server import serve
from shared.telemetry.metrics import MetricRegistry

SECONDS_MAX = 10


@dataclass
class Served:
    """Where the server listens, what it counted, and what holds its answers back."""

    port: int
    registry: MetricRegistry
    stop: asyncio.Event
    task: "asyncio.Task[None]"
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    left: int = 0
    clients: "list[Client]" = field(default_factory=list)

    async def connect(self, sent: bytes = b"") -> "Client":
        """Open a connection and send something over it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        client = Client(reader, writer)
        self.clients.append(client)
        await client.send(sent)
        return client

    async def status(self, path: str) -> int:
        """Ask for a path over a connection of its own; return the status of the answer."""
        client = await self.connect(get(path, "Connection: close"))
        return status_of(await client.rest())

    def refused(self, reason: str) -> float:
        """Return how often that was the reason."""
        counter = self.registry.counter("desk_http_refused_total").labels("desk", reason)
        return counter._value.get()

    async def until(self, condition: Any) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(SECONDS_MAX):
            while not condition():
                await asyncio.sleep(0.01)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer with the length of the body; some paths are slow, long, or do not read."""
        match scope["path"]:
            case "/slow":
                self.waiting += 1
                await self.go_on.wait()
            case "/endless":
                await self._stream(send, b"x" * 65_536, 0)
                return
            case "/ticks":
                await self._stream(send, b"data: tick\n\n", 0.02)
                return
            case "/unread":
                await _reply(send, b"unread")
                return
        length, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            length += len(message["body"])
            more = message["more_body"]
        await _reply(send, b"%d" % length)

    async def _stream(self, send: Any, part: bytes, pause_seconds: float) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not self.stop.is_set():
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(pause_seconds)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class Client:
    """One connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, sent: bytes) -> None:
        """Send, as far as the other side still listens."""
        self._writer.write(sent)
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    async def answer(self) -> bytes:
        """Read one answer that states its length."""
        async with asyncio.timeout(SECONDS_MAX):
            head = await self._reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            return head + await self._reader.readexactly(int(length))

    async def some(self, size: int) -> bytes:
        """Read up to so many bytes."""
        async with asyncio.timeout(SECONDS_MAX):
            return await self._reader.read(size)

    async def rest(self) -> bytes:
        """Read until the other side closes; a broken connection is an end too."""
        found = b""
        async with asyncio.timeout(SECONDS_MAX):
            try:
                while part := await self._reader.read(65_536):
                    found += part
            except ConnectionError:
                return found
        return found

    def close(self) -> None:
        """Leave."""
        self._writer.transport.abort()


@asynccontextmanager
async def serving(**limits: Any) -> AsyncGenerator[Served]:
    """Serve within these limits until the test is over."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    registry = MetricRegistry()
    stop = asyncio.Event()
    metrics = registry.for_service("desk")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await served.app(scope, receive, send)

    task = asyncio.create_task(
        serve(app, listener, stop, limits=ServerLimits(**limits), metrics=metrics)
    )
    served = Served(listener.getsockname()[1], registry, stop, task)
    try:
        yield served
    finally:
        served.go_on.set()
        stop.set()
        for client in served.clients:
            client.close()
        await asyncio.wait_for(task, SECONDS_MAX)


def get(path: str, *lines: str) -> bytes:
    """Return the bytes of a request without a body."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: desk", *lines, "", ""]).encode()


def post(path: str, *lines: str) -> bytes:
    """Return the header of a request that has a body."""
    return get(path, *lines).replace(b"GET", b"POST", 1)


def status_of(answer: bytes) -> int:
    """Return the status of an answer; 0 if there is none."""
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


async def _reply(send: Any, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
