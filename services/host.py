"""Running services in a process: the rooms, their databases, their apps, one HTTP server."""

import asyncio
import signal
import socket
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import httpx
from fastapi import APIRouter
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import ASGIApp

import services.intake.wiring
import services.knowledge.wiring
import services.reporting.wiring
import services.routing.wiring
import services.sla.wiring
from services.settings import DeskSettings
from shared.clock import Clock
from shared.contracts.registry import TOPICS
from shared.errors import StartupError
from shared.http.access import ANY_ROLE, ANYONE, Access
from shared.http.answers import Answer
from shared.http.app import DeskApp, ServiceInfo, create_app
from shared.http.auth import (
    Admitted,
    DeskState,
    LocalIssuer,
    OidcIssuer,
    TokenVerifier,
)
from shared.http.health import Check, health_router, metrics_router
from shared.http.kernel import Room, make_app, service_checks
from shared.http.server import serve as serve_http
from shared.last_resort import END_SECONDS_MAX, end_within
from shared.log.embedded import EmbeddedLog
from shared.log.kafka import KafkaLog
from shared.log.port import Log
from shared.postgres.migrate import migrate
from shared.runtime.service import Service, Surroundings
from shared.telemetry.metrics import MetricRegistry
from shared.version import VERSION

ROOMS: Final[Mapping[str, Callable[[], Room]]] = {
    "intake": services.intake.wiring.room,
    "routing": services.routing.wiring.room,
    "sla": services.sla.wiring.room,
    "knowledge": services.knowledge.wiring.room,
    "reporting": services.reporting.wiring.room,
}


_FRONT: Final = "desk"
"""What belongs to the process and not to one service of it."""
FRONT_ACCESS: Final = Access(
    {
        "GET /": ANY_ROLE,
        "GET /metrics": "auditor integration admin",
        "GET /health/live": ANYONE,
        "GET /health/ready": ANYONE,
    },
    common={},
)


@dataclass(frozen=True, slots=True)
class House:
    """What services of one process share."""

    settings: DeskSettings
    log: Log
    clock: Clock
    registry: MetricRegistry
    verifier: TokenVerifier
    holder: str


@dataclass(frozen=True, slots=True)
class Running:
    """A service at work, with its app."""

    room: Room
    service: Service
    app: DeskApp


def known_service(name: str) -> str:
    """Return the name of a service as it came. Raises: StartupError for one that is not there."""
    if name not in ROOMS:
        raise StartupError(f"no service is called {name!r}; there are {', '.join(ROOMS)}")
    return name


def kafka_log(
    settings: DeskSettings, bootstrap_servers: str, registry: MetricRegistry | None = None
) -> KafkaLog:
    """Return the log on a Kafka cluster; `registry` counts clients that had to be left behind."""

    def count(service: str, client: str) -> None:
        if registry is not None:
            registry.for_service(service).client_abandoned(client)

    return KafkaLog(
        bootstrap_servers,
        prefix=settings.topic_prefix,
        replication_factor=settings.replication_factor,
        on_abandoned=count,
    )


@asynccontextmanager
async def log_of(
    settings: DeskSettings, registry: MetricRegistry | None = None
) -> AsyncGenerator[Log]:
    """Open the log that the environment names. Raises: StartupError when it names none."""
    if settings.kafka is not None:
        log: Log = kafka_log(settings, settings.kafka, registry)
    elif settings.log_url is not None:
        log = await EmbeddedLog(settings.log_url.get_secret_value()).open()
    else:
        raise StartupError("set DESK_KAFKA, or DESK_LOG_URL on a machine without a broker")
    try:
        yield log
    finally:
        await log.close()


def make_verifier(
    settings: DeskSettings, clock: Clock, local: LocalIssuer | None, client: httpx.AsyncClient
) -> TokenVerifier:
    """Return who checks tokens: the local issuer, an OIDC issuer, or both."""
    oidc: list[OidcIssuer] = []
    if settings.oidc_issuer is not None:
        if settings.oidc_jwks_url is None:
            raise StartupError("DESK_OIDC_ISSUER needs DESK_OIDC_JWKS_URL")
        oidc.append(
            OidcIssuer(settings.oidc_issuer, settings.oidc_jwks_url, settings.oidc_audience)
        )
    return TokenVerifier(clock, local=local, oidc=oidc, client=client)


