"""The `desk` command."""

import os
import sys

import typer

from services.commands import (
    deliveries,
    imports,
    operate,
    quarantine,
    replay,
    reports,
    serve,
    sla,
    tokens,
)

app = typer.Typer(
    name="desk",
    help="Deskledger: an event-sourced IT service desk.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
serve.add_to(app)
operate.add_to(app)
app.add_typer(imports.app, name="import")
app.add_typer(reports.app, name="report")
app.add_typer(sla.app, name="sla")
app.add_typer(replay.app, name="replay")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(tokens.app, name="token")


def main() -> None:
    """Run the command line."""
    _open_streams()
    app()


def _open_streams() -> None:
    """Give standard streams that the caller has closed a place: the next file would take theirs."""
    for name, mode in ("stdin", "r"), ("stdout", "w"), ("stderr", "w"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 for as long as we live
