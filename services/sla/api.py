"""Sla over HTTP: a ticket's clocks and why they are so, what is due next, the published rules."""

from datetime import datetime
from typing import Annotated, Final, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from msgspec.structs import asdict

from services.sla import queries, schemas
from services.sla.domain.attainment import Asked
from services.sla.domain.availability import Question
from services.sla.domain.defaults import OFFICE, default_calendars, default_policy
from services.sla.domain.explain import Readings, explain, readings
from services.sla.domain.export import scenario_of
from services.sla.domain.periods import YEAR_US, By, known_us, span_asked
from services.sla.domain.published import Rules, versions_of
from services.sla.domain.rules import PolicyWanted, RuleEvent, RulesWanted, of_one_rule
from services.sla.domain.scenario import CalendarPart
from services.sla.domain.views import agreement_view
from services.sla.handlers import Agreements, Rulebook, ServiceRecords
from services.sla.tables import AGREEMENTS, DOCUMENTS
from shared.calendar import ROUND_THE_CLOCK, instant, microseconds
from shared.contracts.availability import ServiceEvent
from shared.contracts.base import KEY_PATTERN
from shared.contracts.sla import SlaPeakDeclared
from shared.errors import InvalidInputError, NotFoundError
from shared.http import conditional
from shared.http.answers import answer
from shared.http.auth import Principal, Role, requires
from shared.http.body import openapi_body, read_struct
from shared.http.conditional import parse_if_match
from shared.http.documents import DocumentRoutes
from shared.http.period import require_period, zone_of
from shared.postgres.pool import Connection
from shared.runtime.read_model import shown
from shared.runtime.service import Service

_Reader = Annotated[
    Principal,
    Depends(requires(Role.AGENT, Role.MANAGER, Role.AUDITOR, Role.INTEGRATION)),
]
_Manager = Annotated[Principal, Depends(requires(Role.MANAGER))]
_At = Annotated[datetime | None, Query(description="as known at this instant, and read at it")]
_Asked = Annotated[schemas.Asked, Depends()]
_By = Annotated[By | None, Query(description="cut the time in such periods")]
_Limit = Annotated[int, Query(ge=1, le=500)]
_Id = Annotated[str, Path(min_length=1, max_length=200, pattern=KEY_PATTERN)]
_POLICY_EXAMPLE: Final = schemas.NewPolicy(targets=default_policy().targets)
_OFFICE: Final = default_calendars("Europe/Berlin")[0]
_CALENDAR_EXAMPLE: Final = schemas.NewCalendar(
    zone=_OFFICE.zone, weekly=_OFFICE.weekly, holidays=("--12-25",)
)
_RULES_EXAMPLE: Final = RulesWanted(
    calendars=(CalendarPart(id=OFFICE, zone=_OFFICE.zone, weekly=_OFFICE.weekly),),
    policies=(PolicyWanted(id="standard", targets=default_policy().targets),),
)


class _Known(NamedTuple):
    rules: Rules
    ticket: queries.TicketFacts
    at_us: int


