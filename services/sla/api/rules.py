"""Rules over HTTP: policies and calendars, read, checked and published; peaks."""

from typing import Annotated, Any, Final, TypedDict, get_args

from fastapi import APIRouter, Request

from services.sla import queries, schemas
from services.sla.domain.files.scenario import CalendarPart
from services.sla.domain.lint.findings import Finding
from services.sla.domain.outlook.endings import Ended
from services.sla.domain.rules.defaults import OFFICE, default_calendars, default_policy
from services.sla.domain.rules.published import (
    PolicyView,
    Publication,
    RuleVersions,
    versions_of,
    with_states,
)
from services.sla.domain.rules.publishing import (
    PolicyWanted,
    RuleEvent,
    RulesWanted,
    alone,
    of_one_rule,
)
from services.sla.handlers import Plan, RulePublisher
from shared.calendar import ROUND_THE_CLOCK, microseconds
from shared.contracts.sla import (
    SlaCalendarPublished,
    SlaPeakDeclared,
)
from shared.errors import InvalidInputError, NotFoundError
from shared.http import conditional, openapi
from shared.http.answers import Answer, Tagged
from shared.http.auth import Admitted
from shared.http.body import any_of, openapi_body, read_struct
from shared.http.conditional import if_match, refuse_if_match
from shared.http.parameters import KeyInPath
from shared.runtime.service import Service

_POLICY_EXAMPLE: Final = schemas.NewPolicy(targets=default_policy().targets)
_OFFICE: Final = default_calendars("Europe/Berlin")[0]
_CALENDAR_EXAMPLE: Final = schemas.NewCalendar(
    zone=_OFFICE.zone, weekly=_OFFICE.weekly, holidays=("--12-25",)
)
_RULES_EXAMPLE: Final = RulesWanted(
    calendars=(CalendarPart(id=OFFICE, zone=_OFFICE.zone, weekly=_OFFICE.weekly),),
    policies=(PolicyWanted(id="standard", targets=default_policy().targets),),
)


AnyRule = Annotated[Any, any_of(*get_args(RuleEvent))]
"""A rule as it was published."""


class RulesPublished(TypedDict):
    """What is in force now that was not, what ends by it, and what the linter finds odd in it."""

    published: list[AnyRule]
    ends: list[Ended]
    warnings: list[Finding]


class RulePublished(RulesPublished):
    """The newest version of the rule that was put, and whether it is new."""

    version: int
    changed: bool


class PeakAnswer(TypedDict):
    """Whether a peak is declared, and whether that is new."""

    is_peak: bool
    changed: bool


