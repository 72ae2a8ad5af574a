"""Routing's commands: the roster, the policy, assignment by hand."""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.routing.domain import agents
from services.routing.domain.agents import AgentCommand, AgentState
from services.routing.domain.policy import check, default_policy
from services.routing.domain.state import TicketRouting, evolve
from services.routing.domain.triage import AssignTicket, reassign
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.routing import RoutingPolicyPublished
from shared.errors import NotFoundError
from shared.journal.handler import CommandHandler, Decider, Intent, Written
from shared.runtime.service import Service


def _assign(command: AssignTicket, state: TicketRouting) -> Sequence[EventData]:
    if state.group is None:
        raise NotFoundError(f"no ticket {command.ticket_id} has been routed")
    return reassign(command, state)


def _publish(
    document: RoutingPolicyPublished, latest: RoutingPolicyPublished | None
) -> list[RoutingPolicyPublished]:
    version = 0 if latest is None else latest.version
    if latest is not None and msgspec.structs.replace(document, version=version) == latest:
        return []
    return [msgspec.structs.replace(document, version=version + 1)]


_TICKETS: Final = Decider[AssignTicket, TicketRouting](
    TicketRouting(), _assign, lambda state, event, _: evolve(state, event)
)
_AGENTS: Final = Decider[AgentCommand, AgentState](AgentState(), agents.decide, agents.evolve)
_POLICIES: Final = Decider[RoutingPolicyPublished, RoutingPolicyPublished | None](
    None, _publish, lambda _, event, __: event
)


class Dispatch:
    """Writes what people decide about routing."""

    def __init__(self, service: Service) -> None:
        parts = (service.committer, service.pool)
        self._clock = service.clock
        self._tickets = CommandHandler(_TICKETS, *parts)
        self._agents = CommandHandler(_AGENTS, *parts)
        self._policies = CommandHandler(_POLICIES, *parts)

    async def assign(self, intent: Intent[AssignTicket]) -> Written:
        """Assign by hand. Raises: NotFoundError; StaleSequenceError."""
        return await self._tickets.handle(intent)

    async def agent(
        self, command: AgentCommand, lineage: Lineage, expected: int | None = None
    ) -> Written:
        """Register an agent or say whether they are available.

        Raises: NotFoundError; StaleSequenceError if the agent is not at `expected`.
        """
        intent = Intent(command.agent_id, command, self._clock.now(), lineage, expected)
        return await self._agents.handle(intent)

    async def publish(
        self, policy: RoutingPolicyPublished, lineage: Lineage, expected: int | None = None
    ) -> Written:
        """Publish the next version. Raises: InvalidInputError naming the field."""
        check(policy)
        intent = Intent(policy.policy_id, policy, self._clock.now(), lineage, expected)
        return await self._policies.handle(intent)

    async def publish_default(self) -> None:
        """Publish the policy of a new desk, unless something has been published before."""
        policy = default_policy()
        _, sequence = await self._policies.state(policy.policy_id)
        if sequence == 0:
            await self.publish(policy, Lineage(actor="routing", correlation_id="start"))

    async def policy(self) -> tuple[RoutingPolicyPublished | None, int]:
        """Return the newest policy and its sequence."""
        return await self._policies.state(default_policy().policy_id)
