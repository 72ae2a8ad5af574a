"""`desk deliveries`: what is to leave the desk, and what could not."""

from typing import Annotated, Any, NoReturn

import httpx
import typer

from services.commands.options import SERVICES, Service
from shared.errors import NotFoundError
from shared.terminal.common import (
    DEFAULT_DATA,
    Data,
    Json,
    Target,
    Token,
    Url,
    checked,
    desk_client,
    fail,
    fetched,
    out,
    print_json,
    run,
    shown,
    table,
)

app = typer.Typer(help="What leaves the desk, and what could not.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="as shown by list")]


@app.command("list", help="List deliveries of every service, dead ones if nothing else is asked.")
def list_deliveries(
    state: Annotated[str, typer.Option(help="pending, sent, dead or discarded")] = "dead",
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """List the latest fifty of each service."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        query = {"state": state}
        async with desk_client(Target(data, url, token)) as client:
            return {
                name: checked(await client.get(f"/{name}/deliveries", params=query))["deliveries"]
                for name in SERVICES
            }

    found = run(work())
    if as_json:
        print_json(found)
        return
    shown_table = table("service", "id", "to", "stream", "no", "tried", "since", "last error")
    for name, entries in found.items():
        for one in entries:
            shown_table.add_row(
                name,
                one["id"],
                one["target"],
                one["stream_id"],
                str(one["sequence"]),
                str(one["attempts"]),
                shown(one["since"]),
                one["last_error"] or "",
            )
    out.print(shown_table if shown_table.row_count else f"nothing is {state}")


@app.command("show", help="Show one delivery, its body too.")
def show(
    service: Service,
    delivery: Id,
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print one delivery as JSON."""
    print_json(run(fetched(Target(data, url, token), f"/{service}/deliveries/{delivery}", {})))


@app.command("redrive", help="Send a dead delivery again, or all dead ones of a URL.")
def redrive(  # noqa: PLR0913, PLR0917 options of the command line
    service: Service,
    delivery: Annotated[str | None, typer.Argument(help="as shown by list")] = None,
    to: Annotated[str | None, typer.Option(help="All that are dead for this URL.")] = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Have them tried again as if they were new."""
    if (delivery is None) == (to is None):
        fail("name one delivery, or a URL with --to")
    path = f"/{service}/deliveries/{delivery}/redrive"

    async def work() -> int:
        async with desk_client(Target(data, url, token)) as client:
            if to is None:
                return checked(await client.post(path))["redriven"]
            total, all_of = 0, f"/{service}/deliveries/redrive"
            while True:
                answer = checked(await client.post(all_of, params={"target": to}))
                total += answer["redriven"]
                if not answer["has_more"]:  # some may have died again by now
                    break
            return total or await _refuse_target(client, service, to)

    count = run(work())
    if as_json:
        print_json({"redriven": count})
    else:
        out.print(f"{count} will be sent again")


async def _refuse_target(client: httpx.AsyncClient, service: str, to: str) -> NoReturn:
    """Say which URLs there are dead deliveries for, since there is none for this one."""
    dead = checked(await client.get(f"/{service}/deliveries", params={"state": "dead"}))
    there = sorted({one["target"] for one in dead["deliveries"]})
    known = f"there are for {', '.join(there)}" if there else "there are none at all"
    raise NotFoundError(f"no delivery of {service} for {to} is dead; {known}")


@app.command("discard", help="Give a dead delivery up for good.")
def discard(
    service: Service,
    delivery: Id,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Leave it unsent; its row goes like that of a sent one."""

    async def work() -> object:
        async with desk_client(Target(data, url, token)) as client:
            return checked(await client.post(f"/{service}/deliveries/{delivery}/discard"))

    answer = run(work())
    if as_json:
        print_json(answer)
    else:
        out.print("discarded")
