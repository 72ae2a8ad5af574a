"""The `desk` command."""

import os
import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from services.commands import (
    deliveries,
    imports,
    operate,
    quarantine,
    replay,
    serve,
    tokens,
)
from services.reporting import cli as reporting
from services.routing import cli as routing
from services.sla import cli as sla
from shared.errors import DeskError
from shared.terminal.common import complain
from shared.version import VERSION

app = typer.Typer(
    name="desk",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
serve.add_to(app)
operate.add_to(app)
app.add_typer(imports.app, name="import")
app.add_typer(reporting.app, name="report")
app.add_typer(routing.app, name="agents")
app.add_typer(sla.app, name="sla")
app.add_typer(replay.app, name="replay")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(tokens.app, name="token")


def _show_version(wanted: bool) -> None:  # noqa: FBT001 as typer calls it
    if wanted:
        typer.echo(f"desk {VERSION}")
        raise typer.Exit


@app.callback()
def desk(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version, and end."
        ),
    ] = False,
) -> None:
    """Deskledger: an event-sourced IT service desk."""


def main() -> None:
    """Run the command line; a setting or an option that cannot be is said in one line."""
    _open_streams()
    try:
        app()  # ends the process itself
    except ValidationError as error:
        prefix = error.title.removesuffix("Settings").upper()
        for fault in error.errors():
            complain(f"{prefix}_{str(fault['loc'][0]).upper()}: {fault['msg']}")
    except DeskError as error:
        complain(error.detail)
    sys.exit(1)


def _open_streams() -> None:
    """Give standard streams that the caller has closed a place: the next file would take theirs."""
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 for as long as we live
