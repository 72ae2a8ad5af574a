"""Clocks over HTTP: those of a ticket and why they are so, what is due next, what was kept."""

from datetime import datetime
from typing import Annotated, NamedTuple, TypedDict
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from services.sla import queries, schemas
from services.sla.api.asking import At
from services.sla.domain.clocks.attainment import Attainment, AttainmentQuery
from services.sla.domain.clocks.explain import (
    ClockReading,
    Explanation,
    Readings,
    explain,
    readings,
)
from services.sla.domain.clocks.ledger import WithoutDeadline
from services.sla.domain.clocks.views import AtRiskAsked, PromisedClock, promised_clocks
from services.sla.domain.files.scenario import Scenario
from services.sla.domain.rules.published import Rules
from services.sla.domain.scenarios.export import scenario_of
from services.sla.domain.services.periods import known_us
from shared.calendar import instant, microseconds
from shared.contracts.base import Priority
from shared.errors import InvalidInputError
from shared.http import openapi
from shared.http.answers import Answer
from shared.http.auth import Admitted
from shared.http.named import NamedInPath
from shared.http.period import period_of, zone_of
from shared.postgres.pool import Connection
from shared.runtime.service import Service


class _Known(NamedTuple):
    rules: Rules
    ticket: queries.TicketFacts
    at_us: int


class _OfTicket(TypedDict):
    ticket_id: UUID
    read_at: datetime


class TicketClocks(_OfTicket):
    """Every clock a ticket has or had, and those that cannot be read."""

    clocks: list[ClockReading]
    without_deadline: list[WithoutDeadline]


class PromisedClocks(_OfTicket):
    """What was promised to a ticket's requester."""

    clocks: list[PromisedClock]


class TicketExplanations(_OfTicket):
    """How the deadlines of a ticket's clocks came about, and which clocks have none."""

    explanations: list[Explanation]
    without_deadline: list[WithoutDeadline]


class ClockList(TypedDict):
    """Clocks that run, the one due first first."""

    clocks: list[queries.NamedClock]


class ClocksAtRisk(TypedDict):
    """Running clocks, the one due first first, read at one instant."""

    read_at: datetime
    clocks: list[queries.NamedAtRisk]


Attained = TypedDict(
    "Attained",
    {"from": datetime | None, "to": datetime | None, "attainment": list[Attainment]},
)
"""The verdicts of [from, to); null is open."""


class ClockRoutes:
    """The routes about clocks."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._forecast = queries.Forecast(service.pool)

    def router(self) -> APIRouter:
        """Return all routes about clocks."""
        router = openapi.router("sla")
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
        return router

    async def clocks(
        self, id: NamedInPath, caller: Admitted, at: At = None
    ) -> Answer[TicketClocks] | Answer[PromisedClocks]:
        """Return every clock the ticket has or had, read now, or as it was known at an instant.

        Who asks and who reported see what was promised to them, on their own tickets.
        """
        async with self._service.pool.acquire() as connection:
            await queries.require_seen(connection, id, caller.grant, caller.subject)
            found = await self._known(connection, id, at)
            if found.ticket.is_foreign:
                shown = Readings(await queries.read_foreign(connection, id))
            else:
                shown = readings(found.ticket.facts, found.rules.rulebook, found.at_us)
        head = _OfTicket(ticket_id=id, read_at=instant(found.at_us))
        if not caller.grant.is_whole:
            return Answer(PromisedClocks(**head, clocks=promised_clocks(shown.clocks)))
        return Answer(
            TicketClocks(**head, clocks=shown.clocks, without_deadline=shown.without_deadline)
        )

    async def explain(
        self, id: NamedInPath, _: Admitted, at: At = None
    ) -> Answer[TicketExplanations]:
        """Return why each deadline is where it is: rule, version, windows, pauses."""
        async with self._service.pool.acquire() as connection:
            found = await self._known(connection, id, at)
        facts = [] if found.ticket.is_foreign else found.ticket.facts
        shown = explain(facts, found.rules.rulebook, found.at_us)
        return Answer(
            {
                "ticket_id": id,
                "read_at": instant(found.at_us),
                "explanations": shown.explanations,
                "without_deadline": shown.without_deadline,
            }
        )

    async def scenario(self, id: NamedInPath, _: Admitted, at: At = None) -> Answer[Scenario]:
        """Return the ticket as a scenario for `desk sla simulate`, its clocks expected."""
        async with self._service.pool.acquire() as connection:
            found = await self._known(connection, id, at)
            published = await queries.read_publications(connection, self._service.journal)
        return Answer(scenario_of(str(id), found.ticket.facts, published, found.at_us))

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
        self, _: Admitted, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Answer[ClockList]:
        """Return clocks that run towards a due time."""
        async with self._service.pool.acquire() as connection:
            clocks = await queries.list_running(connection, limit=limit)
            named = await queries.with_names(connection, clocks, queries.NamedClock)
        return Answer({"clocks": named})

    async def at_risk(
        self,
        _: Admitted,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        group: str | None = None,
        priority: Priority | None = None,
        overdue: Annotated[bool, Query(description="those overdue instead")] = False,  # noqa: FBT002 a switch of the query
    ) -> Answer[ClocksAtRisk]:
        """Return the clocks due next, each with its probability of a breach."""
        asked = AtRiskAsked(
            at=self._service.clock.now(),
            limit=limit,
            group=group,
            priority=priority,
            is_overdue=overdue,
        )
        async with self._service.pool.acquire() as connection:
            rules = await queries.load_rules(connection, self._service.journal)
        curves = await self._forecast.curves(rules, microseconds(asked.at))
        async with self._service.pool.acquire() as connection:
            clocks = await queries.list_at_risk(connection, asked, rules, curves)
            named = await queries.with_names(connection, clocks, queries.NamedAtRisk)
        return Answer({"read_at": asked.at, "clocks": named})

    async def attainment(
        self, caller: Admitted, query: Annotated[schemas.AskedVerdicts, Depends()]
    ) -> Answer[Attained]:
        """Return the verdicts of [from, to) by target, who judged, and what is asked for.

        A customer sees those of their own tickets.
        """
        zone = zone_of(query.zone)
        start, end = period_of(query.start, query.end, zone)
        asked = AttainmentQuery(
            start=start,
            end=end,
            by=query.by,
            zone=zone.key,
            targets=query.targets,
            priorities=query.priorities,
            customers=query.customers if caller.grant.is_whole else (caller.subject,),
            services=query.services,
        )
        now = self._service.clock.now()
        async with self._service.pool.acquire() as connection:
            found = await queries.read_attainment(connection, asked, now)
        return Answer({"from": asked.start, "to": asked.end, "attainment": found})
