"""Connections. A service wears two hats: `app` for work, `replay` for rebuilding (R8)."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import asyncpg
import msgspec
from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Role = Literal["desk_app", "desk_replay"]
IDLE_IN_TRANSACTION_SECONDS_MAX = 10


if TYPE_CHECKING:
    _Plain = asyncpg.Connection[asyncpg.Record]
else:
    _Plain = asyncpg.Connection


class KeptConnection(_Plain):
    """A connection that is lent again as it came back: nobody leaves a session changed.

    An open transaction is rolled back; to undo what outlasts one would cost a question to the
    database each time. `tests/architecture/test_sessions.py` finds who would need it.
    """

    def get_reset_query(self) -> str:
        """Return what is asked when a connection comes back: nothing."""
        return ""


async def _prepare(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=_encode_json,
        decoder=_decode_json,
        format="binary",  # COPY takes no other
    )


def _encode_json(value: Any) -> bytes:  # noqa: ANN401 any JSON value
    return b"\x01" + msgspec.json.encode(value)


def _decode_json(value: bytes) -> Any:  # noqa: ANN401 any JSON value
    return msgspec.json.decode(memoryview(value)[1:])


async def open_pool(dsn: str, *, role: Role, name: str, size_max: int) -> Pool:
    """Open a pool whose every connection acts as `role`, and cannot act as more.

    `name` is what `pg_stat_activity` shows. Read tables are found before the kernel's.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=size_max,
        connection_class=KeptConnection if role == "desk_app" else _Plain,
        init=_prepare,
        server_settings={
            "role": role,
            "application_name": name,
            "search_path": "read,kernel",
            "timezone": "UTC",
            "statement_timeout": "60000" if role == "desk_app" else "0",
            # A replica frozen in mid-transaction must not keep its locks from the others.
            "idle_in_transaction_session_timeout": str(1000 * IDLE_IN_TRANSACTION_SECONDS_MAX)
            if role == "desk_app"
            else "0",
        },
    )


async def open_reader(dsn: str, *, name: str) -> "asyncpg.Connection[asyncpg.Record]":
    """Open a connection that reads what replay reads and can write nothing (R8).

    For commands that only look. JSON comes as text, unlike from a pool.
    """
    return await asyncpg.connect(
        dsn,
        server_settings={
            "role": "desk_replay",
            "application_name": name,
            "search_path": "read,kernel",
            "timezone": "UTC",
            "default_transaction_read_only": "on",
        },
    )
