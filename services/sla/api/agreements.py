"""Agreements over HTTP: versions, signatures, reviews."""

from typing import Annotated, TypedDict

from fastapi import APIRouter, Query, Request

from services.sla import queries, schemas
from services.sla.api.asking import Limit
from services.sla.domain.agreements.versions import Agreement, AgreementVersions
from services.sla.domain.agreements.views import AgreementView, agreement_view
from services.sla.handlers import Agreements, ReviewResult, no_agreement
from services.sla.tables import AGREEMENTS
from shared.calendar import microseconds
from shared.contracts.agreements import AgreementSigned, SlaRemedyDue
from shared.errors import ForbiddenError
from shared.http import openapi
from shared.http.answers import Answer, Tagged
from shared.http.auth import Admitted, Caller
from shared.http.body import openapi_body, read_struct
from shared.http.documents import DocumentRoutes
from shared.http.parameters import KeyInPath
from shared.journal.handler import Written
from shared.runtime.read_model import shown
from shared.runtime.service import Service


class AgreementList(TypedDict):
    """Every agreement that the caller may see."""

    agreements: list[AgreementView]


class Remedies(TypedDict):
    """What was due for each period, the last first; periods are of the zone."""

    zone: str
    remedies: list[SlaRemedyDue]


class AgreementRoutes:
    """The routes about agreements: versions, signatures, reviews."""

    def __init__(self, service: Service, agreements: Agreements) -> None:
        self._service = service
        self._agreements = agreements

    def router(self) -> APIRouter:
        """Return all routes about agreements."""
        router = openapi.router("agreements")
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

    async def agreements(self, caller: Admitted) -> Answer[AgreementList]:
        """Return every agreement; a customer sees their own."""
        now_us = microseconds(self._service.clock.now())
        found = await queries.read_versions(self._service.pool)
        views = [
            agreement_view(name, versions, now_us)
            for name, versions in found.items()
            if caller.grant.covers(_relations(versions, caller))
        ]
        return Answer({"agreements": views})

    async def agreement(self, id: KeyInPath, caller: Admitted) -> Tagged[AgreementView]:
        """Return an agreement with its ETag."""
        found, sequence = await self._admitted(id, caller)
        now_us = microseconds(self._service.clock.now())
        return Tagged(agreement_view(id, found.versions, now_us), sequence)

    async def remedies(
        self,
        id: KeyInPath,
        caller: Admitted,
        limit: Limit = 200,
        revisions: Annotated[bool, Query(description="all, not only the highest")] = False,  # noqa: FBT002 a switch of the query
    ) -> Answer[Remedies]:
        """Return what was due for each period, 0 included."""
        versions = (await self._admitted(id, caller))[0].versions
        zone = next(iter(versions.values())).document.zone  # all versions have the same
        found = await queries.list_remedies(
            self._service.pool, id, is_every_revision=revisions, limit=limit
        )
        return Answer({"zone": zone, "remedies": found})

    async def review(self, id: KeyInPath, request: Request, _: Admitted) -> Answer[ReviewResult]:
        """Review a period; tell a further revision if late facts changed anything."""
        body = await read_struct(request, schemas.NewReview)
        return Answer(await self._agreements.review(id, body.period))

    async def _tell(
        self, word: schemas.AgreementWord, expected: int | None, caller: Caller
    ) -> Written:
        if isinstance(word[0], AgreementSigned):
            await self._require_party(word[0], caller)
        return await self._agreements.tell(word, expected)

    async def _admitted(self, id: str, caller: Caller) -> tuple[Agreement, int]:
        """Return an agreement that the caller may see. Raises: NotFoundError."""
        found = await self._agreements.agreement(id)
        if not caller.grant.covers(_relations(found[0].versions, caller)):
            raise no_agreement(id)
        return found

    async def _require_party(self, signed: AgreementSigned, caller: Caller) -> None:
        """Raise ForbiddenError for who signs for a party that they are not."""
        found, _ = await self._admitted(signed.agreement_id, caller)
        if not caller.may(f"sign for the {signed.party}", _relations(found.versions, caller)):
            raise ForbiddenError(f"the {signed.party} signs for themselves", field="/party")

    async def _shown(self, word: schemas.AgreementWord) -> int:
        return await shown(self._service.pool, AGREEMENTS, word[0].stream_id)


def _relations(versions: AgreementVersions, caller: Caller) -> frozenset[str]:
    customers = {version.document.customer for version in versions.values()}
    return frozenset({"own"} if customers == {caller.subject} else ())
