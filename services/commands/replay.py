"""`desk replay verify|rebuild`: read models against the log."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import Progress

from services.commands.common import DEFAULT_DATA, Data, Json, err, out, print_json, run
from services.settings import DeskSettings, database_url
from shared.errors import StartupError
from shared.log.port import Log
from shared.postgres.pool import Pool
from shared.replay.rebuild import Verdict
from shared.runtime.read_model import ReadModel

app = typer.Typer(help="Read models against the log.", no_args_is_help=True)
Services = Annotated[list[str] | None, typer.Argument(help="All, if none is named.")]
Kafka = Annotated[
    str | None, typer.Option("--kafka", envvar="DESK_KAFKA", help="The desk's broker, if any.")
]
Work = Callable[[str, ReadModel, Log, Pool, Callable[[int, int], None]], Awaitable[None]]


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
) -> None:
    """One line per model; exit 1 and the first difference if any differs."""
    from shared.replay import rebuild

    lines: list[Line] = []

    async def work(
        name: str, model: ReadModel, log: Log, pool: Pool, progress: Callable[[int, int], None]
    ) -> None:
        verdicts = await rebuild.verify(model, log, pool, progress)
        lines.extend(_line(name, verdict) for verdict in verdicts)

    run(_each(services, data, kafka, work))
    if as_json:
        print_json(lines)
    else:
        for line in lines:
            _print(line)
    if not all(line.agrees for line in lines):
        raise typer.Exit(1)


@app.command("rebuild", help="Rebuild read models and put them in the place of the live ones.")
def rebuild_models(
    services: Services = None, data: Data = DEFAULT_DATA, kafka: Kafka = None
) -> None:
    """Rebuild; the desk may go on working meanwhile."""
    from shared.replay import rebuild

    async def work(
        name: str, model: ReadModel, log: Log, pool: Pool, progress: Callable[[int, int], None]
    ) -> None:
        positions = await rebuild.rebuild(model, log, pool, progress)
        out.print(f"{name:10} rebuilt from {sum(positions.values())} records")

    run(_each(services, data, kafka, work))


def _line(service: str, verdict: Verdict) -> Line:
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


async def _each(names: list[str] | None, data: Data, kafka: str | None, work: Work) -> None:
    from services.embedded import attached, open_log, read_address, service_dsns
    from services.host import ROOMS, kafka_log

    settings = DeskSettings()
    wanted = names or list(ROOMS)
    if unknown := [name for name in wanted if name not in ROOMS]:
        raise StartupError(f"no service is called {unknown[0]!r}; there are {', '.join(ROOMS)}")
    if not data.exists():
        if kafka is None:
            raise StartupError(f"there is no desk in {data}")
        log = kafka_log(settings, kafka)
        try:
            await _all(wanted, {name: database_url(name) for name in wanted}, log, work)
        finally:
            await log.close()
        return
    address = read_address(data)
    broker = kafka or (address.kafka if address is not None else None)
    async with attached(data) as postgres, open_log(postgres, settings, broker) as log:
        await _all(wanted, service_dsns(postgres), log, work)


async def _all(wanted: list[str], dsns: Any, log: Log, work: Work) -> None:  # noqa: ANN401
    from services.host import ROOMS
    from shared.postgres.pool import open_pool

    with Progress(console=err, transient=True) as bar:
        for name in wanted:
            task = bar.add_task(name, total=None)
            pool = await open_pool(
                dsns[name], role="desk_replay", name=f"{name} replay", size_max=1
            )
            try:

                def progress(done: int, total: int, task: Any = task) -> None:  # noqa: ANN401
                    bar.update(task, completed=done, total=total)

                await work(name, ROOMS[name]().spec.read_model, log, pool, progress)
            finally:
                await pool.close()
