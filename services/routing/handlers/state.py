"""Routing's working state in one transaction: read once, moved in memory, written at the end.

Whoever has one holds the turn of the whole service, so what they read stands until they commit:
nobody else gives an agent a ticket meanwhile, and no two can wait for each other.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from services.routing.domain.agents import Agent
from services.routing.domain.candidates import PAGE_SIZE, Candidates
from services.routing.domain.policy import DEFAULT_POLICY, default_policy
from services.routing.domain.state import ClockBreach, RoutedTicket, breach_in, evolve
from services.routing.domain.triage import Roster, settled
from services.routing.handlers.recount import Recounted, recount_agent, recount_tickets
from services.routing.queries import state as sql
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCreated
from shared.contracts.registry import Recorded, decode_shared
from shared.contracts.routing import RoutingPolicyPublished
from shared.journal.journal import Draft, read_heads
from shared.runtime.unit import Unit


class RoutingState:
    """Tickets, agents and queues as they stand with what this transaction has decided so far.

    What it reads and writes is in proportion to the tickets that are loaded and the agents that
    these concern, never to the roster or to what is open.
    """

    def __init__(self, unit: Unit, policy: RoutingPolicyPublished) -> None:
        self.unit = unit
        self.policy = policy
        self.tickets: dict[str, RoutedTicket] = {}
        self.agents: dict[str, Agent | None] = {}
        self.breaches: dict[str, dict[tuple[str, int, int], ClockBreach]] = {}
        self.freed: deque[str] = deque()
        self._changed_tickets: set[str] = set()
        self._changed_agents: set[str] = set()
        self._changed_breaches: dict[tuple[str, tuple[str, int, int]], ClockBreach] = {}
        self._rows: dict[tuple[str, str], Candidates] = {}
        self._queues: dict[str, bool] = {}

    async def load(self, ticket_ids: Iterable[str], heard: Sequence[Recorded] = ()) -> None:
        """Read tickets that are not loaded yet, with who has them and what waits to be asked.

        A row that is missing, or that is not where the journal is, was made by a program that
        knew nothing of it: it is counted anew. `heard` are facts that the read model shows
        already, and that are still to be told one by one.
        """
        wanted = sorted(set(ticket_ids) - self.tickets.keys())
        if not wanted:
            return
        connection = self.unit.connection
        heads = await read_heads(connection, wanted)
        rows = {
            row["ticket_id"]: RoutedTicket(**dict(row))
            for row in await connection.fetch(sql.TICKETS, wanted)
        }
        born = {event.stream_id for event in heard if isinstance(event.data, TicketCreated)}
        wrong = [
            name
            for name in wanted
            if (rows[name].sequence if name in rows else 0) != heads[name]
            or (name not in rows and name not in born)
        ]
        anew = await recount_tickets(connection, self.unit.journal, wrong, heard)
        for name in wanted:
            self.tickets[name] = rows.get(name) or RoutedTicket(ticket_id=name)
        await self._load_breaches(wanted, heard)
        names = {ticket.agent_id for ticket in self.tickets.values() if ticket.agent_id}
        names |= {one.ticket.agent_id for one in anew.values() if one.ticket.agent_id}
        await self.load_agents(names)
        for found in anew.values():
            self.take_over(found)

    def take_over(self, found: Recounted) -> None:
        """Let a ticket be as it was counted anew; if it waits, it is looked at again."""
        self.put(replace(settled(found.ticket, self.policy), policy_version=0))
        for breach in found.breaches.values():
            self.note(breach)

    async def _load_breaches(self, wanted: Sequence[str], heard: Sequence[Recorded]) -> None:
        for name in wanted:
            self.breaches[name] = {}
        rows = await self.unit.connection.fetch(sql.PENDING, wanted)
        clocks = [breach for event in heard if (breach := breach_in(event)) is not None]
        if clocks:
            rows += await self.unit.connection.fetch(
                sql.CLOCKS,
                [breach.ticket_id for breach in clocks],
                [breach.target for breach in clocks],
                [breach.cycle for breach in clocks],
                [breach.generation for breach in clocks],
            )
        for row in rows:
            breach = ClockBreach(**dict(row))
            self.breaches[breach.ticket_id][breach.clock] = breach

    async def load_agents(self, agent_ids: Iterable[str]) -> None:
        """Read agents that are not loaded yet; strangers are noted as such."""
        wanted = sorted(set(agent_ids) - self.agents.keys())
        if wanted:
            rows = await self.unit.connection.fetch(sql.AGENTS, wanted)
            self.agents |= dict.fromkeys(wanted)
            self.agents |= {
                row["agent_id"]: replace(Agent(**dict(row)), skills=tuple(row["skills"]))
                for row in rows
            }

    async def agent(self, agent_id: str) -> Agent | None:
        """Return an agent, None for a stranger."""
        await self.load_agents([agent_id])
        return self.agents[agent_id]

    async def true_agent(self, agent_id: str) -> tuple[Agent | None, int]:
        """Return an agent, counted anew if their journal has moved on without us; its sequence."""
        agent = await self.agent(agent_id)
        sequence = (await read_heads(self.unit.connection, [agent_id]))[agent_id]
        if sequence != (0 if agent is None else agent.sequence):
            await self.save()
            found = await recount_agent(self.unit.connection, self.unit.journal, agent_id)
            if found is not None:
                self.put_agent(replace(found, is_asking=found.has_room))
        return self.agents[agent_id], sequence

    async def has_people(self, group: str) -> bool:
        """Whether any agent is in the group."""
        return bool(await self.unit.connection.fetchval(sql.HAS_PEOPLE, group))

    # --- Moving it -------------------------------------------------------------------------------

    def put(self, ticket: RoutedTicket) -> None:
        """Let the ticket be so; who has one more or one less is counted at once."""
        old = self.tickets.get(ticket.ticket_id) or RoutedTicket(ticket_id=ticket.ticket_id)
        if old.holder != ticket.holder:
            if old.holder is not None:
                self._count(old.holder, -1)
                self.freed.append(old.holder)
            if ticket.holder is not None:
                self._count(ticket.holder, 1)
        if ticket.is_waiting and ticket.group is not None:
            self._queues[ticket.group] = True
        self.tickets[ticket.ticket_id] = ticket
        self._changed_tickets.add(ticket.ticket_id)

    def _count(self, agent_id: str, by: int) -> None:
        agent = self.agents[agent_id]
        if agent is not None:
            self.put_agent(replace(agent, workload=agent.workload + by))

    def put_agent(self, agent: Agent) -> None:
        """Let the agent be so."""
        self.agents[agent.agent_id] = agent
        self._changed_agents.add(agent.agent_id)
        for skill in {*agent.skills, ""}:
            if (row := self._rows.get((agent.group, skill))) is not None:
                row.add(agent)

    def note(self, breach: ClockBreach) -> bool:
        """Keep what was heard of a clock; say whether it is news."""
        known = self.breaches[breach.ticket_id].get(breach.clock)
        if known is not None and known.sequence >= breach.sequence:
            return False
        self._keep(breach)
        return True

    def answer_breaches(self, ticket_id: str) -> None:
        """Let no breach of the ticket be pending any more."""
        for breach in list(self.breaches[ticket_id].values()):
            if breach.is_pending:
                self._keep(replace(breach, is_pending=False))

    def _keep(self, breach: ClockBreach) -> None:
        self.breaches[breach.ticket_id][breach.clock] = breach
        self._changed_breaches[breach.ticket_id, breach.clock] = breach

    def record(self, ticket_id: str, events: Sequence[EventData], lineage: Lineage) -> None:
        """Append to the ticket's stream what was decided, and let it be so."""
        if not events:
            return
        ticket = self.tickets[ticket_id]
        drafts = [Draft(event, self.unit.now) for event in events]
        self.unit.append(ticket_id, ticket.sequence, drafts, lineage)
        sequence = ticket.sequence + len(events)
        for event in events:
            ticket = evolve(ticket, event, lineage.actor)
        self.put(replace(ticket, sequence=sequence, is_live=True))

    # --- Who is free, who waits ------------------------------------------------------------------

    async def candidates(self, group: str, skill: str, *, without: str | None = None) -> Roster:
        """Return those with the fewest open tickets who have room and the skill ("" for any)."""
        row = self._rows.get((group, skill))
        if row is None:
            row = self._rows[group, skill] = Candidates(group, skill)
            for agent in self.agents.values():
                if agent is not None:
                    row.add(agent)
        while True:
            found = row.first(self.agents, without)
            if found is not None:
                return {agent.agent_id: agent for agent in found}
            rows = await self.unit.connection.fetch(
                sql.SEATS, group, skill, *row.read_up_to, PAGE_SIZE
            )
            await self.load_agents(row["agent_id"] for row in rows)
            row.extend(
                [(seat["workload"], seat["agent_id"]) for seat in rows],
                [agent for seat in rows if (agent := self.agents[seat["agent_id"]]) is not None],
            )

    async def first_waiting(self, agent: Agent, *, without: str = "") -> RoutedTicket | None:
        """Return the first ticket of the group's queue that the agent can take."""
        if agent.group not in self._queues:
            found = await self.unit.connection.fetchval(sql.IS_ANYONE_WAITING, agent.group)
            self._queues[agent.group] = bool(found)
        while self._queues[agent.group]:
            await self._save_tickets()
            ticket_id = await self.unit.connection.fetchval(
                sql.FIRST_WAITING, agent.group, [*agent.skills, ""], without
            )
            if ticket_id is None:
                return None
            await self.load([ticket_id])
            if self.tickets[ticket_id].is_waiting:
                return self.tickets[ticket_id]
        return None

    async def save(self) -> None:
        """Write what has changed; the kernel writes the events."""
        await self._save_tickets()
        connection = self.unit.connection
        if self._changed_breaches:
            await connection.execute(sql.SAVE_BREACHES, _rows(self._changed_breaches.values()))
            self._changed_breaches.clear()
        if self._changed_agents:
            names = sorted(self._changed_agents)
            await connection.execute(sql.SAVE_AGENTS, _rows(self.agents[name] for name in names))
            await connection.execute(sql.FREE_SEATS, names)
            await connection.execute(sql.TAKE_SEATS, names)
            self._changed_agents.clear()

    async def _save_tickets(self) -> None:
        if self._changed_tickets:
            changed = (self.tickets[name] for name in sorted(self._changed_tickets))
            await self.unit.connection.execute(sql.SAVE_TICKETS, _rows(changed))
            self._changed_tickets.clear()


def _rows(values: Iterable[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()


async def open_state(unit: Unit) -> RoutingState:
    """Take the turn of the whole service, and return what stands now.

    The default policy counts where none has been published.
    """
    await unit.connection.execute(sql.TURN)
    row = await unit.connection.fetchrow(sql.POLICY, DEFAULT_POLICY, RoutingPolicyPublished.TYPE)
    policy = None if row is None else decode_shared(row["type"], row["value"]).data
    return RoutingState(
        unit, policy if isinstance(policy, RoutingPolicyPublished) else default_policy()
    )
