"""Routing by itself on a database: its reaction is told events in any batches, and no log runs."""

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

import services.routing
from services.routing.chores import give_out
from services.routing.domain.agents import AgentCommand, RegisterAgent, SetAvailability
from services.routing.handlers.people import change_agent
from services.routing.handlers.state import open_state
from services.routing.projections import READ_MODEL
from services.routing.reactions import react
from shared.clock import Clock, SystemClock
from shared.contracts.envelope import Lineage
from shared.contracts.registry import Recorded
from shared.journal.handler import Intent, Written
from shared.journal.journal import Journal
from shared.postgres.migrate import migrate
from shared.postgres.pool import Connection, Pool, open_pool
from shared.replay import schema
from shared.runtime.read_model import Fold, write
from shared.runtime.unit import Batch, Unit

MIGRATIONS = {"routing": Path(services.routing.__file__).parent / "migrations"}
STATE = ("desk.agent", "desk.seat", "desk.ticket", "desk.breach")
_ALL, _IN_ORDER = "SELECT * FROM", "ORDER BY 1, 2, 3, 4"
LINEAGE = Lineage(actor="mo", correlation_id="test")


@dataclass
class RoutingDesk:
    """What stands between events and the rows that routing makes of them."""

    pool: Pool
    owner: "asyncpg.Connection[Any]"
    clock: Clock
    journal: Journal

    async def tell(self, events: Sequence[Recorded]) -> None:
        """Apply one batch as the consumer does."""
        async with self.pool.acquire() as connection, connection.transaction():
            await self.apply(connection, events)

    async def apply(self, connection: Connection, events: Sequence[Recorded]) -> None:
        fold = Fold(READ_MODEL)
        for event in events:
            fold.add(event)
        await write(connection, READ_MODEL, fold, "read")
        unit = Unit(connection, self.journal, self.clock.now())
        await react(Batch([event for event in events if not event.history], []), unit)
        await unit.flush()

    async def tell_all(self, batches: Iterable[Sequence[Recorded]]) -> None:
        for batch in batches:
            await self.tell(batch)

    async def hire(self, name: str, *skills: str, **changes: Any) -> Written:
        fields = {"group": "service-desk", "line": 1, "workload_max": 20, **changes}
        command = RegisterAgent(name, name=name, skills=skills, **fields)
        return await self._command(command)

    async def set_available(self, name: str, *, available: bool) -> Written:
        return await self._command(SetAvailability(name, available))

    async def _command(self, command: AgentCommand) -> Written:
        async with self.pool.acquire() as connection, connection.transaction():
            unit = Unit(connection, self.journal, self.clock.now())
            state = await open_state(unit)
            intent = Intent(command.agent_id, command, self.clock.now(), LINEAGE)
            written = await change_agent(state, intent)
            await state.save()
            await unit.flush()
        return written

    async def give_out(self) -> None:
        """Give who asks what waits, until nobody asks."""
        done = 1
        while done:
            async with self.pool.acquire() as connection, connection.transaction():
                unit = Unit(connection, self.journal, self.clock.now())
                done = await give_out(unit)
                await unit.flush()

    async def own(self) -> dict[str, list[Recorded]]:
        """Return the journal by stream."""
        names = [r[0] for r in await self.pool.fetch("SELECT stream_id FROM kernel.journal")]
        async with self.pool.acquire() as connection:
            return await self.journal.read(connection, sorted(set(names)))

    async def decided(self) -> dict[str, list[Any]]:
        """Return what was decided about each stream, why, and what caused it; not when."""
        return {
            stream_id: [
                (e.type, msgspec.to_builtins(e.data), e.causation_id, e.correlation_id, e.actor)
                for e in events
            ]
            for stream_id, events in (await self.own()).items()
        }

    async def state(self) -> dict[str, list[Any]]:
        """Return every row that decisions rest on."""
        return {
            table: [
                tuple(row)
                for row in await self.pool.fetch(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4")
            ]
            for table in STATE
        }

    async def forget(self, *tables: str) -> None:
        """Empty tables, as no program may."""
        for table in tables:
            await self.owner.execute(f"DELETE FROM {table}")

    async def start_over(self) -> None:
        await self.forget(
            *STATE,
            "kernel.journal",
            "kernel.outbox",
            *(f"read.{t.name}" for t in READ_MODEL.tables),
        )

    async def workloads(self) -> dict[str, int]:
        rows = await self.pool.fetch("SELECT agent_id, workload FROM desk.agent ORDER BY 1")
        return {row["agent_id"]: row["workload"] for row in rows}

    async def holders(self) -> dict[str, str | None]:
        """Return who has each ticket."""
        rows = await self.pool.fetch("SELECT ticket_id, agent_id FROM desk.ticket")
        return {row["ticket_id"]: row["agent_id"] for row in rows}


@asynccontextmanager
async def routing_desk(
    make_database: Callable[[str], str], clock: Clock | None = None
) -> AsyncGenerator[RoutingDesk]:
    """Make a database of routing with an empty read model."""
    dsn = make_database("routing")
    await migrate(dsn, MIGRATIONS)
    maker = await open_pool(dsn, role="desk_replay", name="maker", size_max=1)
    async with maker.acquire() as connection, connection.transaction():
        await schema.create(connection, READ_MODEL, schema.LIVE)
    await maker.close()
    pool = await open_pool(dsn, role="desk_app", name="routing", size_max=4)
    owner = await asyncpg.connect(dsn)
    used = clock or SystemClock()
    try:
        yield RoutingDesk(pool, owner, used, Journal("routing", used))
    finally:
        await owner.close()
        await pool.close()
