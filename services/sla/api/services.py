"""Services over HTTP: outages, maintenance, how available they are and shall be."""

from datetime import datetime
from typing import Annotated, TypedDict

from fastapi import APIRouter, Depends, Query

from services.sla import queries, schemas
from services.sla.api.asking import Limit
from services.sla.domain.services.availability import AvailabilityQuery, ServiceReadings
from services.sla.domain.services.periods import YEAR_US, By, span_asked
from services.sla.domain.services.views import MaintenanceView, OutageView
from services.sla.handlers import ServiceRecords
from services.sla.tables import DOCUMENTS
from shared.calendar import instant, microseconds
from shared.contracts.availability import ServiceEvent
from shared.http import openapi
from shared.http.answers import Answer
from shared.http.auth import Admitted, Caller
from shared.http.documents import DocumentRoutes
from shared.http.period import period_of, zone_of
from shared.journal.handler import Written
from shared.runtime.read_model import shown
from shared.runtime.service import Service

_Asked = Annotated[schemas.ServiceQuery, Depends()]
_By = Annotated[By | None, Query(description="cut the time in such periods")]


class Outages(TypedDict):
    """Outages, the one that began last first."""

    outages: list[OutageView]


class Maintenance(TypedDict):
    """Maintenance, the one that starts last first."""

    maintenance: list[MaintenanceView]


class Availabilities(TypedDict):
    """How available services were, read at an instant; periods are of the zone."""

    read_at: datetime
    zone: str
    services: list[ServiceReadings]


class ServiceRoutes:
    """The routes about services: outages, maintenance, how available they are and shall be."""

    def __init__(self, service: Service, records: ServiceRecords) -> None:
        self._service = service
        self._records = records

    def router(self) -> APIRouter:
        """Return all routes about services."""
        router = openapi.router("services")
        routes = DocumentRoutes[ServiceEvent](self._record, self._shown)
        routes.add(router, schemas.SERVICE_DOCUMENTS)
        router.get("/outages", summary="Outages, the one that began last first")(self.outages)
        router.get("/maintenance", summary="Maintenance, the one that starts last first")(
            self.maintenance
        )
        router.get("/availability", summary="How available services were")(self.availability)
        return router

    async def outages(self, _: Admitted, asked: _Asked, limit: Limit = 200) -> Answer[Outages]:
        """Return outages that touch the time, also those withdrawn."""
        question = self._question(asked)
        found = await queries.list_outages(self._service.pool, question, limit=limit)
        return Answer({"outages": found})

    async def maintenance(
        self, _: Admitted, asked: _Asked, limit: Limit = 200
    ) -> Answer[Maintenance]:
        """Return maintenance that touches the time, by default the year to come."""
        question = self._question(asked, ahead_us=YEAR_US)
        found = await queries.list_maintenance(self._service.pool, question, limit=limit)
        return Answer({"maintenance": found})

    async def availability(
        self, _: Admitted, asked: _Asked, by: _By = None
    ) -> Answer[Availabilities]:
        """Return availability, failures, MTBF and MTTRS, as far as the time has come."""
        at_us = self._now_us()
        question = self._question(asked, by)
        async with self._service.pool.acquire() as connection:
            found = await queries.read_availability(
                connection, self._service.journal, question, at_us
            )
        return Answer({"read_at": instant(at_us), "zone": asked.zone, "services": found})

    def _question(
        self, asked: schemas.ServiceQuery, by: By | None = None, *, ahead_us: int = 0
    ) -> AvailabilityQuery:
        zone = zone_of(asked.zone)
        start, end = period_of(asked.start, asked.to, zone)
        span = span_asked(start, end, self._now_us() + ahead_us)
        return AvailabilityQuery(asked.service, span, by, zone)

    def _now_us(self) -> int:
        return microseconds(self._service.clock.now())

    async def _record(
        self, document: ServiceEvent, expected: int | None, caller: Caller
    ) -> Written:
        is_managers = caller.may("plan maintenance that has begun")
        return await self._records.record(document, expected, is_managers=is_managers)

    async def _shown(self, document: ServiceEvent) -> int:
        return await shown(self._service.pool, DOCUMENTS[type(document)], document.stream_id)
