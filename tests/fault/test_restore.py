"""A writer restored from an older backup says other things under sequences it has used before."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from support.inprocess import InProcessDesk, in_process_desk
from support.invariants import broken_invariants

from services.host import ROOMS
from shared.log.embedded import EmbeddedLog

TICKETS = 4


async def copied(dsn: str) -> str:
    """Copy a database to which nobody is connected, file by file; return the copy's URL.

    This is what a backup of that one database holds. A backup of the whole server would turn back
    the other services and the log with it.
    """
    name = urlsplit(dsn).path[1:]
    connection = await asyncpg.connect(dsn.replace(f"/{name}?", "/postgres?"))
    await connection.execute(f'CREATE DATABASE "{name}_backup" TEMPLATE "{name}"')
    await connection.execute(f'GRANT CREATE ON DATABASE "{name}_backup" TO desk_replay')
    await connection.close()
    return dsn.replace(f"/{name}?", f"/{name}_backup?")


async def dropped(dsn: str) -> None:
    name = urlsplit(dsn).path[1:]
    connection = await asyncpg.connect(dsn.replace(f"/{name}?", "/postgres?"))
    await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await connection.close()


async def read_models(desk: InProcessDesk) -> dict[str, list[str]]:
    """Return every row of every read table, by service and table."""
    rows: dict[str, list[str]] = {}
    for name, dsn in desk.dsns.items():
        connection = await asyncpg.connect(dsn)
        for table in ROOMS[name]().spec.read_model.tables:
            found = await connection.fetch(f"SELECT t::text FROM read.{table.name} t ORDER BY 1")
            rows[f"{name}.{table.name}"] = [row[0] for row in found]
        await connection.close()
    return rows


async def start(desk: InProcessDesk, ticket: str, agent: str) -> None:
    answer = await desk.clients["intake"].post(f"/tickets/{ticket}/start", json={"agent_id": agent})
    assert answer.is_success, answer.text


async def test_a_restored_writer_raises_the_alarm_and_overwrites_nothing(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    log = await EmbeddedLog(make_database("log")).open()
    async with in_process_desk(make_database, tmp_path, log=log) as desk:
        tickets = [await desk.report(number) for number in range(TICKETS)]
        await desk.settle()
        dsns = dict(desk.dsns)
    backup = await copied(dsns["intake"])
    async with in_process_desk(make_database, tmp_path, log=log, dsns=dsns) as desk:
        for ticket in tickets:
            await start(desk, ticket, "bo")
        await desk.settle()
        await desk.check(tickets)
        before = await read_models(desk)
    try:
        restored = dsns | {"intake": backup}
        async with in_process_desk(make_database, tmp_path, log=log, dsns=restored) as desk:
            for ticket in tickets[:2]:
                await start(desk, ticket, "cy")
            await desk.settle()
            parked = (await desk.clients["reporting"].get("/quarantine")).json()["quarantine"]
            assert [entry["reason"] for entry in parked] == ["equivocation"] * 2
            assert {ticket for ticket in tickets[:2] if ticket in str(parked)} == set(tickets[:2])
            assert "sequence 2" in parked[0]["detail"]
            assert await read_models(desk) == before, "the first word stands, everywhere"
            broken = await broken_invariants(desk.dsns, log, tickets)
            assert {line.partition(":")[0] for line in broken} == {"I2"}, broken
            assert sum("says two things" in line for line in broken) == 2
    finally:
        await dropped(backup)
    await log.close()
