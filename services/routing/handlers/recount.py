"""Routing's state anew, from what it is made of: the facts it has read and its own journal."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from services.routing.domain import agents
from services.routing.domain.agents import Agent
from services.routing.domain.state import ClockBreach, RoutedTicket, breach_in, evolve, learn
from shared.contracts.registry import Recorded
from shared.contracts.routing import AgentAvailabilityChanged, AgentRegistered
from shared.journal.journal import Journal
from shared.postgres.pool import Connection
from shared.runtime.read_model import read_histories

_WORKLOAD: Final = """
SELECT count(*) FROM desk.ticket WHERE is_open AND agent_id IS NOT NULL AND agent_id = $1
"""


@dataclass(slots=True)
class Recounted:
    """A ticket and its clocks that broke a promise, as their events make them."""

    ticket: RoutedTicket
    breaches: dict[tuple[str, int, int], ClockBreach] = field(
        default_factory=dict[tuple[str, int, int], ClockBreach]
    )


def fold(ticket_id: str, facts: Iterable[Recorded], own: Iterable[Recorded]) -> Recounted:
    """Return what a ticket's facts and routing's own events make of it, in any order of facts."""
    found = Recounted(RoutedTicket(ticket_id=ticket_id))
    for event in facts:
        found.ticket = learn(found.ticket, event)
        breach = breach_in(event)
        if breach is not None:
            known = found.breaches.get(breach.clock)
            if known is None or breach.sequence > known.sequence:
                found.breaches[breach.clock] = breach
    for event in own:
        found.ticket = replace(
            evolve(found.ticket, event.data, event.actor),
            sequence=event.sequence,
            is_live=found.ticket.is_live or not event.history,
        )
    if found.ticket.created_at is not None:
        found.breaches = {
            clock: replace(breach, is_pending=False) for clock, breach in found.breaches.items()
        }
    return found


async def recount_tickets(
    connection: Connection,
    journal: Journal,
    ticket_ids: Collection[str],
    heard: Collection[Recorded] = (),
) -> dict[str, Recounted]:
    """Return tickets as their events make them, without the facts that are only being `heard`.

    The cost grows with the tickets' events: it is for tickets without a row, or with a wrong one.
    """
    if not ticket_ids:
        return {}
    left_out: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for event in heard:
        left_out[event.stream_id].add((event.writer, event.sequence))
    histories = await read_histories(connection, ticket_ids)
    own = await journal.read(connection, ticket_ids)
    return {
        ticket_id: fold(
            ticket_id,
            (
                fact
                for fact in histories[ticket_id]
                if (fact.writer, fact.sequence) not in left_out[ticket_id]
            ),
            own[ticket_id],
        )
        for ticket_id in ticket_ids
    }


async def recount_agent(connection: Connection, journal: Journal, agent_id: str) -> Agent | None:
    """Return an agent as their events and their open tickets make them; None for a stranger."""
    agent: Agent | None = None
    for event in (await journal.read(connection, [agent_id]))[agent_id]:
        if isinstance(event.data, AgentRegistered | AgentAvailabilityChanged):
            agent = agents.evolve(agent, event.data)
            agent = None if agent is None else replace(agent, sequence=event.sequence)
    if agent is None:
        return None
    return replace(agent, workload=await workload_of(connection, agent_id))


async def workload_of(connection: Connection, agent_id: str) -> int:
    """Return how many open tickets an agent has, by their rows."""
    return await connection.fetchval(_WORKLOAD, agent_id)
