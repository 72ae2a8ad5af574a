"""The roster: who works here, what they can do, whether they take new tickets."""

from collections.abc import Collection

import msgspec
from msgspec.structs import replace

from shared.contracts.routing import AgentAvailabilityChanged, AgentEvent, AgentRegistered
from shared.errors import NotFoundError


class RegisterAgent(msgspec.Struct, frozen=True):
    """Take an agent onto the roster, or replace what it says of them."""

    agent_id: str
    name: str
    group: str
    line: int
    skills: tuple[str, ...]
    workload_max: int


class SetAvailability(msgspec.Struct, frozen=True):
    """Say whether an agent takes new tickets."""

    agent_id: str
    available: bool


AgentCommand = RegisterAgent | SetAvailability


class Agent(msgspec.Struct, frozen=True):
    """An agent as assignment sees them; `workload` counts their open tickets.

    `sequence` is that of their stream. While `is_asking`, what waits in their group's queue is
    offered to them first, and nothing new is given to them.
    """

    agent_id: str
    group: str
    skills: Collection[str]
    is_available: bool
    workload: int
    workload_max: int
    name: str = ""
    line: int = 1
    sequence: int = 0
    is_asking: bool = False

    @property
    def has_room(self) -> bool:
        """Whether they can be given one more ticket."""
        return self.is_available and self.workload < self.workload_max


def decide(command: AgentCommand, agent: Agent | None) -> list[AgentEvent]:
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
            return [] if agent is not None and evolve(agent, event) == agent else [event]
        case SetAvailability(agent_id, available):
            if agent is None:
                raise NotFoundError(f"no agent {agent_id}")
            if available == agent.is_available:
                return []
            return [AgentAvailabilityChanged(agent_id=agent_id, available=available)]


def evolve(agent: Agent | None, event: AgentEvent) -> Agent | None:
    """Fold one fact; who is registered is available until they say otherwise."""
    match event:
        case AgentRegistered():
            known = agent or Agent(event.agent_id, "", (), True, 0, 0)  # noqa: FBT003 as they stand
            return replace(
                known,
                group=event.group,
                skills=event.skills,
                workload_max=event.workload_max,
                name=event.name,
                line=event.line,
            )
        case AgentAvailabilityChanged():
            return None if agent is None else replace(agent, is_available=event.available)
