"""`desk sla`: scenarios run and policies checked without a server, rules published to one."""

from typing import Final

import typer

from services.sla.cli import agreements, clocks, files, rules, scenarios, services

app: Final = typer.Typer(help="Promises: try, check, publish; availability.", no_args_is_help=True)
for _part in (rules, clocks, files, services, scenarios):
    _part.add_to(app)
app.add_typer(agreements.app, name="agreement")
