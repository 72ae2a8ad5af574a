"""Reporting over HTTP: KPIs, timelines, the audit of the archive."""

from typing import TypedDict

from fastapi import APIRouter, Request

from services.reporting import queries
from services.reporting.domain.kpi import GroupBy, KpiReport
from services.reporting.handlers import Auditor
from services.reporting.settings import ReportingSettings
from shared.contracts.reporting import AuditCheckpointed
from shared.errors import InvalidInputError, NotFoundError
from shared.http import openapi
from shared.http.answers import Answer, Created
from shared.http.auth import Admitted
from shared.http.named import NamedInPath
from shared.http.pagination import Window, next_link
from shared.http.period import From, To, period_of, zone_of
from shared.people import is_same
from shared.runtime.service import Service


class Checkpoints(TypedDict):
    """The present root of every partition."""

    checkpoints: list[AuditCheckpointed]


class Reporting:
    """The routes, bound to what they call."""

    def __init__(self, service: Service, settings: ReportingSettings) -> None:
        self._service = service
        self._settings = settings
        self._auditor = Auditor(service)

    def router(self) -> APIRouter:
        """Return all routes of reporting."""
        router = openapi.router("reporting")
        router.get("/kpi", summary="ART, MTTR, FCR, SLA, CSAT and the flow of tickets")(self.kpi)
        router.get("/tickets/{id}/timeline", summary="What happened, who did it, why")(
            self.timeline
        )
        router.get("/audit", summary="Hash the archive again and compare")(self.audit)
        router.post("/audit/checkpoints", summary="Publish the archive's roots")(self.checkpoint)
        return router

    async def kpi(
        self,
        _: Admitted,
        *,
        start: From = None,
        end: To = None,
        by: GroupBy | None = None,
        calendar: str | None = None,
        zone: str | None = None,
    ) -> Answer[KpiReport]:
        """Return the KPIs of tickets created in [from, to); months and days as in `zone`."""
        days_of = zone_of(zone or self._settings.zone)
        since, until = period_of(start, end, days_of)
        measures = queries.Measures(
            start=since,
            end=until,
            by=by,
            zone=days_of,
            calendar=calendar or self._settings.calendar,
        )
        return Answer(await queries.kpis(self._service.pool, measures))

    async def timeline(
        self, request: Request, id: NamedInPath, caller: Admitted, window: Window
    ) -> Answer[queries.Timeline]:
        """Return a ticket's timeline, imported events included, page by page.

        Its requester sees what intake recorded, without what agents say among themselves.
        """
        is_whole = caller.grant.is_whole
        if not is_whole:
            requester = await queries.requester_of(self._service.pool, id)
            if not caller.grant.covers({"own"} if is_same(requester, caller.subject) else ()):
                raise NotFoundError(f"no ticket {id}")
        after = window.after(tuple[int, ...]) or (0,) * len(queries.WRITERS)
        if len(after) != len(queries.WRITERS):
            raise InvalidInputError("The cursor is not one of this list.", field="cursor")
        moments, last = await queries.timeline(
            self._service.pool, id, limit=window.limit, after=after
        )
        if not is_whole:
            moments = [shown for one in moments if (shown := queries.public_part(one)) is not None]
        headers = {} if last is None else {"Link": next_link(request, last)}
        return Answer({"timeline": moments}, headers=headers)

    async def audit(self, _: Admitted) -> Answer[queries.Audit]:
        """Return, per partition, whether the archive still has the root it had while it grew."""
        async with (
            self._service.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return Answer({"partitions": await queries.audit(connection)})

    async def checkpoint(self, _: Admitted) -> Created[Checkpoints]:
        """Publish `audit.checkpointed` for every partition that has grown since the last time."""
        return Created({"checkpoints": await self._auditor.checkpoint()})
