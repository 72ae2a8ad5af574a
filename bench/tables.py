"""A service's tables on a PostgreSQL of their own, for questions that need no desk around them."""

import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.postgres.embedded import EmbeddedPostgres
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.replay import schema
from shared.runtime.read_model import ReadModel


@asynccontextmanager
async def tables_of(service: str, model: ReadModel) -> AsyncGenerator[Pool]:
    """Lend a pool on the empty tables of a service's read model; they are gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        await server.start()
        try:
            await server.ensure_databases([service])
            dsn = server.dsn(service)
            await migrate(dsn)
            async with await open_pool(dsn, role="desk_replay", name="bench", size_max=2) as pool:
                async with pool.acquire() as connection, connection.transaction():
                    await schema.create(connection, model, schema.LIVE)
                yield pool
        finally:
            await server.stop()