async def partition_count(log: Log) -> int:
    """Return how many partitions every topic has.

    Raises: StartupError when topics are missing or differ (R1).
    """
    counts = await log.partitions(TOPICS)
    if missing := sorted(set(TOPICS) - counts.keys()):
        raise StartupError(f"topics are missing: {', '.join(missing)}; run `desk topics create`")
    if len(set(counts.values())) != 1:
        odd = ", ".join(f"{topic} {count}" for topic, count in sorted(counts.items()))
        raise StartupError(f"all topics must have the same number of partitions; found: {odd}")
    return next(iter(counts.values()))


def _webhook_secret(settings: DeskSettings, room: Room) -> str | None:
    if settings.webhook_secret is not None:
        return settings.webhook_secret.get_secret_value()
    if room.spec.posts_webhooks:
        raise StartupError("DESK_WEBHOOK_SECRET is not set, and webhooks are signed with it")
    return None


@asynccontextmanager
async def running(name: str, dsn: str, house: House) -> AsyncGenerator[Running]:
    """Migrate one service's database, start the service, and stop it at the end."""
    room = ROOMS[name]()
    await migrate(dsn, room.spec.migrations)
    around = Surroundings(
        dsn=dsn,
        log=house.log,
        clock=house.clock,
        metrics=house.registry.for_service(name),
        holder=house.holder,
        role=house.settings.role,
        partitions=await partition_count(house.log),
        webhook_secret=_webhook_secret(house.settings, room),
    )
    service = await Service.open(room.spec, around)
    try:
        yield Running(room, service, make_app(room, service, house.verifier))
    finally:
        await service.stop()


@asynccontextmanager
async def running_all(dsns: Mapping[str, str], house: House) -> AsyncGenerator[list[Running]]:
    """Start several services side by side and stop them side by side."""
    async with AsyncExitStack() as stack:
        yield await asyncio.gather(
            *(stack.enter_async_context(running(name, dsn, house)) for name, dsn in dsns.items())
        )


def by_name(one: Running) -> ASGIApp:
    """Return a service's app that answers under its name too, as it does beside the others.

    So one address can stand before services that run alone, and no proxy has to rewrite a path.
    """
    app = Starlette(routes=[Mount(f"/{one.room.info.name}", one.app)])
    app.router.default = one.app
    return app


def front_door(rooms: Sequence[Running], house: House) -> ASGIApp:
    """Return one app with every service under its name, and health and metrics of them all."""
    checks = [
        Check(f"{one.room.info.name} {check.name}", check.probe)
        for one in rooms
        for check in service_checks(one.service)
    ]
    info = ServiceInfo(_FRONT, "Deskledger", VERSION, "Five services under one address.")
    state = DeskState(
        _FRONT, house.verifier, house.clock, house.registry.for_service(_FRONT), FRONT_ACCESS
    )
    index = APIRouter()

    @index.get("/", include_in_schema=False)
    async def services_here(_: Admitted) -> Response:
        return Answer({one.room.info.name: f"/{one.room.info.name}/docs" for one in rooms})

    probes = [health_router(checks), metrics_router(house.registry)]
    own = create_app(info, [index], state, probes=probes, has_docs=False)
    mounts = [Mount(f"/{one.room.info.name}", one.app) for one in rooms]
    app = Starlette(routes=mounts)
    app.router.default = own  # also for an address that no pattern matches, such as of two lines
    return app


def bind(host: str, port: int) -> socket.socket:
    """Take the address. Raises: StartupError in one line when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise StartupError(
            f"cannot listen on {host}:{port}: {error.strerror}; --port takes another, 0 a free one"
        ) from error
    listener.listen(1024)
    return listener


@contextmanager
def stop_on_signals(
    stop: Callable[[], object], end_seconds_max: float = END_SECONDS_MAX
) -> Generator[None]:
    """Call `stop` on Ctrl-C or SIGTERM instead of dying; the process has so long to end then."""
    loop = asyncio.get_running_loop()

    def begin_to_stop() -> None:
        end_within(end_seconds_max, loop)
        stop()

    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, begin_to_stop)
    try:
        yield
    finally:
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(name)


async def serve(app: ASGIApp, listener: socket.socket, stop: asyncio.Event, house: House) -> None:
    """Answer requests until `stop` is set, within the limits that the house sets."""
    metrics = house.registry.for_service(_FRONT)
    await serve_http(app, listener, stop, limits=house.settings.server_limits, metrics=metrics)
