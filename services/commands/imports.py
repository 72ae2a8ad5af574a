"""`desk import servicenow`: the past of another system."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from services.commands.common import (
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
from services.imports.client import Report, read_incidents, send

app = typer.Typer(help="Take over the past of another system.", no_args_is_help=True)
File = Annotated[Path, typer.Argument(help="CSV file, gzipped or not.")]


@app.command("servicenow", help="Incident audit log of ServiceNow. Repeating changes nothing.")
def servicenow(
    file: File,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    wait: Annotated[bool, typer.Option(help="Wait until the read models show it.")] = True,  # noqa: FBT002 a switch
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Read the file and send it through the services' import doors.

    Killed half-way and started again it goes on. Rows that cannot be read are written with line
    and reason to FILE.parked.ndjson in the current folder; the rest goes on.
    """
    if not file.is_file():
        raise typer.BadParameter(f"there is no file {file}")
    report, seconds = run(
        _take_over(Target(data, url, token), file, file.stat().st_size, wait=wait)
    )
    parked_file = _write_parked(file, report)
    if as_json:
        print_json(_as_json(report, seconds, parked_file))
    else:
        _print(report, seconds, parked_file)
    if report.refused:
        raise typer.Exit(1)


async def _take_over(target: Target, file: Path, size: int, *, wait: bool) -> tuple[Report, float]:
    report = Report()
    loop = asyncio.get_running_loop()
    async with desk_client(target) as client:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=err, transient=True) as bar:
            task = bar.add_task(file.name, total=size)

            def progress(position: int) -> None:
                bar.update(task, completed=position)

            began = loop.time()
            try:
                await send(client, read_incidents(file, report, progress), report)
            except ExceptionGroup as group:
                raise group.exceptions[0] from group
            seconds = loop.time() - began
            if wait:
                task = bar.add_task("read models catch up", total=None)
                await _catch_up(client)
    return report, seconds


async def _catch_up(client: httpx.AsyncClient) -> None:
    """Wait until all services are idle in two rounds of measuring, one begun after the other."""
    idle_since: dict[str, int] = {}
    while True:
        ready: dict[str, Any] = (await client.get("/health/ready")).json()
        loops = {name: check for name, check in ready["checks"].items() if "round" in check}
        if not loops or any(check["outbox"] or check["behind"] for check in loops.values()):
            idle_since = {}
        else:
            idle_since = idle_since or {name: check["round"] for name, check in loops.items()}
            if all(check["round"] >= idle_since[name] + 2 for name, check in loops.items()):
                return
        await asyncio.sleep(0.3)


def _write_parked(file: Path, report: Report) -> Path | None:
    if not report.parked:
        return None
    path = Path(f"{file.name}.parked.ndjson")
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in report.parked))
    return path


def _as_json(report: Report, seconds: float, parked_file: Path | None) -> dict[str, Any]:
    return {
        "rows": report.rows,
        "incidents": report.incidents,
        "seconds": round(seconds, 2),
        "rows_per_second": round(report.rows / seconds) if seconds else None,
        "events_added": report.added,
        "events_known": report.known,
        "refused": report.refused,
        "parked": report.parked,
        "parked_file": None if parked_file is None else str(parked_file),
        "disagreements": [
            {"what": what, "incidents": count, "example": report.examples[what]}
            for what, count in report.disagreements.most_common()
        ],
    }


def _print(report: Report, seconds: float, parked_file: Path | None) -> None:
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
