"""Migrations: the kernel's tables in each database, and a service's own where it has some.

Each has a folder of Alembic revisions and a version table of its own. Alembic writes the SQL and
asyncpg runs it, so that no second driver is needed. Read models are not migrated but rebuilt.
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg

from shared.errors import StartupError

KERNEL: Final = {"kernel": Path(__file__).parent / "migrations" / "versions"}
_LOCK_KEY: Final = 0x6465736B  # "desk": one migration per database at a time


async def migrate(dsn: str, own: Mapping[str, Path] | None = None) -> list[str]:
    """Bring a database to the newest revisions and return those reached; several may try at once.

    `own` names the service's folders of revisions beside the kernel's. Revisions of one thousand
    only add, so a program works on a database that a newer one has brought further: an upgrade goes
    on beside the version before, and can be rolled back (R13).
    Raises: StartupError when the database is of a later thousand.
    """
    connection = await asyncpg.connect(dsn)
    try:
        reached: list[str] = []
        for name, folder in {**KERNEL, **(own or {})}.items():
            known = sorted(path.stem for path in folder.glob("[0-9]*.py"))
            if await _current(connection, name) == known[-1]:
                continue
            # Before the transaction: it then sees what the last holder of the lock has made. A lock
            # taken within leaves PostgreSQL believing that a table it has missed is still missing.
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
            async with connection.transaction():
                current = await _current(connection, name)
                if current is not None and current not in known:
                    _require_same_thousand(current, known[-1])
                elif current != known[-1]:
                    await connection.execute(_script(name, folder, current))
                    reached.append(known[-1])
        return reached
    finally:
        await connection.close()


def _require_same_thousand(current: str, known: str) -> None:
    if current[0] != known[0]:
        raise StartupError(
            f"the database is at revision {current}, which does not work with this version;"
            f" it knows {known}"
        )


async def _current(connection: "asyncpg.Connection[asyncpg.Record]", name: str) -> str | None:
    table = f"public.version_{name}"
    if await connection.fetchval("SELECT to_regclass($1)", table) is None:
        return None
    return await connection.fetchval(f"SELECT version_num FROM {table}")  # noqa: S608 name of ours


def _script(name: str, folder: Path, current: str | None) -> str:
    from alembic import command
    from alembic.config import Config

    buffer = io.StringIO()
    config = Config(output_buffer=buffer)
    config.set_main_option("script_location", str(KERNEL["kernel"].parent))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(folder))
    config.set_main_option("version_table", f"version_{name}")
    command.upgrade(config, f"{current or 'base'}:head", sql=True)
    return buffer.getvalue()
