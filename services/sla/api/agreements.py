"""Agreements over HTTP: versions, signatures, reviews."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.sla import queries, schemas
from services.sla.api.asking import Id, Limit, Manager, Reader
from services.sla.domain.views import agreement_view
from services.sla.handlers import Agreements
from services.sla.tables import AGREEMENTS
from shared.calendar import microseconds
from shared.http.answers import answer
from shared.http.auth import Principal
from shared.http.body import openapi_body, read_struct
from shared.http.documents import DocumentRoutes
from shared.journal.handler import Written
from shared.runtime.read_model import shown
from shared.runtime.service import Service


class AgreementRoutes:
    """The routes about agreements: versions, signatures, reviews."""

    def __init__(self, service: Service, agreements: Agreements) -> None:
        self._service = service
        self._agreements = agreements

    def router(self) -> APIRouter:
        """Return all routes about agreements."""
        router = APIRouter(tags=["agreements"])
        DocumentRoutes(self._tell, self._shown).add(router, schemas.AGREEMENT_DOCUMENTS)
        router.get("/agreements", summary="Agreements with their versions")(self.agreements)
        router.get("/agreements/{id}", summary="An agreement with its versions")(self.agreement)
        router.get("/agreements/{id}/remedies", summary="Reviews, the last period first")(
            self.remedies
        )
        router.post(
            "/agreements/{id}/reviews",
            summary="Review a period again now",
            openapi_extra=openapi_body(schemas.NewReview, schemas.REVIEW_EXAMPLE),
        )(self.review)
        return router

    async def agreements(self, _: Reader) -> Response:
        """Return every agreement."""
        now_us = microseconds(self._service.clock.now())
        found = await queries.read_versions(self._service.pool)
        views = [agreement_view(*one, now_us) for one in found.items()]
        return answer({"agreements": views})

    async def agreement(self, id: Id, _: Reader) -> Response:
        """Return an agreement with its ETag."""
        found, sequence = await self._agreements.agreement(id)
        now_us = microseconds(self._service.clock.now())
        return answer(agreement_view(id, found.versions, now_us), sequence=sequence)

    async def remedies(
        self,
        id: Id,
        _: Reader,
        limit: Limit = 200,
        revisions: Annotated[bool, Query(description="all, not only the highest")] = False,  # noqa: FBT002 a switch of the query
    ) -> Response:
        """Return what was due for each period, 0 included."""
        versions = (await self._agreements.agreement(id))[0].versions
        zone = next(iter(versions.values())).document.zone  # all versions have the same
        found = await queries.list_remedies(
            self._service.pool, id, is_every_revision=revisions, limit=limit
        )
        return answer({"zone": zone, "remedies": found})

    async def review(self, id: Id, request: Request, _: Manager) -> Response:
        """Review a period; tell a further revision if late facts changed anything."""
        body = await read_struct(request, schemas.NewReview)
        return answer(await self._agreements.review(id, body.period))

    async def _tell(
        self, word: schemas.AgreementWord, expected: int | None, _: Principal
    ) -> Written:
        return await self._agreements.tell(word, expected)

    async def _shown(self, word: schemas.AgreementWord) -> int:
        return await shown(self._service.pool, AGREEMENTS, word[0].stream_id)
