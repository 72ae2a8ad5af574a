"""A small desk service with one route of each kind, called without a network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import asyncpg
import httpx
import msgspec
from fastapi import APIRouter, Depends, FastAPI, Header, Query
from joserfc.jwk import OKPKey
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from shared import errors
from shared.contracts.base import Instant, Title
from shared.http.access import ANYONE, Access
from shared.http.app import BodyLimits, ServiceInfo, create_app
from shared.http.auth import Admitted, DeskState, LocalIssuer, Role, TokenVerifier
from shared.http.body import openapi_body, read_struct
from shared.http.cloudevents import read_cloudevents
from shared.http.conditional import parse_if_match
from shared.http.health import health_router, metrics_router
from shared.http.idempotency import OPENAPI_PARAMETER, creation_id
from shared.http.pagination import Page, next_link, page
from shared.telemetry.context import current
from shared.telemetry.metrics import MetricRegistry

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class FixedClock:
    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at


class Caller(msgspec.Struct, forbid_unknown_fields=True):
    id: str


class Report(msgspec.Struct, forbid_unknown_fields=True):
    title: Title
    requester: Caller | None = None
    occurred_at: Instant | None = None
    tags: list[str] = []


class PydanticReport(BaseModel):
    title: str
    urgency: int


ERRORS: dict[str, Exception] = {
    "not-found": errors.NotFoundError("No ticket 7."),
    "illegal-transition": errors.IllegalTransitionError("Resolve while closed."),
    "reused-id": errors.ReusedIdError("The key came with another body."),
    "stale-sequence": errors.StaleSequenceError("At 4, not 3."),
    "too-busy": errors.TooBusyError("The outbox is full.", retry_after_seconds=7),
    "unavailable": errors.UnavailableError("The log is away."),
    "forbidden": errors.ForbiddenError("Not yours."),
    "refused": ConnectionRefusedError("db:5432 refused"),
    "pool-timeout": TimeoutError(),
    "starting": asyncpg.CannotConnectNowError("starting up"),
    "full": asyncpg.DiskFullError("no space"),
    "crowded": asyncpg.TooManyConnectionsError("too many"),
    "gone": asyncpg.ConnectionDoesNotExistError("closed in the middle"),
    "pool-closed": asyncpg.InterfaceError("pool is closed"),
    "misuse": asyncpg.InterfaceError("another operation is in progress"),
    "bug": KeyError("secret internals"),
}


ACCESS = Access(
    {
        "POST /tickets": "requester",
        "POST /tickets:batch": "requester",
        "POST /tickets/pydantic": ANYONE,
        "GET /tickets/list": ANYONE,
        "GET /tickets/one": ANYONE,
        "PUT /tickets/one": ANYONE,
        "GET /tickets/journey": "requester",
        "GET /tickets/admin": "manager admin",
        "POST /tickets/events": ANYONE,
        "GET /tickets/fail/{name}": ANYONE,
    }
)


def _router() -> APIRouter:
    router = APIRouter(prefix="/tickets", tags=["tickets"])

    @router.post(
        "",
        openapi_extra=openapi_body(
            Report, Report("VPN drops", occurred_at=NOON), parameters=[OPENAPI_PARAMETER]
        ),
    )
    @router.post(":batch")
    async def create(request: Request, caller: Admitted) -> Response:
        report = await read_struct(request, Report)
        body = {"id": creation_id(request, caller), "title": report.title}
        return Response(msgspec.json.encode(body), 201, media_type="application/json")

    @router.post("/pydantic")
    async def create_with_pydantic(report: PydanticReport) -> str:
        return report.title

    @router.get("/list")
    async def rows(
        request: Request,
        response: Response,
        asked: Annotated[Page, Depends(page)],
        kind: Annotated[list[str] | None, Query(alias="status")] = None,
    ) -> dict[str, Any]:
        after = asked.after(tuple[datetime, int])
        response.headers["Link"] = next_link(request, (NOON, 5))
        return {"limit": asked.limit, "after": after} | ({} if kind is None else {"kind": kind})

    @router.get("/one")
    async def read_one() -> dict[str, str]:
        return {"id": "one"}

    @router.put("/one")
    async def change(if_match: Annotated[str | None, Header()] = None) -> int | None:
        return parse_if_match(if_match)

    @router.get("/journey")
    async def journey(caller: Admitted) -> dict[str, str]:
        now = current()
        assert now is not None
        return {
            "correlation_id": now.correlation_id,
            "trace_id": now.trace.trace_id,
            "span_id": now.trace.span_id,
            "actor": now.actor,
            "service": now.service,
        }

    @router.get("/admin")
    async def administer(_: Admitted) -> str:
        return "done"

    @router.post("/events")
    async def events(request: Request) -> list[str]:
        return [event.id for event in await read_cloudevents(request)]

    @router.get("/fail/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name]

    return router


@dataclass
class Desk:
    app: FastAPI
    issuer: LocalIssuer
    clock: FixedClock
    client: httpx.AsyncClient
    registry: MetricRegistry

    def bearer(self, *roles: Role, services: tuple[str, ...] = ("intake",)) -> dict[str, str]:
        token = self.issuer.issue(
            "ann", roles, services=services, expires_in=timedelta(hours=1), now=NOON
        )
        return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def running_desk() -> AsyncIterator[Desk]:
    clock = FixedClock(NOON)
    issuer = LocalIssuer(OKPKey.generate_key("Ed25519"))
    registry = MetricRegistry()
    state = DeskState(
        "intake", TokenVerifier(clock, local=issuer), clock, registry.for_service("intake"), ACCESS
    )
    app = create_app(
        ServiceInfo("intake", "Intake", "1.0.0", "The desk's door."),
        [_router()],
        state,
        probes=[health_router([]), metrics_router(registry)],
        limits=BodyLimits(),
    )
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://desk") as client:
        yield Desk(app, issuer, clock, client, registry)
