"""Routing over HTTP: who has what and why, the roster, the published policy."""

from typing import Final
from uuid import UUID

from fastapi import APIRouter, Request

from services.routing import schemas
from services.routing.domain.agents import AgentCommand, RegisterAgent, SetAvailability
from services.routing.domain.policy import DEFAULT_POLICY, default_policy
from services.routing.domain.triage import AssignTicket
from services.routing.handlers.dispatch import Dispatch
from services.routing.queries import views
from shared.contracts.routing import RoutingPolicyPublished
from shared.errors import ForbiddenError, NotFoundError
from shared.http import conditional, openapi
from shared.http.answers import Answer, Tagged
from shared.http.auth import Admitted, Caller
from shared.http.body import openapi_body, read_struct
from shared.http.commands import CommandRoutes, Verb
from shared.http.named import NamedInPath
from shared.http.parameters import KeyInPath
from shared.runtime.service import Service
from shared.telemetry.context import lineage

_DEFAULT: Final = default_policy()
_POLICY_EXAMPLE: Final = schemas.NewPolicy(
    matrix=_DEFAULT.matrix,
    thresholds=_DEFAULT.thresholds,
    desks=_DEFAULT.desks,
    default_groups=_DEFAULT.default_groups,
)
_VERBS: Final = (
    Verb[AssignTicket](
        "assign",
        schemas.Assign,
        schemas.Assign(group="network-support", agent_id="bo", reason="knows the site"),
        lambda body, ticket, _: AssignTicket(
            ticket, body.group, body.agent_id, body.line, body.reason
        ),
        "Give the ticket to a group or an agent",
    ),
)


class Routing:
    """The routes, bound to what they call."""

    def __init__(self, service: Service, dispatch: Dispatch) -> None:
        self._service = service
        self._dispatch = dispatch
        self._commands = CommandRoutes[AssignTicket](
            service.clock.now, dispatch.assign, _admit, self._shown
        )

    def router(self) -> APIRouter:
        """Return all routes of routing."""
        router = openapi.router("routing")
        router.get("/tickets/{id}", summary="Rank, assignment, escalation, and why")(self.ticket)
        self._commands.add(router, "/tickets/{id}", _VERBS)
        router.get("/queues", summary="Open tickets per group")(self.queues)
        router.get("/agents", summary="The roster with workloads")(self.agents)
        router.put(
            "/agents/{agent_id}",
            summary="Register an agent",
            openapi_extra=openapi_body(
                schemas.Registration,
                schemas.Registration(name="Bo Li", group="service-desk", skills=("network",)),
                parameters=[conditional.OPENAPI_PARAMETER],
            ),
        )(self.register)
        router.post(
            "/agents/{agent_id}/availability",
            summary="Say whether an agent takes new tickets",
            openapi_extra=openapi_body(
                schemas.Availability,
                schemas.Availability(available=False),
                parameters=[conditional.OPENAPI_PARAMETER],
            ),
        )(self.availability)
        router.get("/policy", summary="The rules in force")(self.policy)
        router.put(
            "/policy",
            summary="Publish the rules of routing",
            openapi_extra=openapi_body(
                schemas.NewPolicy, _POLICY_EXAMPLE, parameters=[conditional.OPENAPI_PARAMETER]
            ),
        )(self.publish)
        return router

    async def ticket(self, id: NamedInPath, _: Admitted) -> Answer[views.RoutingView]:
        """Return what routing decided about a ticket."""
        return Answer(await views.read_ticket(self._service.pool, id))

    async def queues(self, _: Admitted) -> Answer[views.Queues]:
        """Return the groups that have open tickets."""
        return Answer({"queues": await views.list_queues(self._service.pool)})

    async def agents(self, _: Admitted) -> Answer[views.Roster]:
        """Return every agent."""
        return Answer({"agents": await views.list_agents(self._service.pool)})

    async def register(
        self, request: Request, agent_id: KeyInPath, _: Admitted
    ) -> Tagged[schemas.AgentAnswer]:
        """Take an agent onto the roster or replace what it says."""
        body = await read_struct(request, schemas.Registration)
        return await self._agent(
            request,
            RegisterAgent(
                agent_id, body.name, body.group, body.line, body.skills, body.workload_max
            ),
        )

    async def availability(
        self, request: Request, agent_id: KeyInPath, caller: Admitted
    ) -> Tagged[schemas.AgentAnswer]:
        """Change whether an agent takes new tickets."""
        if not caller.grant.covers({"self"} if agent_id == caller.subject else ()):
            raise ForbiddenError("an agent says so of themselves, not of others")
        body = await read_struct(request, schemas.Availability)
        return await self._agent(request, SetAvailability(agent_id, body.available))

    async def policy(self, _: Admitted) -> Tagged[RoutingPolicyPublished]:
        """Return the newest version with its ETag."""
        policy, sequence = await self._dispatch.policy()
        if policy is None:
            raise NotFoundError("no policy has been published")
        return Tagged(policy, sequence)

    async def publish(self, request: Request, _: Admitted) -> Tagged[schemas.PolicyAnswer]:
        """Publish the next version; the same content again changes nothing."""
        body = await read_struct(request, schemas.NewPolicy)
        policy = RoutingPolicyPublished(
            policy_id=DEFAULT_POLICY,
            version=1,
            matrix=body.matrix,
            thresholds=body.thresholds,
            desks=body.desks,
            default_groups=body.default_groups,
        )
        expected = conditional.if_match(request)
        written = await self._dispatch.publish(policy, lineage(), expected)
        return Tagged(
            {"version": written.sequence, "changed": bool(written.events)}, written.sequence
        )

    async def _agent(self, request: Request, command: AgentCommand) -> Tagged[schemas.AgentAnswer]:
        expected = conditional.if_match(request)
        written = await self._dispatch.agent(command, lineage(), expected)
        return Tagged(
            {"agent_id": command.agent_id, "changed": bool(written.events)}, written.sequence
        )

    async def _shown(self, ticket_id: UUID) -> int:
        known = await self._service.pool.fetchval(
            "SELECT greatest(ranking_seq, assignment_seq, escalation_seq) FROM read.ticket"
            " WHERE ticket_id = $1",
            ticket_id,
        )
        return known or 0


async def _admit(_caller: Caller, _ticket_id: UUID) -> None:
    """Agents may touch any ticket."""
