"""Clients in bad faith beside those in good faith: what the second wait longer for the first.

Run by itself, `python -m bench.slow HOST PORT`, it is the clients in bad faith.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import Final

from bench.client import Load, open_loop, request
from bench.desk import Desk, a_desk
from bench.figures import Figure

SLOW_CONNECTIONS: Final = 1_000
_ELSEWHERE: Final = "127.0.0.2"  # another address than that of the clients in good faith
_PER_SECOND: Final = 100
_TURNS: Final = 5
_PAUSE_SECONDS: Final = 3
_BOMB_BYTES: Final = 150 * 1024 * 1024
_PART_BYTES: Final = 256 * 1024
_STARTS: Final = (
    b"GET /health/live HTTP/1.1\r\nHost: desk\r\nX-Slow: ",
    b"POST /intake/tickets HTTP/1.1\r\nHost: desk\r\nContent-Length: 100000\r\n\r\n",
)


def of_slow_clients(seconds: float) -> list[Figure]:
    """Ask without and with a thousand slow clients, in turns; then without and with bombs."""
    with a_desk(None) as desk:
        desk.start()
        ask = request("GET", "/intake/tickets?limit=1", desk.token)
        slow = _in_turns(desk, ask, seconds)
        bomb = _in_turns(desk, request("GET", "/health/live", desk.token), seconds, "bomb")
        with _bad_faith(desk):
            began = time.perf_counter()
            desk.stop()
            stopped = time.perf_counter() - began
    return [
        Figure(f"beside {SLOW_CONNECTIONS:,} slow connections", "as without", slow),
        Figure(f"health beside headers of {_BOMB_BYTES >> 20} MB", "as without", bomb),
        Figure("stop with the slow ones connected", "–", f"{stopped:.1f} s"),
    ]


def _in_turns(desk: Desk, ask: bytes, seconds: float, *how: str) -> str:
    """Measure without and with, several times, for other processes come and go meanwhile."""
    alone: list[Load] = []
    among: list[Load] = []
    for _ in range(_TURNS):
        alone.append(asyncio.run(_load(desk, ask, seconds / _TURNS)))
        with _bad_faith(desk, *how):
            among.append(asyncio.run(_load(desk, ask, seconds / _TURNS)))
    said: list[str] = []
    for name, share in ("median", 0.5), ("p99", 0.99):
        without = median(load.percentile(share) for load in alone)
        with_them = median(load.percentile(share) for load in among)
        said.append(
            f"{name} {with_them:.1f} ms, without {without:.1f} ms: {with_them / without:.2f} times"
        )
    failures = sum(load.failures for load in (*alone, *among))
    return f"{'; '.join(said)}; medians of {_TURNS} turns; {failures} failures"


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


async def _load(desk: Desk, ask: bytes, seconds: float) -> Load:
    return await open_loop(desk.address, lambda _: ask, per_second=_PER_SECOND, seconds=seconds)


async def _be_slow(address: tuple[str, int], start: bytes, here: asyncio.Semaphore) -> None:
    """Send a request a byte now and then; once thrown out, come again."""
    while True:
        with suppress(OSError):
            _, writer = await asyncio.open_connection(*address, local_addr=(_ELSEWHERE, 0))
            writer.write(start)
            here.release()
            while not writer.is_closing():
                await asyncio.sleep(_PAUSE_SECONDS)
                writer.write(b"x")
                await writer.drain()


async def _be_many(address: tuple[str, int]) -> None:
    here = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for number in range(SLOW_CONNECTIONS):
            group.create_task(_be_slow(address, _STARTS[number % 2], here))
            await here.acquire()  # one after the other: a rush is something else
        await asyncio.sleep(1)
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
