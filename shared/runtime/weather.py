"""What passes by itself, what somebody else was quicker at, and what is a fault (R10, R14)."""

import traceback
from typing import Final

import asyncpg

from shared.errors import DeskError, UnavailableError
from shared.postgres.pool import IDLE_IN_TRANSACTION_SECONDS_MAX

TRIES_MAX: Final = 3
"""How often what fails alone is tried before it is set aside: a frozen replica is no reason to."""
_CAUSE_CHARS_MAX: Final = 3_500


class OvertakenError(UnavailableError):
    """Another replica has moved these offsets; this one must load them again."""


class MovedOnError(UnavailableError):
    """A stream moved on while a reaction decided; it must decide again, on what is there now."""


class CutOffError(Exception):
    """A connection broke after a transaction that took longer than one may lie idle.

    The server ends such a session without a word that would reach us.
    """


WEATHER: Final = (
    UnavailableError,
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that was cut while it was in use
    asyncpg.InsufficientResourcesError,  # a full disk, no memory, too many connections
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,  # starting up, or shutting down
    asyncpg.PostgresSystemError,  # the disk fails or refuses
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not yet promoted
)
"""What passes by itself: wait and try again for ever (R10).

Time-outs of our own making are not here: what takes longer than a statement, a lock or an idle
transaction may take will very likely take as long the next time (R14).
"""

RETRY_AT_ONCE: Final = (
    OvertakenError,
    MovedOnError,
    asyncpg.UniqueViolationError,
    asyncpg.DeadlockDetectedError,
)
"""Somebody else was quicker; load positions and try again without waiting."""
RACES_MAX: Final = 10
"""How often in a row somebody may be quicker; who loses more often loses to itself."""


def blamed(error: Exception, seconds: float) -> Exception:
    """Return what to blame for a transaction that failed after `seconds`."""
    is_cut = isinstance(error, asyncpg.InterfaceError | asyncpg.PostgresConnectionError)
    if is_cut and seconds > IDLE_IN_TRANSACTION_SECONDS_MAX:
        return CutOffError(f"a transaction took {seconds:.0f} s and was cut off: {error}")
    return error


def is_hopeless(error: Exception, tries: int) -> bool:
    """Say whether what failed alone, for the `tries`th time, need not be tried again.

    An error of the desk's own tree is a verdict; anything else may be an accident.
    """
    return isinstance(error, DeskError) or tries >= TRIES_MAX


def public_cause(error: BaseException) -> str:
    """Return what anybody may read of an error: its kind, and our own words where it has any.

    The text of others' errors may hold values of rows; it is in the log.
    """
    name = type(error).__name__
    return f"{name}: {error.detail}" if isinstance(error, DeskError) else name


def cause_of(error: Exception) -> str:
    """Return what went wrong for those who must mend it: a line, then the traceback's end."""
    if isinstance(error, DeskError):
        return error.detail
    trace = "".join(traceback.format_exception(error))
    return f"{type(error).__name__}: {error}"[:500] + "\n" + trace[-_CAUSE_CHARS_MAX:]
