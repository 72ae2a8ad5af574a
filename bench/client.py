"""A small HTTP/1.1 client for load: keep-alive connections, one request at a time on each."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Load:
    """What a run measured: seconds per request, and how long it all took."""

    latencies: list[float] = field(default_factory=list[float])
    failures: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Requests answered per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """The latency in milliseconds that this share of requests kept to."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else 0.0


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        """Connect."""
        return cls(*await asyncio.open_connection(host, port))

    async def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; return status and body of the answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        place = head.lower().find(b"content-length:")
        length = int(head[place + 15 : head.index(b"\r\n", place)]) if place >= 0 else 0
        return status, await self._reader.readexactly(length)

    async def close(self) -> None:
        """Close."""
        self._writer.close()
        await self._writer.wait_closed()


def request(method: str, path: str, token: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def closed_loop(
    address: tuple[str, int], make: Callable[[int], bytes], *, connections: int, seconds: float
) -> Load:
    """Send on every connection as fast as answers come, for so many seconds."""
    load, numbers = Load(), iter(range(10**9))
    began = time.perf_counter()

    async def work() -> None:
        connection = await Connection.open(*address)
        while time.perf_counter() - began < seconds:
            sent = time.perf_counter()
            status, _ = await connection.send(make(next(numbers)))
            load.latencies.append(time.perf_counter() - sent)
            load.failures += status >= 400
        await connection.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    load.seconds = time.perf_counter() - began
    return load


async def open_loop(
    address: tuple[str, int], make: Callable[[int], bytes], *, per_second: float, seconds: float
) -> Load:
    """Send at a fixed rate whatever the answers do; latency counts from when it was due."""
    load = Load()
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(256):
        free.put_nowait(await Connection.open(*address))
    began = time.perf_counter()

    async def one(number: int, due: float) -> None:
        connection = await free.get()
        status, _ = await connection.send(make(number))
        load.latencies.append(time.perf_counter() - due)
        load.failures += status >= 400
        free.put_nowait(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(int(per_second * seconds)):
            due = began + number / per_second
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            group.create_task(one(number, due))
    load.seconds = time.perf_counter() - began
    while not free.empty():
        await free.get_nowait().close()
    return load
