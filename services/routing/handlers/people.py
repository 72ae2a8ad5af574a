"""The roster: who joins it, what they can do, whether they take new tickets."""

from msgspec.structs import replace

from services.routing.domain.agents import AgentCommand, decide, evolve
from services.routing.domain.policy import DEFAULT_POLICY
from services.routing.handlers.recount import workload_of
from services.routing.handlers.state import RoutingState
from shared.errors import InvalidInputError
from shared.journal.handler import Intent, Written, require_sequence
from shared.journal.journal import Draft


async def change_agent(state: RoutingState, intent: Intent[AgentCommand]) -> Written:
    """Carry out a command about an agent; who has room then asks for what waits.

    Raises: NotFoundError; StaleSequenceError; InvalidInputError for the name of a policy.
    """
    name = intent.stream_id
    if name == DEFAULT_POLICY:
        raise InvalidInputError(f"no agent can be called {name}", field="/agent_id")
    known, sequence = await state.true_agent(name)
    require_sequence(sequence, intent.expected)
    news = decide(intent.command, known)
    if not news:
        return Written(name, sequence, ())
    agent = known
    for event in news:
        agent = evolve(agent, event)
    drafts = [Draft(event, intent.at) for event in news]
    state.unit.append(name, sequence, drafts, intent.lineage)
    sequence += len(news)
    if agent is not None:
        if known is None:  # tickets may be theirs already: taken over from another system
            workload = await workload_of(state.unit.connection, name)
            agent = replace(agent, workload=workload)
        state.put_agent(replace(agent, sequence=sequence, is_asking=agent.has_room))
    return Written(name, sequence, tuple(news))
