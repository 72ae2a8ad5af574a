"""Clients in bad faith beside those in good faith: what the second wait longer for the first.

Run by itself, `python -m bench.slow HOST PORT`, it is the clients in bad faith.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from bench.client import Load, open_loop, request
from bench.desk import Desk, a_desk
from bench.doors import ticket
from bench.figures import Figure

SLOW_CONNECTIONS: Final = 1_000
_ELSEWHERE: Final = "127.0.0.2"  # another address than that of the clients in good faith
_PER_SECOND: Final = 100
_BOMB_BYTES: Final = 150 * 1024 * 1024
_PART_BYTES: Final = 256 * 1024
_STARTS: Final = (
    b"GET /health/live HTTP/1.1\r\nHost: desk\r\nX-Slow: ",
    b"POST /intake/tickets HTTP/1.1\r\nHost: desk\r\nContent-Length: 100000\r\n\r\n",
)


def of_slow_clients(seconds: float) -> list[Figure]:
    """Post tickets without, with, and again without a thousand slow clients; then with a bomb."""
    with a_desk(None) as desk:
        desk.start()
        asyncio.run(_tickets(desk, seconds, "warm"))
        before = asyncio.run(_tickets(desk, seconds, "before"))
        with _bad_faith(desk):
            among = asyncio.run(_tickets(desk, seconds, "among"))
        after = asyncio.run(_tickets(desk, seconds, "after"))
        alone = asyncio.run(_health(desk, seconds))
        with _bad_faith(desk, "bomb"):
            bombed = asyncio.run(_health(desk, seconds))
        began = time.perf_counter()
        desk.stop()
        stopped = time.perf_counter() - began
    without = (before.percentile(0.99) + after.percentile(0.99)) / 2
    with_them = among.percentile(0.99)
    return [
        Figure(
            f"tickets at {_PER_SECOND}/s beside {SLOW_CONNECTIONS:,} slow connections",
            "p99 as without them",
            f"p99 {with_them:.1f} ms; without {before.percentile(0.99):.1f} and"
            f" {after.percentile(0.99):.1f} ms; {with_them / without:.2f} times;"
            f" failures {among.failures}",
        ),
        Figure(
            f"health while a header of {_BOMB_BYTES >> 20} MB is sent",
            "as without it",
            f"worst {bombed.percentile(1):.1f} ms; without {alone.percentile(1):.1f} ms;"
            f" {bombed.percentile(1) / alone.percentile(1):.2f} times",
        ),
        Figure("stop of that desk", "–", f"{stopped:.1f} s"),
    ]


@contextmanager
def _bad_faith(desk: Desk, *how: str) -> Iterator[None]:
    """Have clients in bad faith about, in a process of their own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.slow", *map(str, desk.address), *how], stdout=subprocess.PIPE
    )
    try:
        if process.stdout is not None:
            process.stdout.readline()  # says when they are there
        yield
    finally:
        process.kill()
        process.wait()


async def _tickets(desk: Desk, seconds: float, name: str) -> Load:
    body = ticket(len(name))
    return await open_loop(
        desk.address,
        lambda _: request("POST", "/intake/tickets", desk.token, body),
        per_second=_PER_SECOND,
        seconds=seconds,
    )


async def _health(desk: Desk, seconds: float) -> Load:
    live = request("GET", "/health/live", desk.token)
    return await open_loop(desk.address, lambda _: live, per_second=_PER_SECOND, seconds=seconds)


async def _be_slow(address: tuple[str, int], start: bytes) -> None:
    """Send a request a byte a second; once thrown out, come again."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(*address, local_addr=(_ELSEWHERE, 0))
            writer.write(start)
            while not writer.is_closing():
                await asyncio.sleep(1)
                writer.write(b"x")
                await writer.drain()


async def _be_many(address: tuple[str, int]) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(SLOW_CONNECTIONS):
            group.create_task(_be_slow(address, _STARTS[number % 2]))
            if number % 50 == 0:
                await asyncio.sleep(0.05)
        _say_so()


def _say_so() -> None:
    sys.stdout.write("here\n")
    sys.stdout.flush()


async def _bomb(address: tuple[str, int]) -> None:
    """Send headers that are too large, one after the other."""
    _say_so()
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(*address, local_addr=(_ELSEWHERE, 0))
            writer.write(_STARTS[0])
            for _ in range(_BOMB_BYTES // _PART_BYTES):
                writer.write(b"x" * _PART_BYTES)
                await writer.drain()
            writer.close()
        await asyncio.sleep(0.5)


if __name__ == "__main__":
    target = (sys.argv[1], int(sys.argv[2]))
    asyncio.run(_bomb(target) if sys.argv[3:] else _be_many(target))
