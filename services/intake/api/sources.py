"""Sources over HTTP: which system may report as which CloudEvents source."""

from typing import Annotated, TypedDict

import structlog
from fastapi import APIRouter, Depends, Request

from services.intake import queries, schemas
from services.intake.domain.record import require_source
from services.intake.handlers import Sources
from shared.http import openapi
from shared.http.answers import Answer
from shared.http.auth import Admitted
from shared.http.body import openapi_body, read_struct
from shared.http.pagination import Page, next_headers, page
from shared.postgres.pool import Pool

_log = structlog.get_logger()


class SourceList(TypedDict):
    """A page of sources, by name."""

    sources: list[queries.SourceView]


def source_routes(sources: Sources, pool: Pool) -> APIRouter:
    """Return the routes about sources."""
    router = openapi.router("sources")

    @router.get("/sources", summary="Which system may report as which source")
    async def listed(
        request: Request, _: Admitted, window: Annotated[Page, Depends(page)]
    ) -> Answer[SourceList]:
        (after,) = window.after(tuple[str]) or ("",)
        found = await queries.list_sources(pool, limit=window.limit, after=after)
        headers = next_headers(request, window, found, lambda last: (last.source,))
        return Answer({"sources": found}, headers=headers)

    @router.put(
        "/sources",
        summary="Let a system report as a source, whoever did before",
        openapi_extra=openapi_body(schemas.NewSource, schemas.SOURCE_EXAMPLE),
    )
    async def give(request: Request, caller: Admitted) -> Answer[queries.SourceView]:
        body = await read_struct(request, schemas.NewSource)
        require_source(body.source)
        await sources.give(body.source, body.subject)
        _log.info("source_given", source=body.source, subject=body.subject, by=caller.subject)
        return Answer(queries.SourceView(body.source, body.subject))

    _ = listed, give
    return router
