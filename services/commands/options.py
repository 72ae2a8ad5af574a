"""What commands about any of the services ask for."""

from typing import Annotated, Final

import typer

SERVICES: Final = ("intake", "routing", "sla", "knowledge", "reporting")
Service = Annotated[str, typer.Argument(help=" or ".join(SERVICES))]
