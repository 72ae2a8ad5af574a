"""`desk import servicenow`: the past of another system."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import httpx
import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from services.imports.client import ImportReport, Source, find_order, read_incidents, send
from services.imports.dates import read_order
from shared.clock import SystemClock
from shared.errors import InvalidInputError
from shared.terminal.common import (
    DEFAULT_DATA,
    Data,
    Json,
    Target,
    Token,
    Url,
    desk_client,
    err,
    out,
    print_json,
    run,
)

app = typer.Typer(help="Take over the past of another system.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="CSV file, gzipped or not.")]
_SHOWN: Final = 10
_READERS: Final = ("intake", "routing", "sla", "reporting")
_INCOMPLETE: Final = 1


@app.command("servicenow")
def servicenow(  # noqa: PLR0913, PLR0917 one parameter per option
    file: File,
    dates: Annotated[
        str | None,
        typer.Option(
            help="Order of the dates: day-first, month-first or year-first. Without it, a day over"
            " 12 must prove the order."
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(help="How the text is encoded, if not in Unicode, such as cp1252."),
    ] = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    wait: Annotated[bool, typer.Option(help="Wait until the read models show it.")] = True,  # noqa: FBT002 a switch
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Take over an incident audit log of ServiceNow. Repeating changes nothing.

    Killed half-way and started again it goes on. Rows that cannot be read are written with line
    and reason to FILE.parked.ndjson in the current folder; the rest goes on. Exit code 1 if
    anything was lost, or nothing was there to be taken.
    """
    if not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    try:
        order = None if dates is None else read_order(dates)
    except InvalidInputError as error:
        raise typer.BadParameter(error.detail, param_hint="--dates") from error
    source = Source(file, SystemClock().now(), encoding, order)
    report, seconds = run(_take_over(Target(data, url, token), source, wait=wait))
    parked_file = _write_parked(file, report)
    if as_json:
        print_json(_as_json(report, seconds, parked_file))
    else:
        _print(report, seconds, parked_file)
    if not report.is_whole:
        raise typer.Exit(_INCOMPLETE)


async def _take_over(target: Target, source: Source, *, wait: bool) -> tuple[ImportReport, float]:
    report = ImportReport()
    file = source.path
    order = find_order(source)
    loop = asyncio.get_running_loop()
    async with desk_client(target) as client:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(file.name, total=file.stat().st_size)

            def progress(position: int) -> None:
                bar.update(task, completed=position)

            began = loop.time()
            try:
                await send(client, read_incidents(source, order, report, progress), report)
            except ExceptionGroup as group:
                raise group.exceptions[0] from group
            seconds = loop.time() - began
            if wait:
                task = bar.add_task("read models catch up", total=None)
                await catch_up(client)
    return report, seconds


async def catch_up(client: httpx.AsyncClient) -> None:
    """Wait until all services are idle in two rounds of measuring, one begun after the other."""
    idle_since: dict[str, int] = {}
    while True:
        loops = {name: await _loops(client, name) for name in _READERS}
        if not all(loops.values()) or any(
            check["outbox"] or check["behind"] for check in loops.values()
        ):
            idle_since = {}
        else:
            idle_since = idle_since or {name: check["round"] for name, check in loops.items()}
            if all(check["round"] >= idle_since[name] + 2 for name, check in loops.items()):
                return
        await asyncio.sleep(0.3)


async def _loops(client: httpx.AsyncClient, service: str) -> dict[str, Any]:
    """Return what a service says of its loops; nothing while it measures nothing."""
    ready: dict[str, Any] = (await client.get(f"/{service}/health/ready")).json()
    check = ready["checks"]["loops"]
    return check if "round" in check else {}


def _write_parked(file: Path, report: ImportReport) -> Path | None:
    if not report.parked:
        return None
    path = Path(f"{file.name}.parked.ndjson")
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in report.parked))
    return path


def _as_json(report: ImportReport, seconds: float, parked_file: Path | None) -> dict[str, Any]:
    return {
        "complete": report.is_whole,
        "rows": report.rows,
        "incidents": report.incidents,
        "seconds": round(seconds, 2),
        "rows_per_second": round(report.rows / seconds) if seconds else None,
        "events_added": report.added,
        "events_known": report.known,
        "refused": report.refused,
        "parked": report.parked,
        "incomplete_incidents": report.partial,
        "missing_incidents": report.missing,
        "parked_file": None if parked_file is None else str(parked_file),
        "disagreements": [
            {"what": what, "incidents": count, "example": report.examples[what]}
            for what, count in report.disagreements.most_common()
        ],
    }


def _print(report: ImportReport, seconds: float, parked_file: Path | None) -> None:
    out.print(
        f"{report.rows:,} updates of {report.incidents:,} incidents in {seconds:.1f} s:"
        f" {report.rows / max(seconds, 0.001):,.0f} updates/s",
        highlight=False,
    )
    for service in ("intake", "routing", "sla"):
        out.print(
            f"  {service:8} {report.added[service]:>8,} events added,"
            f" {report.known[service]:>8,} known before",
            highlight=False,
        )
    if parked_file is not None:
        out.print(f"{len(report.parked)} rows parked, see {parked_file}")
        for row in report.parked[:5]:
            out.print(f"  line {row.line}: {row.reason}", highlight=False)
    if report.disagreements:
        out.print("Incidents whose last row disagrees with their own timeline:")
        for what, count in report.disagreements.most_common():
            out.print(f"  {count:>7,} {what} (such as {report.examples[what]})", highlight=False)
    for sentence in report.refused[:5]:
        err.print(f"refused: {sentence}", highlight=False)
    for sentence in _losses(report):
        err.print(f"desk: {sentence}", highlight=False, soft_wrap=True)


def _losses(report: ImportReport) -> Iterator[str]:
    """Yield what an import that is not whole has to say, in sentences."""
    if not report.incidents:
        yield f"nothing was taken over: {'no row could be read' if report.rows else 'no rows'}"
    if report.partial:
        yield f"these incidents were taken over without all their rows: {_named(report.partial)}"
    if report.missing:
        yield f"these incidents were not taken over: {_named(report.missing)}"
    if report.refused:
        yield f"the desk refused {len(report.refused):,} pasts"


def _named(numbers: Sequence[str]) -> str:
    more = len(numbers) - _SHOWN
    return ", ".join(numbers[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
