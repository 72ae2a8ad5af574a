"""The roster: who works here, what they can do, whether they take new tickets."""

from dataclasses import dataclass, replace
from datetime import datetime

from shared.contracts.routing import AgentAvailabilityChanged, AgentEvent, AgentRegistered
from shared.errors import NotFoundError


@dataclass(frozen=True, slots=True)
class RegisterAgent:
    """Take an agent onto the roster, or replace what it says of them."""

    agent_id: str
    name: str
    group: str
    line: int
    skills: tuple[str, ...]
    workload_max: int


@dataclass(frozen=True, slots=True)
class SetAvailability:
    """Say whether an agent takes new tickets."""

    agent_id: str
    available: bool


AgentCommand = RegisterAgent | SetAvailability


@dataclass(frozen=True, slots=True)
class AgentState:
    """An agent; available unless they said otherwise."""

    registered: AgentRegistered | None = None
    available: bool = True


def decide(command: AgentCommand, state: AgentState) -> list[AgentEvent]:
    """Return the new facts; nothing if they stand. Raises: NotFoundError for an unknown agent."""
    match command:
        case RegisterAgent():
            event = AgentRegistered(
                agent_id=command.agent_id,
                name=command.name,
                group=command.group,
                line=command.line,
                skills=command.skills,
                workload_max=command.workload_max,
            )
            return [] if event == state.registered else [event]
        case SetAvailability(agent_id, available):
            if state.registered is None:
                raise NotFoundError(f"no agent {agent_id}")
            if available == state.available:
                return []
            return [AgentAvailabilityChanged(agent_id=agent_id, available=available)]


def evolve(state: AgentState, event: AgentEvent, _at: datetime) -> AgentState:
    """Fold one fact."""
    match event:
        case AgentRegistered():
            return replace(state, registered=event)
        case AgentAvailabilityChanged():
            return replace(state, available=event.available)
