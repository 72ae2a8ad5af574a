"""A writer restored from an older backup says other things under sequences it has used before."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from support.inprocess import InProcessDesk, in_process_desk
from support.invariants import broken_invariants

from services.host import ROOMS
from shared.log.embedded import EmbeddedLog
from shared.postgres.migrate import migrate

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


async def number_of(desk: InProcessDesk, number: int) -> str:
    """Report a ticket; return the number that people read out."""
    ticket = await desk.report(number)
    await desk.settle()
    return (await desk.clients["intake"].get(f"/tickets/{ticket}")).json()["number"]


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


async def copy_of_journal(dsn: str, new: str) -> None:
    """Fill a new database with journal and offsets, as one may who has the log and no backup."""
    await migrate(new)
    old, fresh = await asyncpg.connect(dsn), await asyncpg.connect(new)
    for table in ("journal", "consumer_offset"):
        rows = await old.fetch(f"SELECT * FROM kernel.{table}")
        await fresh.copy_records_to_table(table, schema_name="kernel", records=rows)
    await old.close()
    await fresh.close()


@pytest.mark.parametrize("how", ["older copy", "lost", "journal alone"])
async def test_a_number_is_not_given_again_whatever_the_database_was_restored_from(
    how: str, make_database: Callable[[str], str], tmp_path: Path
) -> None:
    log = await EmbeddedLog(make_database("log")).open()
    async with in_process_desk(make_database, tmp_path, log=log, services=["intake"]) as desk:
        numbers = [await number_of(desk, number) for number in range(TICKETS)]
        dsns = dict(desk.dsns)
    backup = await copied(dsns["intake"])
    async with in_process_desk(make_database, tmp_path, log=log, dsns=dsns) as desk:
        numbers += [await number_of(desk, number) for number in range(TICKETS, 3 * TICKETS)]
    new = {"older copy": backup}.get(how) or make_database("intake")
    if how == "journal alone":
        await copy_of_journal(dsns["intake"], new)
    try:
        restored = {"intake": new}
        async with in_process_desk(make_database, tmp_path, log=log, dsns=restored) as desk:
            at_once = [desk.report(100 + number) for number in range(2 * TICKETS)]
            tickets = await asyncio.gather(*at_once)
            await desk.settle()
            views = [await desk.clients["intake"].get(f"/tickets/{one}") for one in tickets]
            numbers += [view.json()["number"] for view in views]
    finally:
        await dropped(backup)
    assert len(set(numbers)) == 5 * TICKETS, numbers
    await log.close()
