"""Sla over HTTP: a ticket's clocks, what is due next, the published rules."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from services.sla import queries, schemas
from services.sla.domain.defaults import STANDARD_POLICY, default_calendars, default_policy
from services.sla.domain.rules import RuleEvent
from services.sla.handlers import Rulebook
from shared.contracts.sla import SlaCalendarPublished, SlaPolicyPublished
from shared.errors import NotFoundError
from shared.http import conditional
from shared.http.answers import answer
from shared.http.auth import Principal, Role, requires
from shared.http.body import openapi_body, read_struct
from shared.http.conditional import parse_if_match
from shared.journal.handler import Written
from shared.runtime.service import Service

_Reader = Annotated[
    Principal,
    Depends(requires(Role.AGENT, Role.MANAGER, Role.AUDITOR, Role.INTEGRATION)),
]
_Manager = Annotated[Principal, Depends(requires(Role.MANAGER))]
_CalendarId = Annotated[str, Path(min_length=1, max_length=200)]
_POLICY_EXAMPLE: Final = schemas.NewPolicy(targets=default_policy().targets)
_OFFICE: Final = default_calendars("Europe/Berlin")[0]
_CALENDAR_EXAMPLE: Final = schemas.NewCalendar(
    name=_OFFICE.name, zone=_OFFICE.zone, weekly=_OFFICE.weekly, holidays=("--12-25",)
)


class Sla:
    """The routes, bound to what they call."""

    def __init__(self, service: Service, rulebook: Rulebook) -> None:
        self._service = service
        self._rulebook = rulebook

    def router(self) -> APIRouter:
        """Return all routes of sla."""
        router = APIRouter(tags=["sla"])
        router.get("/tickets/{id}", summary="A ticket's clocks")(self.clocks)
        router.get("/clocks", summary="Running clocks, the one due first first")(self.running)
        router.get("/policy", summary="The promises in force")(self.policy)
        router.put(
            "/policy",
            summary="Publish promises for tickets created from now on",
            openapi_extra=openapi_body(
                schemas.NewPolicy, _POLICY_EXAMPLE, parameters=[conditional.OPENAPI_PARAMETER]
            ),
        )(self.publish_policy)
        router.get("/calendars/{calendar_id}", summary="A calendar")(self.calendar)
        router.put(
            "/calendars/{calendar_id}",
            summary="Publish working hours",
            openapi_extra=openapi_body(
                schemas.NewCalendar, _CALENDAR_EXAMPLE, parameters=[conditional.OPENAPI_PARAMETER]
            ),
        )(self.publish_calendar)
        return router

    async def clocks(self, id: UUID, _: _Reader) -> Response:
        """Return every clock the ticket has or had; none if nothing was promised."""
        return answer({"clocks": await queries.read_clocks(self._service.pool, id)})

    async def running(
        self, _: _Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Response:
        """Return clocks that run towards a due time."""
        return answer({"clocks": await queries.list_running(self._service.pool, limit=limit)})

    async def policy(self, _: _Reader) -> Response:
        """Return the newest version with its ETag."""
        return await self._newest(STANDARD_POLICY)

    async def calendar(self, calendar_id: _CalendarId, _: _Reader) -> Response:
        """Return the newest version with its ETag."""
        return await self._newest(calendar_id)

    async def publish_policy(self, request: Request, _: _Manager) -> Response:
        """Publish the next version; the same content again changes nothing."""
        body = await read_struct(request, schemas.NewPolicy)
        policy = SlaPolicyPublished(policy_id=STANDARD_POLICY, version=1, targets=body.targets)
        return await self._publish(request, policy, self._rulebook.publish_policy)

    async def publish_calendar(
        self, request: Request, calendar_id: _CalendarId, _: _Manager
    ) -> Response:
        """Publish the next version; running clocks keep theirs until their ticket moves."""
        body = await read_struct(request, schemas.NewCalendar)
        calendar = SlaCalendarPublished(
            calendar_id=calendar_id,
            version=1,
            name=body.name,
            zone=body.zone,
            weekly=body.weekly,
            holidays=body.holidays,
            special_days=body.special_days,
        )
        return await self._publish(request, calendar, self._rulebook.publish_calendar)

    async def _publish(
        self,
        request: Request,
        document: RuleEvent,
        publish: Callable[..., Awaitable[Written]],
    ) -> Response:
        expected = parse_if_match(request.headers.get(conditional.HEADER))
        written = await publish(document, expected)
        return answer(
            {"version": written.sequence, "changed": bool(written.events)},
            sequence=written.sequence,
        )

    async def _newest(self, stream_id: str) -> Response:
        async with self._service.pool.acquire() as connection:
            events = (await self._service.journal.read(connection, [stream_id]))[stream_id]
        if not events:
            raise NotFoundError(f"nothing was published as {stream_id!r}")
        return answer(events[-1].data, sequence=len(events))