class Sla:
    """The routes, bound to what they call."""

    def __init__(self, service: Service, rulebook: Rulebook) -> None:
        self._service = service
        self._rulebook = rulebook
        self._forecast = queries.Forecast()

    def router(self) -> APIRouter:
        """Return all routes of sla."""
        router = APIRouter(tags=["sla"])
        router.get("/tickets/{id}", summary="A ticket's clocks")(self.clocks)
        router.get("/tickets/{id}/explain", summary="Why its deadlines are where they are")(
            self.explain
        )
        router.get("/tickets/{id}/scenario", summary="The ticket as a scenario")(self.scenario)
        router.get("/clocks", summary="Running clocks, the one due first first")(self.running)
        router.get("/at-risk", summary="Running clocks by remaining time, and their chances")(
            self.at_risk
        )
        router.get("/attainment", summary="Promises kept, per policy, group, month and more")(
            self.attainment
        )
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
            openapi_extra=openapi_body(schemas.Peak, schemas.Peak(is_peak=True)),
        )(self.declare_peak)
        return router

    async def clocks(self, id: UUID, _: _Reader, at: _At = None) -> Response:
        """Return every clock the ticket has or had, read now, or as it was known at an instant."""
        async with self._service.pool.acquire() as connection:
            found = await self._known(connection, id, at)
            if found.ticket.is_foreign:
                shown = Readings(await queries.read_foreign(connection, id))
            else:
                shown = readings(found.ticket.facts, found.rules.rulebook, found.at_us)
        return answer({"ticket_id": id, "read_at": instant(found.at_us), **asdict(shown)})

    async def explain(self, id: UUID, _: _Reader, at: _At = None) -> Response:
        """Return why each deadline is where it is: rule, version, windows, pauses."""
        async with self._service.pool.acquire() as connection:
            found = await self._known(connection, id, at)
        facts = [] if found.ticket.is_foreign else found.ticket.facts
        shown = explain(facts, found.rules.rulebook, found.at_us)
        return answer({"ticket_id": id, "read_at": instant(found.at_us), **asdict(shown)})

    async def scenario(self, id: UUID, _: _Reader, at: _At = None) -> Response:
        """Return the ticket as a scenario for `desk sla simulate`, its clocks expected."""
        async with self._service.pool.acquire() as connection:
            found = await self._known(connection, id, at)
            published = await queries.read_publications(connection, self._service.journal)
        return answer(scenario_of(str(id), found.ticket.facts, published, found.at_us))

    async def _known(self, connection: Connection, id: UUID, at: datetime | None) -> _Known:
        if at is not None and at.tzinfo is None:
            raise InvalidInputError("at needs an offset, such as Z", field="at")
        read_at = at or self._service.clock.now()
        known_us(read_at, "at")
        rules = await queries.load_rules(connection, self._service.journal)
        ticket = await queries.read_facts(
            connection, self._service.journal, str(id), rules, read_at
        )
        return _Known(rules, ticket, microseconds(read_at))

    async def running(
        self, _: _Reader, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Response:
        """Return clocks that run towards a due time."""
        return answer({"clocks": await queries.list_running(self._service.pool, limit=limit)})

    async def at_risk(
        self,
        _: _Reader,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        group: str | None = None,
        priority: str | None = None,
        overdue: Annotated[bool, Query(description="those overdue instead")] = False,  # noqa: FBT002 a switch of the query
    ) -> Response:
        """Return the clocks due next, each with its probability of a breach."""
        asked = queries.AtRiskAsked(
            at=self._service.clock.now(),
            limit=limit,
            group=group,
            priority=priority,
            is_overdue=overdue,
        )
        async with self._service.pool.acquire() as connection:
            rules = await queries.load_rules(connection, self._service.journal)
            curves = await self._forecast.curves(connection, rules, microseconds(asked.at))
            clocks = await queries.list_at_risk(connection, asked, rules, curves)
        return answer({"read_at": asked.at, "clocks": clocks})

    async def attainment(
        self, _: _Reader, query: Annotated[schemas.AskedVerdicts, Depends()]
    ) -> Response:
        """Return the verdicts of [from, to) by target, who judged, and what is asked for."""
        require_period(query.start, query.end)
        asked = Asked(
            start=query.start,
            end=query.end,
            by=query.by,
            zone=zone_of(query.zone).key,
            targets=query.targets,
            priorities=query.priorities,
            customers=query.customers,
            services=query.services,
        )
        now = self._service.clock.now()
        async with self._service.pool.acquire() as connection:
            found = await queries.read_attainment(connection, asked, now)
        return answer({"from": asked.start, "to": asked.end, "attainment": found})

    async def rules(self, _: _Reader) -> Response:
        """Return every version of every policy and calendar, and whether a peak is declared."""
        async with self._service.pool.acquire() as connection:
            published = await queries.read_publications(connection, self._service.journal)
        return answer(versions_of(published))

    async def rule(self, id: _Id, _: _Reader) -> Response:
        """Return the newest version with its ETag."""
        async with self._service.pool.acquire() as connection:
            events = (await self._service.journal.read(connection, [id]))[id]
        rules = [event.data for event in events if isinstance(event.data, RuleEvent)]
        if not rules:
            raise NotFoundError(f"nothing was published as {id!r}")
        return answer(rules[-1], sequence=len(events))

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

    async def publish_rules(self, request: Request, _: _Manager) -> Response:
        """Publish what differs from what is in force; calendars first."""
        wanted = await read_struct(request, RulesWanted)
        return answer({"published": await self._rulebook.publish(wanted)})

    async def check_rules(self, request: Request, _: _Manager) -> Response:
        """Publish nothing; say what `POST /rules` would do."""
        wanted = await read_struct(request, RulesWanted)
        return answer(await self._rulebook.check(wanted))

    async def declare_peak(self, request: Request, _: _Manager) -> Response:
        """Say that service requests created from now on are a peak's, or no longer."""
        body = await read_struct(request, schemas.Peak)
        written = await self._rulebook.declare_peak(is_peak=body.is_peak)
        return answer({"is_peak": body.is_peak, "changed": bool(written.events)})

    async def _publish(self, id: str, request: Request, wanted: RulesWanted) -> Response:
        expected = parse_if_match(request.headers.get(conditional.HEADER))
        try:
            published = await self._rulebook.publish(
                wanted, None if expected is None else (id, expected)
            )
        except InvalidInputError as error:
            raise of_one_rule(error) from error
        version = next((_version(rule) for rule in published if rule.stream_id == id), None)
        async with self._service.pool.acquire() as connection:
            sequence = len((await self._service.journal.read(connection, [id]))[id])
        return answer(
            {"version": version or sequence, "changed": bool(published), "published": published},
            sequence=sequence,
        )


def _version(rule: RuleEvent) -> int | None:
    return None if isinstance(rule, SlaPeakDeclared) else rule.version


class Services:
    """The routes about services: outages, maintenance, how available they are and shall be."""

    def __init__(self, service: Service, records: ServiceRecords) -> None:
        self._service = service
        self._records = records

    def router(self) -> APIRouter:
        """Return all routes about services."""
        router = APIRouter(tags=["services"])
        routes = DocumentRoutes[ServiceEvent](self._records.record, self._shown)
        routes.add(router, schemas.SERVICE_DOCUMENTS)
        router.get("/outages", summary="Outages, the one that began last first")(self.outages)
        router.get("/maintenance", summary="Maintenance, the one that starts last first")(
            self.maintenance
        )
        router.get("/availability", summary="How available services were")(self.availability)
        return router

    async def outages(self, _: _Reader, asked: _Asked, limit: _Limit = 200) -> Response:
        """Return outages that touch the time, also those withdrawn."""
        question = self._question(asked)
        found = await queries.list_outages(self._service.pool, question, limit=limit)
        return answer({"outages": found})

    async def maintenance(self, _: _Reader, asked: _Asked, limit: _Limit = 200) -> Response:
        """Return maintenance that touches the time, by default the year to come."""
        question = self._question(asked, ahead_us=YEAR_US)
        found = await queries.list_maintenance(self._service.pool, question, limit=limit)
        return answer({"maintenance": found})

    async def availability(self, _: _Reader, asked: _Asked, by: _By = None) -> Response:
        """Return availability, failures, MTBF and MTTRS, as far as the time has come."""
        at_us = self._now_us()
        question = self._question(asked, by)
        async with self._service.pool.acquire() as connection:
            found = await queries.read_availability(
                connection, self._service.journal, question, at_us
            )
        return answer({"read_at": instant(at_us), "zone": asked.zone, "services": found})

    def _question(
        self, asked: schemas.Asked, by: By | None = None, *, ahead_us: int = 0
    ) -> Question:
        zone = zone_of(asked.zone)
        span = span_asked(asked.start, asked.to, zone, self._now_us() + ahead_us)
        return Question(asked.service, span, by, zone)

    def _now_us(self) -> int:
        return microseconds(self._service.clock.now())

    async def _shown(self, document: ServiceEvent) -> int:
        return await shown(self._service.pool, DOCUMENTS[type(document)], document.stream_id)


class AgreementRoutes:
    """The routes about agreements: versions, signatures, reviews."""

    def __init__(self, service: Service, agreements: Agreements) -> None:
        self._service = service
        self._agreements = agreements

    def router(self) -> APIRouter:
        """Return all routes about agreements."""
        router = APIRouter(tags=["agreements"])
        DocumentRoutes(self._agreements.tell, self._shown).add(router, schemas.AGREEMENT_DOCUMENTS)
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

    async def agreements(self, _: _Reader) -> Response:
        """Return every agreement."""
        now_us = microseconds(self._service.clock.now())
        found = await queries.read_versions(self._service.pool)
        views = [agreement_view(*one, now_us) for one in found.items()]
        return answer({"agreements": views})

    async def agreement(self, id: _Id, _: _Reader) -> Response:
        """Return an agreement with its ETag."""
        found, sequence = await self._agreements.agreement(id)
        now_us = microseconds(self._service.clock.now())
        return answer(agreement_view(id, found.versions, now_us), sequence=sequence)

    async def remedies(
        self,
        id: _Id,
        _: _Reader,
        limit: _Limit = 200,
        revisions: Annotated[bool, Query(description="all, not only the highest")] = False,  # noqa: FBT002 a switch of the query
    ) -> Response:
        """Return what was due for each period, 0 included."""
        await self._agreements.agreement(id)
        found = await queries.list_remedies(
            self._service.pool, id, is_every_revision=revisions, limit=limit
        )
        return answer({"remedies": found})

    async def review(self, id: _Id, request: Request, _: _Manager) -> Response:
        """Review a period; tell a further revision if late facts changed anything."""
        body = await read_struct(request, schemas.NewReview)
        return answer(await self._agreements.review(id, body.period))

    async def _shown(self, word: schemas.AgreementWord) -> int:
        return await shown(self._service.pool, AGREEMENTS, word[0].stream_id)
