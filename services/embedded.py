"""The embedded desk: PostgreSQL, the log and all five services from one command."""

import asyncio
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import msgspec
from pydantic import SecretStr

from services.host import (
    ROOMS,
    House,
    bind,
    front_door,
    kafka_log,
    make_verifier,
    running_all,
    serve,
    stop_on_signals,
)
from services.settings import DeskSettings
from shared.clock import Clock, SystemClock
from shared.contracts.registry import TOPICS
from shared.http.auth import LocalIssuer
from shared.log.embedded import EmbeddedLog
from shared.log.port import Log
from shared.postgres.data_directory import DataDirectory
from shared.postgres.embedded import EmbeddedPostgres
from shared.telemetry.metrics import MetricRegistry
from shared.terminal.folder import Address, address_file, key_file, write_private, write_token

_RENEW_SECONDS: Final = 3_600
_LOG_DATABASE: Final = "log"


@dataclass(frozen=True, slots=True)
class Options:
    """Where an embedded desk keeps its data and listens, its log, and which services it runs."""

    data: Path
    host: str
    port: int
    kafka: str | None
    services: tuple[str, ...] = tuple(ROOMS)


def webhook_secret(data: Path) -> SecretStr:
    """Return the desk's own secret for webhooks, made where there is none."""
    path = data / "webhook-secret"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32).encode())
    return SecretStr(path.read_text().strip())


async def run(options: Options, settings: DeskSettings, tell: Callable[[str], None]) -> None:
    """Run until Ctrl-C or SIGTERM. Raises: StartupError, one line, if it cannot start as asked."""
    stop = asyncio.Event()
    listener = bind(options.host, options.port)
    with listener, DataDirectory(options.data), stop_on_signals(stop.set):
        if settings.webhook_secret is None:
            own = {"webhook_secret": webhook_secret(options.data)}
            settings = settings.model_copy(update=own)
        postgres = EmbeddedPostgres(options.data)
        await postgres.start()
        try:
            await _serve_all(options, settings, postgres, listener, stop, tell)
        finally:
            address_file(options.data).unlink(missing_ok=True)
            await postgres.stop()


async def _serve_all(
    options: Options,
    settings: DeskSettings,
    postgres: EmbeddedPostgres,
    listener: socket.socket,
    stop: asyncio.Event,
    tell: Callable[[str], None],
) -> None:
    clock = SystemClock()
    issuer = LocalIssuer.load_or_create(key_file(options.data), settings.revoked)
    registry = MetricRegistry()
    async with (
        open_log(postgres, settings, options.kafka, registry) as log,
        httpx.AsyncClient() as client,
    ):
        await log.create_topics(TOPICS, settings.partitions)
        house = House(
            settings,
            log,
            clock,
            registry,
            make_verifier(settings, clock, issuer, client),
            "embedded",
        )
        dsns = {name: postgres.dsn(name) for name in options.services}
        async with running_all(dsns, house) as rooms:
            write_token(options.data, issuer, clock)
            host, port = listener.getsockname()[:2]
            url = f"http://{host}:{port}"
            address = msgspec.json.encode(Address(url, options.kafka))
            write_private(address_file(options.data), address)
            tell(url)
            renewing = asyncio.create_task(_renew_token(options.data, issuer, clock))
            try:
                await serve(front_door(rooms, house), listener, stop, house)
            finally:
                renewing.cancel()


async def _renew_token(data: Path, issuer: LocalIssuer, clock: Clock) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        write_token(data, issuer, clock)


@asynccontextmanager
async def open_log(
    postgres: EmbeddedPostgres,
    settings: DeskSettings,
    kafka: str | None,
    registry: MetricRegistry | None = None,
) -> AsyncGenerator[Log]:
    """Open the log of an embedded desk: Kafka where one is named, else the one in PostgreSQL."""
    await postgres.ensure_databases([*ROOMS, _LOG_DATABASE])
    log = (
        kafka_log(settings, kafka, registry)
        if kafka is not None
        else await EmbeddedLog(postgres.dsn(_LOG_DATABASE)).open()
    )
    try:
        yield log
    finally:
        await log.close()


def service_dsns(postgres: EmbeddedPostgres) -> Mapping[str, str]:
    """Return where each service's database is."""
    return {name: postgres.dsn(name) for name in ROOMS}
