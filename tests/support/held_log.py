"""Logs that hold or fail whoever reads them, in front of a real one."""

import asyncio
from collections.abc import Sequence
from typing import Any

from shared.log.port import LogUnavailableError, Record


class GatedLog:
    """A log that holds its readers at a gate, after some first fetches, and counts them."""

    def __init__(self, log: Any, free: int = 0) -> None:
        self._log = log
        self.gate = asyncio.Event()
        self.free = free
        self.readers = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def reader(self, name: str) -> "GatedReader":
        self.readers += 1
        return GatedReader(self, self._log.reader(name))


class GatedReader:
    def __init__(self, log: GatedLog, reader: Any) -> None:
        self._log, self._reader = log, reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def fetch(self, **limits: Any) -> Sequence[Record]:
        if self._log.free == 0:
            await self._log.gate.wait()
        else:
            self._log.free -= 1
        return await self._reader.fetch(**limits)


class BreakingLog(GatedLog):
    """A log whose readers fail after so many fetches."""

    def __init__(self, log: Any, fetches: int) -> None:
        super().__init__(log)
        self.left = fetches
        self.read = 0

    def reader(self, name: str) -> Any:
        return BreakingReader(self, self._log.reader(name))


class BreakingReader(GatedReader):
    async def fetch(self, **limits: Any) -> Sequence[Record]:
        log: Any = self._log
        if log.left == 0:
            raise LogUnavailableError("broken")
        log.left -= 1
        records = await self._reader.fetch(**limits)
        log.read += len(records)
        return records
