"""The `desk` command."""

import typer

from services.commands import imports, operate, quarantine, replay, reports, serve, sla, tokens

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
app.add_typer(tokens.app, name="token")


def main() -> None:
    """Run the command line."""
    app()
