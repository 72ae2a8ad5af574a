"""The fence between two versions on one database (R13).

A transaction that writes what events make, or decides because of them, holds the row that names the
live fold. A switch waits for all who hold it; who comes later with another fold finds no row.
"""

from typing import Final

from shared.errors import UnavailableError
from shared.postgres.pool import Connection

LIVE_FOLD: Final = "SELECT fingerprint FROM kernel.live_fold"
HOLD: Final = "SELECT fingerprint FROM kernel.live_fold WHERE fingerprint = $1 FOR KEY SHARE"
_STOP_ALL: Final = "LOCK TABLE kernel.live_fold IN EXCLUSIVE MODE"
_NAME: Final = """
INSERT INTO kernel.live_fold (fingerprint) VALUES ($1)
ON CONFLICT (only_one) DO UPDATE SET fingerprint = EXCLUDED.fingerprint
"""


class SupersededError(UnavailableError):
    """Another version's read model is live; what this one folds or decides no longer counts."""


def superseded(live: str | None, own: str) -> str:
    """Say that another fold is live."""
    return f"the read model is of fold {shown(live)} now, this program has {shown(own)}"


def shown(fingerprint: str | None) -> str:
    """Return a fingerprint as people see it: the fold's version and the begin of the digest."""
    return "none" if fingerprint is None else fingerprint[:16]


async def hold_fold(connection: Connection, fingerprint: str) -> None:
    """Keep the fold live to the end of the transaction.

    Raises: SupersededError when another one is; the transaction must then be undone.
    """
    if await connection.fetchval(HOLD, fingerprint) is None:
        raise SupersededError(superseded(await connection.fetchval(LIVE_FOLD), fingerprint))


async def stop_all(connection: Connection) -> None:
    """Wait until nobody holds the fold, and keep all from it to the end of the transaction.

    A lock on the table, not the row: those who come later queue behind it, so that it is got.
    """
    await connection.execute(_STOP_ALL)


async def name_fold(connection: Connection, fingerprint: str) -> None:
    """Say which fold is live from this transaction on."""
    await connection.execute(_NAME, fingerprint)
