"""Loops that never die in silence: each says when it last worked and what stops it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from shared.runtime.weather import RACES_MAX, RETRY_AT_ONCE, WEATHER, public_cause

_log = structlog.get_logger()

SILENCE_SECONDS_MAX: Final = 30
_LOG_EVERY: Final = 30
_BACKOFF_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


@dataclass(slots=True)
class Pulse:
    """A loop's state, for readiness: `trouble` is what its last try met, None if it worked."""

    name: str
    beat_at: float | None = None
    trouble: str | None = None
    is_weather: bool = True

    def verdict(self, loop_time: float) -> str | None:
        """Return what is wrong with the loop, or None: it works, or never needed to yet."""
        if self.trouble is not None:
            return self.trouble
        if self.beat_at is None:
            return "has not worked yet"
        silence = loop_time - self.beat_at
        return f"silent for {silence:.0f} s" if silence > SILENCE_SECONDS_MAX else None


class Loop:
    """Runs `step` for ever; `recover` before the first step and after every failed one."""

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[None]],
        recover: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.pulse = Pulse(name)
        self._step = step
        self._recover = recover

    async def run(self) -> None:
        """Run until cancelled; weather is waited out, a fault of ours too, but logged whole."""
        failures = races = 0
        recovered = False
        loop = asyncio.get_running_loop()
        while True:
            try:
                if not recovered and self._recover is not None:
                    await self._recover()
                recovered = True
                await self._step()
            except Exception as error:  # noqa: BLE001 kept in the pulse, where readiness sees it
                recovered = False
                if isinstance(error, RETRY_AT_ONCE) and races < RACES_MAX:
                    races += 1
                    continue
                self._note(error, failures)
                await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])
                failures += 1
            else:
                failures = races = 0
                self.pulse.beat_at = loop.time()
                self.pulse.trouble = None

    def _note(self, error: Exception, failures: int) -> None:
        self.pulse.is_weather = isinstance(error, WEATHER)
        self.pulse.trouble = public_cause(error)
        if not self.pulse.is_weather and failures % _LOG_EVERY == 0:
            _log.error("loop_failed", loop=self.pulse.name, exc_info=error)
        elif self.pulse.is_weather and failures == 0:
            cause = repr(error.__cause__ or error)
            _log.warning("loop_waits", loop=self.pulse.name, reason=str(error), cause=cause)


async def end_all(tasks: Iterable[asyncio.Task[None]], again_seconds: float = 5) -> None:
    """Cancel tasks until all have ended, however they end.

    Once is not enough: `asyncio.wait_for` of Python 3.11 loses a cancellation that comes as what it
    waits for is done, and clients of Kafka wait by it.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again_seconds)
