"""A TCP proxy on loopback that can refuse, reset, swallow or delay what goes through it."""

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal

Mode = Literal["pass", "refuse", "black_hole", "reset", "delay"]
DELAY_SECONDS: Final = 5.0
_CHUNK_BYTES: Final = 65_536
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)  # closing sends RST, not FIN


class TcpProxy:
    """Passes connections on to `target_port`, as `mode` says. As a context: it runs in a thread.

    refuse: nobody listens, open connections end. reset: connections end with RST, also new ones.
    black_hole: connections are taken, and nothing ever comes back. delay: every piece of data is
    kept for DELAY_SECONDS.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self._target_port = target_port
        self._mode: Mode = "pass"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> "TcpProxy":
        """Listen."""
        self._thread.start()
        self.set_mode("pass")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every connection, and the thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def set_mode(self, mode: Mode) -> None:
        """Behave so from now on, also towards connections that are open."""
        asyncio.run_coroutine_threadsafe(self._change(mode), self._loop).result(10)

    async def _change(self, mode: Mode) -> None:
        self._mode = mode
        if mode in {"refuse", "reset"}:
            await self._hang_up()
        if mode == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        if mode != "refuse" and self._server is None:
            self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)

    async def _end(self) -> None:
        await self._change("refuse")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _hang_up(self) -> None:
        for writer in list(self._open):
            self._reset(writer)

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        channel: socket.socket | None = writer.get_extra_info("socket")
        if channel is not None and self._mode == "reset":
            with suppress(OSError):
                channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        writer.transport.abort()
        self._open.discard(writer)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        if self._mode == "reset":
            self._reset(writer)
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            self._reset(writer)
            return
        self._open.add(back)
        for source, sink in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pump(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK_BYTES):
                if self._mode == "delay":
                    await asyncio.sleep(DELAY_SECONDS)
                if self._mode != "black_hole":
                    sink.write(data)
                    await sink.drain()
        sink.transport.abort()
        self._open.discard(sink)
