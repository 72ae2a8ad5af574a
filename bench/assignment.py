"""What an assignment costs on a large desk: of a new ticket, and of one that waits.

The desk is made in the database itself; routing's reaction is told events without a log. The disk
is left out (no fsync), so that what is compared is the work: after a million rows were made, each
first touch of a page writes it whole.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from hashlib import md5
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from bench.figures import Figure
from bench.history import START
from services.routing.projections import READ_MODEL
from services.routing.reactions import react
from services.routing.wiring import room
from shared.clock import SystemClock
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import Requester, Scope, TicketCreated, TicketResolved
from shared.contracts.registry import Recorded, decode_event
from shared.ids import event_id
from shared.journal.journal import Journal
from shared.postgres.embedded import EmbeddedPostgres
from shared.postgres.migrate import migrate
from shared.postgres.pool import Pool, open_pool
from shared.replay import schema
from shared.runtime.read_model import Fold, write
from shared.runtime.unit import Batch, Unit

OPEN_TICKETS: Final = 1_000_000
_BUDGET_MS: Final = 20
_NO_DISK: Final = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
_EACH: Final = 200
_AGENTS: Final = """
INSERT INTO desk.agent SELECT 'a' || n, 'service-desk', ARRAY['network', 'hardware'], true,
    count(t.*), count(t.*) + CASE WHEN n % 2 = 0 THEN 1000 ELSE 0 END, 'A', 1, 1, false
FROM generate_series(1, $1::int) n LEFT JOIN desk.ticket t ON t.agent_id = 'a' || n AND t.is_open
GROUP BY n
"""
_SEATS: Final = """
INSERT INTO desk.seat SELECT "group", s, workload, agent_id
FROM desk.agent, unnest(skills || ''::text) s WHERE workload < workload_max
"""
_TICKETS: Final = """
INSERT INTO desk.ticket SELECT md5(n::text)::uuid, 0, 'P' || 1 + n % 4, 'low', 'low',
    'service-desk', CASE WHEN n % 10 > 0 THEN 'a' || 1 + n % $1::int END, 1, 0, 0, false, 1,
    'hardware', NULL, 'low', 1, 1, timestamptz '2026-01-01Z' + n * interval '1 s', 1, true, true,
    CASE WHEN n % 10 > 0 THEN '' ELSE 'hardware' END, 1
FROM generate_series(1, $2::int) n
"""


def of_assignment(agents: int) -> list[Figure]:
    """Measure a desk of so many agents, with a million open tickets of which a tenth waits."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder), agents))


async def _measure(folder: Path, agents: int) -> list[Figure]:
    server = EmbeddedPostgres(folder, settings=_NO_DISK)
    await server.start()
    try:
        await server.ensure_databases(["routing"])
        dsn = server.dsn("routing")
        await migrate(dsn, room().spec.migrations)
        maker = await open_pool(dsn, role="desk_replay", name="bench", size_max=1)
        async with maker.acquire() as connection, connection.transaction():
            await schema.create(connection, READ_MODEL, schema.LIVE)
        await maker.close()
        owner = await asyncpg.connect(dsn)
        await owner.execute(_TICKETS, agents, OPEN_TICKETS)
        await owner.execute(_AGENTS, agents)
        await owner.execute(_SEATS)
        await owner.execute("VACUUM ANALYZE")
        await owner.close()
        pool = await open_pool(dsn, role="desk_app", name="bench", size_max=1)
        name = f"{agents:,} agents, {OPEN_TICKETS:,} open tickets"
        new = [_created(number) for number in range(2 * _EACH)]
        ended = [_resolved(number) for number in range(1, _EACH + 1)]
        figures = [
            await _tell(pool, f"{name}: a new ticket", [[event] for event in new[:_EACH]]),
            await _tell(pool, f"{name}: a new ticket, {_EACH} at once", [new[_EACH:]]),
            await _tell(pool, f"{name}: one ends, one that waits is given", [[e] for e in ended]),
        ]
        await pool.close()
    finally:
        await server.stop()
    return figures


async def _tell(pool: Pool, path: str, batches: Sequence[Sequence[Recorded]]) -> Figure:
    clock = SystemClock()
    journal = Journal("routing", clock)
    spent: list[float] = []
    for events in batches:
        began = time.perf_counter()
        async with pool.acquire() as connection, connection.transaction():
            fold = Fold(READ_MODEL)
            for event in events:
                fold.add(event)
            await write(connection, READ_MODEL, fold, "read")
            unit = Unit(connection, journal, clock.now())
            await react(Batch(events, []), unit)
            await unit.flush()
        spent.append((time.perf_counter() - began) * 1000 / len(events))
    spent.sort()
    median, worst = spent[len(spent) // 2], spent[int(len(spent) * 0.99)]
    measured = f"median {median:.2f} ms, p99 {worst:.2f} ms" if spent[1:] else f"{median:.2f} ms"
    return Figure(path, f"p99 < {_BUDGET_MS} ms", measured, is_met=worst < _BUDGET_MS)


def _created(number: int) -> Recorded:
    data = TicketCreated(
        ticket_id=UUID(int=number + 1),
        number=f"INC-{number}",
        kind="incident",
        title="VPN drops",
        description="",
        requester=Requester(id="ann"),
        occurred_at=START,
        impact=None,
        urgency="high",
        scope=Scope(people=12),
        category="network",
        service=None,
        channel="api",
        origin="bench",
    )
    return _recorded(data, 1)


def _resolved(number: int) -> Recorded:
    ticket_id = UUID(md5(str(10 * number + 1).encode(), usedforsecurity=False).hexdigest())
    data = TicketResolved(ticket_id=ticket_id, resolved_by="bo", resolution="done")
    return _recorded(data, 2)


def _recorded(data: EventData, sequence: int) -> Recorded:
    value = encode_event(
        "intake",
        data,
        sequence=sequence,
        event_id=event_id("intake", data.stream_id, sequence),
        time=START,
        recorded_at=START,
        lineage=Lineage(actor="bench", correlation_id="bench"),
    )
    return decode_event(data.TYPE, value)
