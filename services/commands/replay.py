"""`desk replay verify|rebuild`: read models against the log."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import Progress, TextColumn

from services.settings import DeskSettings, database_url
from shared.errors import StartupError
from shared.log.archived import ArchivedLog
from shared.log.port import Log
from shared.postgres.pool import Pool
from shared.replay.rebuild import TableComparison
from shared.runtime.read_model import ReadModel
from shared.terminal.common import DEFAULT_DATA, Data, Json, err, out, print_json, run

app = typer.Typer(help="Read models against the log.", no_args_is_help=True)
Services = Annotated[list[str] | None, typer.Argument(help="All, if none is named.")]
Kafka = Annotated[
    str | None, typer.Option("--kafka", envvar="DESK_KAFKA", help="The desk's broker, if any.")
]
FromArchive = Annotated[
    bool, typer.Option(help="Read from reporting's archive, and from the log what is newer.")
]


class ReplaySources(msgspec.Struct, frozen=True):
    """Where the past is read from."""

    log: Log
    archive: ArchivedLog | None


Work = Callable[[str, ReadModel, ReplaySources, Pool, Callable[[int, int], None]], Awaitable[None]]


class Wanted(msgspec.Struct, frozen=True):
    """What a command asks for: which services, of which desk, from which source."""

    services: list[str] | None
    data: Path
    kafka: str | None
    from_archive: bool


class Line(msgspec.Struct, frozen=True):
    """One read table's verdict."""

    service: str
    table: str
    rows: int
    agrees: bool
    live_digest: str
    rebuilt_digest: str
    difference: dict[str, Any] | None


@app.command("verify", help="Rebuild every read model beside the live one and compare.")
def verify(
    services: Services = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    kafka: Kafka = None,
    from_archive: FromArchive = False,  # noqa: FBT002 a switch of the command line
) -> None:
    """One line per model; exit 1 and the first difference if any differs."""
    from shared.replay import rebuild

    lines: list[Line] = []

    async def work(
        name: str,
        model: ReadModel,
        past: ReplaySources,
        pool: Pool,
        progress: Callable[[int, int], None],
    ) -> None:
        verdicts = await rebuild.verify(model, past.log, pool, progress, past.archive)
        lines.extend(_line(name, verdict) for verdict in verdicts)

    run(_each(Wanted(services, data, kafka, from_archive), work))
    if as_json:
        print_json(lines)
    else:
        for line in lines:
            _print(line)
    if not all(line.agrees for line in lines):
        raise typer.Exit(1)


@app.command("rebuild", help="Rebuild read models and put them in the place of the live ones.")
def rebuild_models(
    services: Services = None,
    data: Data = DEFAULT_DATA,
    kafka: Kafka = None,
    from_archive: FromArchive = False,  # noqa: FBT002 a switch of the command line
) -> None:
    """Rebuild; the desk may go on working meanwhile. One that was stopped goes on where it was."""
    from shared.replay import rebuild
    from shared.replay.claim import runs_elsewhere

    async def work(
        name: str,
        model: ReadModel,
        past: ReplaySources,
        pool: Pool,
        progress: Callable[[int, int], None],
    ) -> None:
        async with pool.acquire() as connection:
            if await runs_elsewhere(connection, model.fingerprint):
                raise StartupError(
                    f"{name}: another version of the desk is at work; rebuild by that"
                )
        positions = await rebuild.rebuild(model, past.log, pool, progress, past.archive)
        out.print(f"{name:10} rebuilt from {sum(positions.values())} records")

    run(_each(Wanted(services, data, kafka, from_archive), work))


def _line(service: str, verdict: TableComparison) -> Line:
    return Line(
        service,
        verdict.table,
        verdict.rows,
        verdict.agrees,
        verdict.live_digest,
        verdict.rebuilt_digest,
        None if verdict.difference is None else msgspec.to_builtins(verdict.difference),
    )


def _print(line: Line) -> None:
    mark = "ok    " if line.agrees else "DIFFERS"
    out.print(
        f"{line.service + '.' + line.table:24} {line.rows:>9} rows "
        f" {line.live_digest[:16]}  {mark}",
        highlight=False,
    )
    if line.difference is not None:
        first = line.difference
        out.print(
            f"    row {first['key']}, column {first['column']}: live {first['live']},"
            f" rebuilt {first['rebuilt']}; event: {first['event']}",
            highlight=False,
            soft_wrap=True,
        )


async def _each(wanted: Wanted, work: Work) -> None:
    from services.embedded import open_log, service_dsns
    from services.host import ROOMS, kafka_log, known_service
    from shared.terminal.folder import attached, read_address

    settings = DeskSettings()
    names = [known_service(name) for name in wanted.services or ROOMS]
    if not wanted.data.exists():
        if wanted.kafka is None:
            raise StartupError(f"there is no desk in {wanted.data}")
        log = kafka_log(settings, wanted.kafka)
        needed = {*names, "reporting"} if wanted.from_archive else names
        try:
            await _all(names, {name: database_url(name) for name in needed}, log, wanted, work)
        finally:
            await log.close()
        return
    address = read_address(wanted.data)
    broker = wanted.kafka or (address.kafka if address is not None else None)
    async with attached(wanted.data) as postgres, open_log(postgres, settings, broker) as log:
        await _all(names, service_dsns(postgres), log, wanted, work)


async def _all(
    names: list[str], dsns: Mapping[str, str], log: Log, wanted: Wanted, work: Work
) -> None:
    from services.host import ROOMS
    from shared.postgres.pool import open_pool
    from shared.replay.progress import Pace

    async with AsyncExitStack() as stack:
        archive = None
        if wanted.from_archive:
            pool = await open_pool(
                dsns["reporting"], role="desk_replay", name="archive replay", size_max=1
            )
            stack.push_async_callback(pool.close)
            archive = ArchivedLog(pool)
        columns = (*Progress.get_default_columns()[:2], TextColumn("{task.fields[pace]}"))
        bar = stack.enter_context(Progress(*columns, console=err, transient=True))
        clock = asyncio.get_running_loop().time
        for name in names:
            task, pace = bar.add_task(name, total=None, pace=""), Pace(clock())
            pool = await open_pool(
                dsns[name], role="desk_replay", name=f"{name} replay", size_max=1
            )
            try:

                def progress(done: int, total: int, task: Any = task, pace: Pace = pace) -> None:  # noqa: ANN401
                    told = pace.tell(done, total, clock())
                    bar.update(task, completed=done, total=total, pace=told)

                await work(
                    name, ROOMS[name]().spec.read_model, ReplaySources(log, archive), pool, progress
                )
            finally:
                await pool.close()
