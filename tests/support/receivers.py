"""Webhook receivers on loopback, each with its own manners."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

OK = "200 OK"


@dataclass(frozen=True, slots=True)
class Request:
    """What arrived, when by the loop's clock, and under which delivery's id."""

    at: float
    delivery: str
    signature: str
    body: bytes


@dataclass
class Receiver:
    """Answers `answers` one after the other and then `then`, `seconds` later; None: never.

    An answer is a status line, further header lines behind it, after a blank line the body.
    """

    then: str | None = OK
    seconds: float = 0
    answers: list[str] = field(default_factory=list[str])
    port: int = 0
    seen: list[Request] = field(default_factory=list[Request])
    at_once: int = 0
    at_once_max: int = 0
    busy: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def bodies(self) -> list[str]:
        """What arrived, in order."""
        return [request.body.decode() for request in self.seen]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        task = asyncio.current_task()
        assert task is not None
        self.busy.add(task)
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        with suppress(ConnectionError):  # the sender was killed, or has read enough
            while request := await _read(reader):
                self.seen.append(request)
                answer = self.answers.pop(0) if self.answers else self.then
                if answer is None:
                    await reader.read()  # until the other side gives up
                    break
                await asyncio.sleep(self.seconds)
                head, _, body = answer.partition("\n\n")
                head = head.replace("\n", "\r\n")
                writer.write(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
                writer.write(body.encode())
                await writer.drain()
            writer.close()
            await writer.wait_closed()
        self.at_once -= 1
        self.busy.discard(task)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    lines = [line.split(": ", 1) for line in head.split("\r\n")[1:] if line]
    headers = {name.lower(): value for name, value in lines}
    body = await reader.readexactly(int(headers["content-length"]))
    now = asyncio.get_running_loop().time()
    return Request(now, headers["desk-delivery"], headers["desk-signature"], body)


@asynccontextmanager
async def receiving(*receivers: Receiver) -> AsyncGenerator[None]:
    """Have them listen."""
    servers = [await asyncio.start_server(one.serve, "127.0.0.1", 0) for one in receivers]
    for one, server in zip(receivers, servers, strict=True):
        one.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        for server in servers:
            server.close()
        if left := {task for one in receivers for task in one.busy}:
            await asyncio.wait(left)  # who sends has closed its connections by now
