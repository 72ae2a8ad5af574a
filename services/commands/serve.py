"""`desk run`: the embedded desk. `desk serve SERVICE`: one service in production."""

import asyncio
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from services.settings import DeskSettings, database_url
from shared.errors import StartupError
from shared.terminal.common import DEFAULT_DATA, Data, fail, out, run


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run", help="Run the whole desk in this process, PostgreSQL included.")(run_desk)
    app.command("serve", help="Run one service; settings come from the environment.")(serve_one)


def run_desk(
    data: Data = DEFAULT_DATA,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8080,
    kafka: Annotated[
        str | None, typer.Option(envvar="DESK_KAFKA", help="Use this broker as the log.")
    ] = None,
    service: Annotated[
        list[str] | None, typer.Option(help="Run only this service; may be repeated.")
    ] = None,
) -> None:
    """Start and run until Ctrl-C."""
    from services.embedded import Options
    from services.embedded import run as run_embedded
    from services.host import ROOMS, known_service
    from shared.telemetry.logs import configure_logging

    settings = DeskSettings()
    is_asked = "log_level" in settings.model_fields_set
    is_watched = sys.stderr is not None and sys.stderr.isatty()  # pyright: ignore[reportUnnecessaryComparison] None if closed
    configure_logging(settings.log_level if is_asked or not is_watched else "WARNING")
    of_data = "" if data == DEFAULT_DATA else f" --data {data}"

    def tell(url: str) -> None:
        for text in (
            f"Deskledger runs at {url}",
            f"  API docs   {url}/intake/docs (and /routing /sla /knowledge /reporting)",
            f"  token      desk token issue --role agent --subject you{of_data}",
            f"  next       desk demo{of_data}, or the five minutes of README.md",
            "  stop       Ctrl-C",
        ):
            out.print(text, highlight=False, markup=False, soft_wrap=True)

    names = tuple(known_service(name) for name in service or ROOMS)
    with recording(settings):
        run(run_embedded(Options(data, host, port, kafka, names), settings, tell))


def serve_one(
    service: Annotated[str, typer.Argument(help="intake, routing, sla, knowledge or reporting")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535)] = 8080,
) -> None:
    """Start and run until SIGTERM."""
    from shared.telemetry.logs import configure_logging

    settings = DeskSettings()
    configure_logging(settings.log_level)
    with recording(settings):
        run(_serve(service, settings, host, port))


@contextmanager
def recording(settings: DeskSettings) -> Generator[None]:
    """Record spans meanwhile, if the OTEL_* variables ask for it."""
    from shared.telemetry.traces import tracing

    try:
        with tracing(settings.replica):
            yield
    except StartupError as error:
        fail(error.detail)


async def _serve(name: str, settings: DeskSettings, host: str, port: int) -> None:
    import httpx

    from services.host import (
        House,
        bind,
        by_name,
        known_service,
        log_of,
        make_verifier,
        running,
        serve,
        stop_on_signals,
    )
    from shared.clock import SystemClock
    from shared.http.auth import LocalIssuer
    from shared.telemetry.metrics import MetricRegistry

    known_service(name)
    dsn = database_url(name)
    clock = SystemClock()
    key: Path | None = settings.signing_key
    local = None if key is None else LocalIssuer.load_or_create(key, settings.revoked)
    stop = asyncio.Event()
    with bind(host, port) as listener, stop_on_signals(stop.set):
        registry = MetricRegistry()
        async with httpx.AsyncClient() as client, log_of(settings, registry) as log:
            verifier = make_verifier(settings, clock, local, client)
            house = House(settings, log, clock, registry, verifier, settings.replica)
            async with running(name, dsn, house) as one:
                await serve(by_name(one), listener, stop, house)
