"""When a delivery is tried again, and when it is given up. Pure: time and chance are inputs."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, Literal

ATTEMPTS_MAX: Final = 12
"""Of a delivery that its receiver refuses: about an hour."""
GIVE_UP_AFTER: Final = timedelta(days=3)
"""How long a receiver may be away, or fail, before what waits for it is dead."""
QUICK_SECONDS: Final = 1.0
RETRY_AFTER_MAX: Final = timedelta(days=1)
_WAIT_SECONDS_MAX: Final = 3_600
_REST_SECONDS_MAX: Final = 300
_COME_AGAIN: Final = frozenset({408, 425, 429})
_GONE: Final = 410

State = Literal["pending", "sent", "dead"]


class DeliveryVerdict(StrEnum):
    """What an answer says about a delivery."""

    ARRIVED = "arrived"
    FAILED = "failed"  # nobody answered, or the receiver cannot now
    REFUSED = "refused"  # it answers, and does not want this
    GONE = "gone"  # it wants nothing any more


@dataclass(frozen=True, slots=True)
class ReceiverAnswer:
    """How a receiver answered; no status where nobody did. `wait` is its Retry-After."""

    status: int | None
    seconds: float
    detail: str = ""
    wait: timedelta | None = None

    @property
    def verdict(self) -> DeliveryVerdict:
        """What it says: redirects are refusals, for they are not followed."""
        if self.status is None or self.status >= 500 or self.status in _COME_AGAIN:
            return DeliveryVerdict.FAILED
        if 200 <= self.status < 300:
            return DeliveryVerdict.ARRIVED
        return DeliveryVerdict.GONE if self.status == _GONE else DeliveryVerdict.REFUSED

    @property
    def error(self) -> str | None:
        """Why it did not arrive, for an operator; None if it did."""
        if self.verdict is DeliveryVerdict.ARRIVED:
            return None
        status = "" if self.status is None else f"HTTP {self.status}"
        return ": ".join(part for part in (status, self.detail) if part)


def state_after(verdict: DeliveryVerdict, attempts: int, age: timedelta) -> State:
    """Return what becomes of a delivery after so many attempts, `age` after it was decided."""
    match verdict:
        case DeliveryVerdict.ARRIVED:
            return "sent"
        case DeliveryVerdict.GONE:
            return "dead"
        case DeliveryVerdict.REFUSED:
            return "dead" if attempts >= ATTEMPTS_MAX or age >= GIVE_UP_AFTER else "pending"
        case DeliveryVerdict.FAILED:
            return "dead" if age >= GIVE_UP_AFTER else "pending"


def wait_after(attempts: int, chance: float) -> timedelta:
    """Return a delivery's wait: 2, 4, 8 … seconds, at most an hour, less up to half by chance."""
    return _spread(min(2**attempts, _WAIT_SECONDS_MAX), chance)


def rest_after(failures: int, chance: float) -> timedelta:
    """Return a receiver's rest after so many failures in a row: 0, 2, 4 … seconds, at most 300.

    One failure alone may be that of one delivery; the next one tells.
    """
    if failures <= 1:
        return timedelta()
    return _spread(min(2 ** (failures - 1), _REST_SECONDS_MAX), chance)


def _spread(seconds: float, chance: float) -> timedelta:
    return timedelta(seconds=seconds * (1 - chance / 2))


def retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Return the wait that a Retry-After asks for, a day at most; None where it asks for none.

    Source: RFC 9110, 10.2.3: seconds, or a date.
    """
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=min(int(value[:9]), 10**6)), RETRY_AFTER_MAX)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    wait = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - now
    return min(max(wait, timedelta()), RETRY_AFTER_MAX)
