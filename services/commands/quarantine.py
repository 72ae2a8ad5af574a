"""`desk quarantine`: records that could not be applied, timers that could not be decided."""

from typing import Annotated, Any

import typer
from rich.table import Table

from services.commands.options import SERVICES, Service
from shared.terminal.common import (
    DEFAULT_DATA,
    Data,
    Json,
    Target,
    Token,
    Url,
    checked,
    desk_client,
    fetched,
    out,
    print_json,
    run,
)

app = typer.Typer(
    help="Records that could not be applied, and timers whose decision always fails.",
    no_args_is_help=True,
)
Number = Annotated[int, typer.Argument(help="as shown by list")]
Numbered = Annotated[str, typer.Argument(help="as shown by list; a timer's begins with t")]


@app.command("list", help="List what every service has parked.")
def list_parked(
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """List the first fifty of each service."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        async with desk_client(Target(data, url, token)) as client:
            return {
                name: checked(await client.get(f"/{name}/quarantine"))["quarantine"]
                + checked(await client.get(f"/{name}/quarantine/timers"))["timers"]
                for name in SERVICES
            }

    parked = run(work())
    if as_json:
        print_json(parked)
        return
    table = Table("service", "no", "topic", "place", "reason", "detail", "redriven")
    for name, entries in parked.items():
        for entry in entries:
            table.add_row(name, *_row(entry))
    out.print(table if table.row_count else "nothing is parked")


def _row(entry: dict[str, Any]) -> tuple[str, ...]:
    why = entry["reason"], entry["detail"].partition("\n")[0]
    if "stream_id" in entry:
        return f"t{entry['id']}", "timer", f"{entry['stream_id']} {entry['name']}", *why, ""
    place = f"{entry['partition']}@{entry['offset']}"
    return str(entry["id"]), entry["topic"], place, *why, entry["redriven_at"] or ""


@app.command("show", help="Show one record.")
def show(
    service: Service,
    number: Number,
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print one record as JSON."""
    print_json(run(fetched(Target(data, url, token), f"/{service}/quarantine/{number}", {})))


@app.command("redrive", help="Try to apply a record again; or let a timer fire again.")
def redrive(
    service: Service,
    number: Numbered,
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Exit 0 if it could be applied now, 1 if not."""
    path = f"timers/{number[1:]}" if number.startswith("t") else number

    async def work() -> dict[str, Any]:
        async with desk_client(Target(data, url, token)) as client:
            return checked(await client.post(f"/{service}/quarantine/{path}/redrive"))

    verdict = run(work())
    if "armed" in verdict:
        out.print("armed again; if it fails as before, `desk quarantine list` shows it again")
        return
    out.print("applied" if verdict["applied"] else f"still not: {verdict['detail']}")
    if not verdict["applied"]:
        raise typer.Exit(1)
