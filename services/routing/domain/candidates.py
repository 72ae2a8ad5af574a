"""Who comes next for a ticket, found without looking at everybody: as much as was read of them."""

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Final

from services.routing.domain.agents import Agent

PAGE_SIZE: Final = 32
_SHOWN: Final = 5
"""How many are named in the reasons."""


class Candidates:
    """The agents of a group with a skill and with room, in the order in which they get tickets.

    As far as they were read; those beyond have more to do than whoever was read last, since who
    changes is known here.
    """

    def __init__(self, group: str, skill: str) -> None:
        self._group = group
        self._skill = skill
        self._heap: list[tuple[int, str]] = []
        self._is_whole = False
        self.read_up_to = (-1, "")

    def add(self, agent: Agent) -> None:
        """Note where the agent stands now; where they stood before counts no more."""
        if self._fits(agent):
            heappush(self._heap, (agent.workload, agent.agent_id))

    def extend(self, read: Sequence[tuple[int, str]], agents: Iterable[Agent]) -> None:
        """Take over a page of seats, and who they are as they stand now."""
        self._is_whole = len(read) < PAGE_SIZE
        if read:
            self.read_up_to = read[-1]
        for agent in agents:
            self.add(agent)

    def first(self, agents: dict[str, Agent | None], without: str | None) -> list[Agent] | None:
        """Return the first few, fewest open tickets first; None if more must be read to know."""
        found: dict[tuple[int, str], Agent] = {}
        while self._heap and len(found) < _SHOWN + 1:
            if self._heap[0] > self.read_up_to and not self._is_whole:
                break
            place = heappop(self._heap)
            agent = agents[place[1]]
            if agent is not None and agent.workload == place[0] and self._fits(agent):
                found[place] = agent
        for place in found:
            heappush(self._heap, place)
        if len(found) <= _SHOWN and not self._is_whole:
            return None
        return [agent for agent in found.values() if agent.agent_id != without][:_SHOWN]

    def _fits(self, agent: Agent) -> bool:
        return (
            agent.group == self._group
            and agent.has_room
            and not agent.is_asking
            and (not self._skill or self._skill in agent.skills)
        )
