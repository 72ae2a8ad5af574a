"""A real PostgreSQL for tests: one server per test process, a fresh database per test."""

import asyncio
from collections.abc import Coroutine, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg

from shared.postgres.embedded import EmbeddedPostgres

FAST: Final = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class TestPostgres:
    """A server with a thread and an event loop of its own, so that any test may ask it."""

    __test__ = False

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None) -> None:
        self._server = EmbeddedPostgres(data, settings={**FAST, **(settings or {})})
        self._thread = ThreadPoolExecutor(1, "postgres")
        self._runner = asyncio.Runner()
        self._numbers = count(1)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self._thread.submit(self._runner.run, work).result()

    def start(self) -> None:
        """Start the server."""
        self._do(self._server.start())

    def stop(self) -> None:
        """Stop the server and the thread."""
        self._do(self._server.stop())
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()

    def create_database(self, name: str) -> tuple[str, str]:
        """Make an empty database; return its unique name and its URL."""
        database = f"{name}_{next(self._numbers)}"
        self._do(self._execute(f'CREATE DATABASE "{database}"'))
        return database, self._server.dsn(database)

    def drop_database(self, database: str) -> None:
        """Drop a database, whoever is connected."""
        self._do(self._execute(f'DROP DATABASE "{database}" WITH (FORCE)'))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._server.dsn("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def fresh_database(server: TestPostgres, name: str) -> Generator[str]:
    """Make an empty database, yield its URL, and drop it afterwards."""
    database, dsn = server.create_database(name)
    try:
        yield dsn
    finally:
        server.drop_database(database)
