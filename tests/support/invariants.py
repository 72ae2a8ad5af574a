"""What must hold after anything: I1–I8 of the design, checked by one function."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from services.embedded import open_log, service_dsns
from services.host import ROOMS
from services.reporting.queries import audit
from services.settings import DeskSettings
from shared.contracts.registry import TOPICS
from shared.log.port import Log
from shared.postgres.pool import open_pool
from shared.replay.rebuild import read_log, verify
from shared.terminal.folder import attached

EFFECTS = ("journal", "outbox", "timer", "delivery")


def check_invariants(
    data: Path, acknowledged: Collection[str] = (), kafka: str | None = None
) -> None:
    """Check the desk on `data`, which may be running but must be at rest.

    `acknowledged` are ids of tickets that a caller was told exist.
    """
    broken = asyncio.run(_broken_in(data, acknowledged, kafka))
    assert not broken, "\n".join(broken)


async def _broken_in(data: Path, acknowledged: Collection[str], kafka: str | None) -> list[str]:
    settings = DeskSettings()
    async with attached(data) as postgres, open_log(postgres, settings, kafka) as log:
        return await broken_invariants(service_dsns(postgres), log, acknowledged)


async def broken_invariants(
    dsns: Mapping[str, str], log: Log, acknowledged: Collection[str] = ()
) -> list[str]:
    """Return what does not hold, one sentence each, of the services whose databases are `dsns`."""
    broken = [
        *await _log_and_journals(dsns, log, acknowledged),
        *await _replays(dsns, log),
        *await _offsets(dsns, log),
        *await _outboxes(dsns),
    ]
    if "sla" in dsns:
        broken += await _clocks(dsns["sla"])
    if "reporting" in dsns:
        broken += await _trees(dsns["reporting"])
    return broken


async def _query(dsn: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


async def _log_and_journals(
    dsns: Mapping[str, str], log: Log, acknowledged: Collection[str]
) -> list[str]:
    broken: list[str] = []
    logged: defaultdict[tuple[str, str], dict[int, set[bytes]]] = defaultdict(dict)
    created: Counter[str] = Counter()
    ids: set[str] = set()
    async for records in read_log(log, {}, await log.end_offsets(TOPICS)):
        for record in records:
            if record.value is None or record.topic == "ticket.reported":
                continue
            event = msgspec.json.decode(record.value)
            stream = logged[event["source"].removeprefix("/desk/"), event["subject"]]
            stream.setdefault(int(event["sequence"]), set()).add(record.value)
            if record.topic == "ticket.created" and event["id"] not in ids:
                created[event["subject"]] += 1
            ids.add(event["id"])
    for ticket_id in acknowledged:
        if created[ticket_id] != 1:
            broken.append(
                f"I1: {ticket_id} was acknowledged and is {created[ticket_id]} times there"
            )
    for (writer, stream_id), sequences in logged.items():
        if sorted(sequences) != list(range(1, len(sequences) + 1)):
            broken.append(f"I2: {writer} {stream_id} has sequences {sorted(sequences)} in the log")
        if any(len(values) > 1 for values in sequences.values()):
            broken.append(f"I2: {writer} {stream_id} says two things under one sequence")
    for writer, dsn in dsns.items():
        for row in await _query(
            dsn,
            "SELECT stream_id, count(*) AS n, max(sequence) AS top FROM kernel.journal GROUP BY 1",
        ):
            there = len(logged[writer, row["stream_id"]])
            if not row["n"] == row["top"] == there:
                broken.append(f"I2: {writer} {row['stream_id']}: journal {row['n']}, log {there}")
    return broken


async def _replays(dsns: Mapping[str, str], log: Log) -> list[str]:
    broken: list[str] = []
    for name, dsn in dsns.items():
        before = await _effects(dsn)
        pool = await open_pool(dsn, role="desk_replay", name="invariants", size_max=1)
        try:
            verdicts = await verify(ROOMS[name]().spec.read_model, log, pool)
        finally:
            await pool.close()
        broken += [f"I3: {name}.{v.table}: {v.difference}" for v in verdicts if not v.agrees]
        if await _effects(dsn) != before:
            broken.append(f"I7: replaying {name} had an effect")
    return broken


async def _effects(dsn: str) -> list[int]:
    return [(await _query(dsn, f"SELECT count(*) FROM kernel.{table}"))[0][0] for table in EFFECTS]


async def _offsets(dsns: Mapping[str, str], log: Log) -> list[str]:
    broken: list[str] = []
    for name, dsn in dsns.items():
        ends = await log.end_offsets(ROOMS[name]().spec.topics)
        for row in await _query(dsn, "SELECT * FROM kernel.consumer_offset"):
            end = ends[row["topic"], row["partition"]]  # type: ignore[index]
            if row["next_offset"] != end:
                broken.append(f"I4: {name} is at {row['next_offset']} of {end} in {row['topic']}")
    if "reporting" not in dsns:
        return broken
    archived = await _query(
        dsns["reporting"],
        "SELECT o.topic, o.partition, o.next_offset, count(r.*) AS n FROM kernel.consumer_offset o"
        " LEFT JOIN archive.record r USING (topic, partition) GROUP BY 1, 2, 3",
    )
    for row in archived:
        if row["n"] != row["next_offset"]:
            broken.append(f"I4: {row['topic']}-{row['partition']} has {row['n']} archived records")
    return broken


async def _clocks(dsn: str) -> list[str]:
    broken: list[str] = []
    breaches: Counter[Any] = Counter()
    for row in await _query(
        dsn, "SELECT type, value FROM kernel.journal WHERE type LIKE 'sla.breach%' ORDER BY 1"
    ):
        data = msgspec.json.decode(row["value"])["data"]
        clock = (data["ticket_id"], data["target"], data["cycle"], data["generation"])
        breaches[clock] += 1 if row["type"] == "sla.breached" else -1
    broken += [f"I5: {clock} was breached {n} times" for clock, n in breaches.items() if n > 1]
    overdue = await _query(
        dsn,
        "SELECT ticket_id, target FROM read.clock WHERE outcome IS NULL AND NOT is_paused"
        " AND due_at < now() - interval '5 s' AND breached_at IS NULL",
    )
    broken += [
        f"I5: {row['target']} of {row['ticket_id']} is overdue, not breached" for row in overdue
    ]
    return broken


async def _outboxes(dsns: Mapping[str, str]) -> list[str]:
    return [
        f"I6: {name} has {rows[0][0]} rows in its outbox"
        for name, dsn in dsns.items()
        if (rows := await _query(dsn, "SELECT count(*) FROM kernel.outbox"))[0][0]
    ]


async def _trees(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            audits = await audit(connection)
    finally:
        await connection.close()
    return [f"I8: {a.topic}-{a.partition}: {a.detail}" for a in audits if not a.is_intact]
