"""A service's database and a log with a past in it, and nobody at work."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from shared.contracts.registry import TOPICS
from shared.log.embedded import EmbeddedLog
from shared.log.port import TopicPartition
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.replay.rebuild import ensure
from shared.runtime.read_model import ReadModel
from support.told import Story

PARTITIONS = 2


@dataclass
class Stage:
    """What a rebuild stands on; `app` and `replay` are pools of the two roles."""

    dsn: str
    log: EmbeddedLog
    app: Pool
    replay: Pool

    async def pretend(self, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Say that the service has read all that is in these topics; return up to where."""
        ends = await self.log.end_offsets(topics)
        await self.app.executemany(
            "INSERT INTO kernel.consumer_offset (topic, partition, next_offset) VALUES ($1, $2, $3)"
            " ON CONFLICT (topic, partition) DO UPDATE SET next_offset = EXCLUDED.next_offset",
            [(*place, end) for place, end in ends.items()],
        )
        return ends


@asynccontextmanager
async def stage(
    make_database: Callable[[str], str], model: ReadModel, tickets: int
) -> AsyncGenerator[Stage]:
    """Make a log with the past of so many tickets, and an empty live model that has read none."""
    log_dsn, dsn = make_database("log"), make_database("service")
    log = await EmbeddedLog(log_dsn).open()
    await log.create_topics(TOPICS, PARTITIONS)
    await log.writer("test").send(Story(Random(1)).goes_on(tickets, 5 * tickets))
    await migrate(dsn)
    replay = await open_pool(dsn, role="desk_replay", name="replay", size_max=4)
    await ensure(model, log, replay)
    app = await open_pool(dsn, role="desk_app", name="app", size_max=4)
    try:
        yield Stage(dsn, log, app, replay)
    finally:
        await app.close()
        await replay.close()
        await log.close()
