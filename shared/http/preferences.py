"""`Prefer: wait=2`: how long a caller waits to read its own write. Source: RFC 7240, 4.3."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

HEADER: Final = "Prefer"
WAIT_SECONDS_MAX: Final = 10
_WAIT: Final = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,9})"|([0-9]{1,9}))\s*(?:;.*)?', re.I | re.A)
_POLL_SECONDS: Final = 0.01
_POLL_SECONDS_MAX: Final = 0.05
_POLL_GROWTH: Final = 1.5

OPENAPI_PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": f"`wait=SECONDS` waits for one's own write, {WAIT_SECONDS_MAX} s at most.",
    "schema": {"type": "string"},
    "example": "wait=2",
}


def parse_wait(header: str | None) -> float:
    """Return the seconds to wait, 0 without the preference.

    Preferences that are unknown or malformed are passed over, as RFC 7240 asks; the first `wait`
    counts.
    """
    for preference in (header or "").split(","):
        if match := _WAIT.fullmatch(preference):
            return float(min(int(match.group(1) or match.group(2)), WAIT_SECONDS_MAX))
    return 0.0


async def wait_until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Ask `condition` until it holds or `seconds` are over; return whether it held.

    It is asked at least once, first after no time, then every 10 ms growing to 50 ms.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    pause = _POLL_SECONDS
    while not await condition():
        left = deadline - loop.time()
        if left <= 0:
            return False
        await asyncio.sleep(min(pause, left))
        pause = min(pause * _POLL_GROWTH, _POLL_SECONDS_MAX)
    return True