class RuleRoutes:
    """The routes about rules."""

    def __init__(self, service: Service, rulebook: RulePublisher) -> None:
        self._service = service
        self._rulebook = rulebook

    def router(self) -> APIRouter:
        """Return all routes about rules."""
        router = openapi.router("sla")
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
        router.get("/rules", summary="Every version of every policy and calendar")(self.rules)
        router.post(
            "/rules",
            summary="Publish calendars and policies together",
            openapi_extra=openapi_body(RulesWanted, _RULES_EXAMPLE),
        )(self.publish_rules)
        router.post(
            "/rules:check",
            summary="What publishing would add, and which running clocks it would change",
            openapi_extra=openapi_body(RulesWanted, _RULES_EXAMPLE),
        )(self.check_rules)
        router.put(
            "/peak",
            summary="Declare a peak, or its end",
            openapi_extra=openapi_body(
                schemas.Peak,
                schemas.Peak(is_peak=True),
                parameters=[conditional.OPENAPI_PARAMETER],
            ),
        )(self.declare_peak)
        return router

    async def rules(self, _: Admitted) -> Answer[RuleVersions]:
        """Return every version of every policy and calendar, and whether a peak is declared."""
        async with self._service.pool.acquire() as connection:
            published = await queries.read_publications(connection, self._service.journal)
        return Answer(versions_of(published, microseconds(self._service.clock.now())))

    async def rule(
        self, id: KeyInPath, _: Admitted
    ) -> Tagged[SlaCalendarPublished] | Tagged[PolicyView]:
        """Return the newest version with its ETag; a policy's also says whether it is in force."""
        async with self._service.pool.acquire() as connection:
            events = (await self._service.journal.read(connection, [id]))[id]
        rules = [event for event in events if isinstance(event.data, RuleEvent)]
        if not rules:
            raise NotFoundError(f"nothing was published as {id!r}")
        if isinstance(rules[-1].data, SlaCalendarPublished):
            return Tagged(rules[-1].data, len(events))
        versions = [Publication(rule.data, microseconds(rule.time)) for rule in rules]
        now_us = microseconds(self._service.clock.now())
        return Tagged(list(with_states(versions, now_us))[-1], len(events))

    async def publish_policy(
        self, id: KeyInPath, request: Request, _: Admitted
    ) -> Tagged[RulePublished]:
        """Publish the next version; the same content again changes nothing."""
        body = await read_struct(request, schemas.NewPolicy)
        wanted = PolicyWanted(
            id=id,
            effective_from=body.effective_from,
            applies_to=body.applies_to,
            targets=body.targets,
        )
        return await self._publish(id, request, RulesWanted(policies=(wanted,)))

    async def publish_calendar(
        self, id: KeyInPath, request: Request, _: Admitted
    ) -> Tagged[RulePublished]:
        """Publish the next version; cycles that are open keep theirs."""
        if id == ROUND_THE_CLOCK:
            raise InvalidInputError(f"{id} is built in", field="id")
        body = await read_struct(request, schemas.NewCalendar)
        wanted = CalendarPart(
            id=id,
            zone=body.zone,
            weekly=body.weekly,
            holidays=body.holidays,
            special_days=body.special_days,
        )
        return await self._publish(id, request, RulesWanted(calendars=(wanted,)))

    async def publish_rules(self, request: Request, _: Admitted) -> Answer[RulesPublished]:
        """Publish what differs from what is in force; calendars first."""
        refuse_if_match(request)
        wanted = await read_struct(request, RulesWanted)
        published = await self._rulebook.publish(wanted)
        warnings = await self._rulebook.warnings(wanted)
        return Answer({"published": published.rules, "ends": published.ends, "warnings": warnings})

    async def check_rules(self, request: Request, _: Admitted) -> Answer[Plan]:
        """Publish nothing; say what `POST /rules` would do."""
        wanted = await read_struct(request, RulesWanted)
        return Answer(await self._rulebook.check(wanted))

    async def declare_peak(self, request: Request, _: Admitted) -> Tagged[PeakAnswer]:
        """Say that service requests created from now on are a peak's, or no longer."""
        body = await read_struct(request, schemas.Peak)
        written = await self._rulebook.declare_peak(
            is_peak=body.is_peak, expected=if_match(request)
        )
        return Tagged({"is_peak": body.is_peak, "changed": bool(written.events)}, written.sequence)

    async def _publish(
        self, id: str, request: Request, wanted: RulesWanted
    ) -> Tagged[RulePublished]:
        expected = if_match(request)
        try:
            published = await self._rulebook.publish(
                wanted, None if expected is None else (id, expected)
            )
        except InvalidInputError as error:
            raise of_one_rule(error) from error
        version = next((_version(rule) for rule in published.rules if rule.stream_id == id), None)
        async with self._service.pool.acquire() as connection:
            sequence = len((await self._service.journal.read(connection, [id]))[id])
        return Tagged(
            {
                "version": version or sequence,
                "changed": bool(published.rules),
                "published": published.rules,
                "ends": published.ends,
                "warnings": list(map(alone, await self._rulebook.warnings(wanted))),
            },
            sequence,
        )


def _version(rule: RuleEvent) -> int | None:
    return None if isinstance(rule, SlaPeakDeclared) else rule.version
