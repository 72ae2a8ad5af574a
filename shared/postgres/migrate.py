"""Migrations: the kernel's tables in each database, and a service's own where it has some.

Read models are not migrated: they are rebuilt from the log (ADR 0004).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import asyncpg

from shared.errors import StartupError

KERNEL_VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"
_LOCK_KEY: Final = 0x6465736B  # "desk": one migration per database at a time


def expected_heads(locations: Sequence[Path]) -> set[str]:
    """Return the newest revision of each folder; a revision is its file's stem, numbered."""
    return {max(path.stem for path in location.glob("[0-9]*.py")) for location in locations}


async def current_heads(connection: "asyncpg.Connection[asyncpg.Record]") -> set[str]:
    """Return the revisions the database is at; empty for a new one."""
    if await connection.fetchval("SELECT to_regclass('public.alembic_version')") is None:
        return set()
    rows = await connection.fetch("SELECT version_num FROM public.alembic_version")
    return {row["version_num"] for row in rows}


async def migrate(dsn: str, locations: Sequence[Path] = (KERNEL_VERSIONS,)) -> list[str]:
    """Bring a database to the newest revisions and return those applied; several may try at once.

    Raises: StartupError when the database is of a newer version than this program.
    """
    connection = await asyncpg.connect(dsn)
    try:
        if await current_heads(connection) == expected_heads(locations):
            return []
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK_KEY)
        before = await current_heads(connection)
        _refuse_newer(before, locations)
        if before != expected_heads(locations):
            await _upgrade(dsn, locations)
        return sorted(await current_heads(connection) - before)
    finally:
        await connection.close()


def _refuse_newer(current: set[str], locations: Sequence[Path]) -> None:
    known = {path.stem for location in locations for path in location.glob("[0-9]*.py")}
    if unknown := sorted(current - known):
        raise StartupError(f"the database is at {', '.join(unknown)}, newer than this version")


async def _upgrade(dsn: str, locations: Sequence[Path]) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(KERNEL_VERSIONS.parent))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(str(path) for path in locations))

    def run(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "heads")

    async def connect() -> "asyncpg.Connection[asyncpg.Record]":
        return await asyncpg.connect(dsn)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()
