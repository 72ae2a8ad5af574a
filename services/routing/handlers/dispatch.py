"""What people decide about routing: assignment by hand, the roster, the policy."""

from services.routing.domain.agents import AgentCommand
from services.routing.domain.policy import check, default_policy
from services.routing.domain.triage import AssignTicket
from services.routing.handlers.assignments import assign_by_hand
from services.routing.handlers.people import change_agent
from services.routing.handlers.policies import POLICIES
from services.routing.handlers.state import open_state
from shared.contracts.envelope import Lineage
from shared.contracts.routing import RoutingPolicyPublished
from shared.journal.handler import CommandHandler, Intent, Written
from shared.runtime.decisions import Decisions
from shared.runtime.service import Service
from shared.runtime.unit import Unit


class Dispatch:
    """Writes what people decide about routing.

    What moves an agent's load is decided where it is written, in routing's turn.
    """

    def __init__(self, service: Service) -> None:
        self._clock = service.clock
        self._decisions = Decisions(service.pool, service.journal, service.committer, service.clock)
        self._policies = CommandHandler(POLICIES, service.committer, service.pool)

    async def assign(self, intent: Intent[AssignTicket]) -> Written:
        """Assign by hand.

        Raises: NotFoundError; StaleSequenceError; InvalidInputError naming the field.
        """

        async def decide(unit: Unit) -> Written:
            state = await open_state(unit)
            written = await assign_by_hand(state, intent)
            await state.save()
            return written

        return await self._decisions.make(decide)

    async def agent(
        self, command: AgentCommand, lineage: Lineage, expected: int | None = None
    ) -> Written:
        """Register an agent or say whether they are available.

        Raises: NotFoundError; StaleSequenceError if the agent is not at `expected`.
        """
        intent = Intent(command.agent_id, command, self._clock.now(), lineage, expected)

        async def decide(unit: Unit) -> Written:
            state = await open_state(unit)
            written = await change_agent(state, intent)
            await state.save()
            return written

        return await self._decisions.make(decide)

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
