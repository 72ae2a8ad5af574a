"""Sla over HTTP: a ticket's clocks and why they are so, what is due next, the published rules."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from services.sla import queries, schemas
from services.sla.domain.defaults import OFFICE, default_calendars, default_policy
from services.sla.domain.rules import PolicyWanted, RuleEvent, RulesWanted
from services.sla.domain.scenario import CalendarPart
from services.sla.handlers import Rulebook
from shared.contracts.sla import SlaPeakDeclared
from shared.errors import NotFoundError
from shared.http import conditional
from shared.http.answers import answer
from shared.http.auth import Principal, Role, requires
from shared.http.body import openapi_body, read_struct
from shared.http.conditional import parse_if_match
from shared.runtime.service import Service

_Reader = Annotated[
    Principal,
    Depends(requires(Role.AGENT, Role.MANAGER, Role.AUDITOR, Role.INTEGRATION)),
]
_Manager = Annotated[Principal, Depends(requires(Role.MANAGER))]
_Id = Annotated[str, Path(min_length=1, max_length=200)]
_POLICY_EXAMPLE: Final = schemas.NewPolicy(targets=default_policy().targets)
_OFFICE: Final = default_calendars("Europe/Berlin")[0]
_CALENDAR_EXAMPLE: Final = schemas.NewCalendar(
    zone=_OFFICE.zone, weekly=_OFFICE.weekly, holidays=("--12-25",)
)
_RULES_EXAMPLE: Final = RulesWanted(
    calendars=(CalendarPart(id=OFFICE, zone=_OFFICE.zone, weekly=_OFFICE.weekly),),
    policies=(PolicyWanted(id="standard", targets=default_policy().targets),),
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
        router.get("/policies/{id}", summary="The newest version of a policy")(self.rule)
        router.put(
            "/policies/{id}",
            summary="Publish the next version of a policy",
            openapi_extra=openapi_body(
                schemas.NewPolicy, _POLICY_EXAMPLE, parameters=[conditional.OPENAPI_PARAMETER]
            ),
        )(self.publish_policy)
        router.get("/calendars/{id}", summary="The newest version of a calendar")(self.rule)
        router.put(
            "/calendars/{id}",
            summary="Publish working hours; policies that use them follow, for new cycles",
            openapi_extra=openapi_body(
                schemas.NewCalendar, _CALENDAR_EXAMPLE, parameters=[conditional.OPENAPI_PARAMETER]
            ),
        )(self.publish_calendar)
        router.post(
            "/rules",
            summary="Publish calendars and policies together",
            openapi_extra=openapi_body(RulesWanted, _RULES_EXAMPLE),
        )(self.publish_rules)
        router.put(
            "/peak",
            summary="Declare a peak, or its end",
            openapi_extra=openapi_body(schemas.Peak, schemas.Peak(is_peak=True)),
        )(self.declare_peak)
        return router

    async def clocks(self, id: UUID, _: _Reader) -> Response:
        """Return every clock the ticket has or had; none if nothing was promised."""
        return answer({"clocks": await queries.read_clocks(self._service.pool, id)})

    async def running(
        self, _: _Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Response:
        """Return clocks that run towards a due time."""
        return answer({"clocks": await queries.list_running(self._service.pool, limit=limit)})

    async def rule(self, id: _Id, _: _Reader) -> Response:
        """Return the newest version with its ETag."""
        async with self._service.pool.acquire() as connection:
            events = (await self._service.journal.read(connection, [id]))[id]
        if not events:
            raise NotFoundError(f"nothing was published as {id!r}")
        return answer(events[-1].data, sequence=len(events))

    async def publish_policy(self, id: _Id, request: Request, _: _Manager) -> Response:
        """Publish the next version; the same content again changes nothing."""
        body = await read_struct(request, schemas.NewPolicy)
        wanted = PolicyWanted(
            id=id,
            effective_from=body.effective_from,
            applies_to=body.applies_to,
            targets=body.targets,
        )
        return await self._publish(id, request, RulesWanted(policies=(wanted,)))

    async def publish_calendar(self, id: _Id, request: Request, _: _Manager) -> Response:
        """Publish the next version; cycles that are open keep theirs."""
        body = await read_struct(request, schemas.NewCalendar)
        wanted = CalendarPart(
            id=id,
            zone=body.zone,
            weekly=body.weekly,
            holidays=body.holidays,
            special_days=body.special_days,
        )
        return await self._publish(id, request, RulesWanted(calendars=(wanted,)))

    async def publish_rules(self, request: Request, _: _Manager) -> Response:
        """Publish what differs from what is in force; calendars first."""
        wanted = await read_struct(request, RulesWanted)
        return answer({"published": await self._rulebook.publish(wanted)})

    async def declare_peak(self, request: Request, _: _Manager) -> Response:
        """Say that service requests created from now on are a peak's, or no longer."""
        body = await read_struct(request, schemas.Peak)
        written = await self._rulebook.declare_peak(is_peak=body.is_peak)
        return answer({"is_peak": body.is_peak, "changed": bool(written.events)})

    async def _publish(self, id: str, request: Request, wanted: RulesWanted) -> Response:
        expected = parse_if_match(request.headers.get(conditional.HEADER))
        published = await self._rulebook.publish(
            wanted, None if expected is None else (id, expected)
        )
        version = next((_version(rule) for rule in published if rule.stream_id == id), None)
        async with self._service.pool.acquire() as connection:
            sequence = len((await self._service.journal.read(connection, [id]))[id])
        return answer(
            {"version": version or sequence, "changed": bool(published), "published": published},
            sequence=sequence,
        )


def _version(rule: RuleEvent) -> int | None:
    return None if isinstance(rule, SlaPeakDeclared) else rule.version
