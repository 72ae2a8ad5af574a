"""The FastAPI app of a service: the same doors, errors and documents for all five."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute

from shared.http import openapi, problem
from shared.http.auth import DeskState, admission
from shared.http.edge import BodyLimits, Edge
from shared.http.pages import docs_router
from shared.http.parameters import refuse_unknown_parameters

__all__ = ["BodyLimits", "DeskApp", "ServiceInfo", "create_app"]


_PROBLEM_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "Any error",
        "content": {problem.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


@dataclass(frozen=True, slots=True)
class ServiceInfo:
    """How a service presents itself; `name` is the one used in scopes, logs and metrics.

    `examples` is a file with answers of its routes, for the OpenAPI document.
    """

    name: str
    title: str
    version: str
    description: str
    examples: Path | None = None


class DeskApp(FastAPI):
    """FastAPI, with what routes answer in the OpenAPI document; `describe` writes it there."""

    describe: Callable[[dict[str, Any]], None]

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document, made once."""
        if self.openapi_schema is None:
            self.describe(super().openapi())
        return super().openapi()


def create_app(
    service: ServiceInfo,
    routers: Sequence[APIRouter],
    state: DeskState,
    *,
    probes: Sequence[APIRouter] = (),
    limits: BodyLimits | None = None,
    has_docs: bool = True,
) -> DeskApp:
    """Return the app of one service, with the OpenAPI document at /openapi.json and /docs.

    `routers` carry their own prefixes. `probes` are what machines look at (health, metrics), and
    answer whatever parameters they are sent; they ask for a token themselves where they need one.
    The document and its page need no token: they hold no record of anybody's; `has_docs` False
    removes both. Raises: StartupError for a route that no row of the access table is of.
    """
    app = DeskApp(
        title=service.title,
        version=service.version,
        description=service.description,
        openapi_url="/openapi.json" if has_docs else None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.desk = state
    app.describe = partial(
        openapi.describe,
        routes=[route for router in (*probes, *routers) for route in router.routes],
        access=state.access,
        examples=service.examples,
    )
    problem.install(app)
    app.add_middleware(
        Edge, service=service.name, metrics=state.metrics, limits=limits or BodyLimits()
    )
    for router in probes:
        app.include_router(router, responses=_PROBLEM_RESPONSE)
    own = [docs_router(service.title), *routers] if has_docs else routers
    state.access.require_rows(_routes([*probes, *own], has_docs=has_docs))
    strict = [admission, Depends(refuse_unknown_parameters)]
    for router in own:
        app.include_router(router, responses=_PROBLEM_RESPONSE, dependencies=strict)
    return app


def _routes(routers: Sequence[APIRouter], *, has_docs: bool) -> Iterator[str]:
    """Yield every route as the access table names it; who may GET may ask for the head."""
    if has_docs:
        yield "GET /openapi.json"
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in sorted((route.methods or set()) - {"HEAD"}):
                    yield f"{method} {route.path}"
