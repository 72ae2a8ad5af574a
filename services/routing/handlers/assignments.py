"""Who has a ticket: asked when it comes, and again whenever what the answer rests on changes."""

from typing import Final

from msgspec.structs import replace

from services.routing.domain.agents import Agent
from services.routing.domain.state import (
    ROUTING,
    ClockBreach,
    RoutedTicket,
    breach_in,
    learn,
)
from services.routing.domain.triage import (
    AssignTicket,
    Place,
    check_assignment,
    escalate,
    give,
    home,
    rank,
    reassign,
    reconsider,
    settled,
    stay,
    take,
)
from services.routing.handlers.state import RoutingState
from shared.contracts.envelope import Lineage
from shared.contracts.registry import Recorded
from shared.errors import NotFoundError
from shared.ids import event_id
from shared.journal.handler import Intent, Written, require_sequence
from shared.runtime.unit import lineage_after

GIVES_MAX: Final = 20
"""How many waiting tickets one transaction gives to agents who ask for some."""
_ASKING: Final = """
SELECT agent_id FROM desk.agent WHERE is_asking ORDER BY workload, agent_id LIMIT $1
"""
_OUTDATED: Final = """
SELECT ticket_id FROM desk.ticket WHERE is_waiting AND policy_version < $1
ORDER BY policy_version LIMIT $2
"""


async def hear(state: RoutingState, event: Recorded) -> None:
    """Take in one fact of a loaded ticket, and decide what it calls for.

    A fact that is known already calls for nothing. What is decided is the same whether facts come
    alone or in a batch, since each is taken by itself and nothing is known but those before it.
    """
    before = state.tickets[event.stream_id]
    ticket = learn(before, event)
    breach = breach_in(event)
    is_news = breach is not None and state.note(breach)
    if ticket == before and not is_news:
        return
    state.put(ticket)
    lineage = lineage_after(event, ROUTING)
    if ticket.created_at is not None:
        if ticket.is_open:
            await _decide(state, before, lineage)
        state.answer_breaches(ticket.ticket_id)
    _settle(state, ticket.ticket_id)
    await offer_freed(state, lineage)


async def _decide(state: RoutingState, before: RoutedTicket, lineage: Lineage) -> None:
    ticket = state.tickets[before.ticket_id]
    name = ticket.ticket_id
    state.record(name, rank(ticket.record, ticket, state.policy), lineage)
    holder = None if ticket.agent_id is None else await state.agent(ticket.agent_id)
    place = reconsider(before, ticket, holder, state.policy)
    if place is not None:
        await _give(state, name, place, lineage)
    pending = [breach for breach in state.breaches[name].values() if breach.is_pending]
    for breach in sorted(pending, key=lambda one: one.sequence):
        await _escalate(state, name, breach, lineage.traceparent)


async def _give(state: RoutingState, ticket_id: str, place: Place, lineage: Lineage) -> None:
    """Give the ticket to somebody at the place; nothing is said of one that goes on waiting."""
    ticket = state.tickets[ticket_id]
    roster = await state.candidates(place.group, place.skill or "")
    given = give(ticket.record.ticket_id, ticket, place, roster)
    if (given.group, given.agent_id, given.line) != (ticket.group, ticket.agent_id, ticket.line):
        state.record(ticket_id, [given], lineage)


async def _escalate(
    state: RoutingState, ticket_id: str, breach: ClockBreach, traceparent: str | None
) -> None:
    ticket = state.tickets[ticket_id]
    above = home(ticket.category, ticket.line + 1, state.policy)
    roster = await state.candidates(above.group, above.skill or "")
    due = f"{breach.due_at:%Y-%m-%dT%H:%M:%SZ}"
    reason = f"the {breach.target} promise was due at {due} and was not kept"
    news = escalate(ticket.record, ticket, state.policy, roster, reason=reason)
    lineage = Lineage(
        actor=ROUTING,
        correlation_id=breach.correlation_id,
        causation_id=breach.event_id,
        traceparent=traceparent,
    )
    state.record(ticket_id, news, lineage)


def _settle(state: RoutingState, ticket_id: str) -> None:
    """Note what the ticket's place in a queue rests on."""
    ticket = state.tickets[ticket_id]
    if (after := settled(ticket, state.policy)) != ticket:
        state.put(after)


# --- Who waits gets who is free ------------------------------------------------------------------


async def offer_freed(state: RoutingState, lineage: Lineage, *, without: str = "") -> None:
    """Offer each agent who has one ticket less the first that waits; one for one."""
    while state.freed:
        agent = state.agents[state.freed.popleft()]
        if agent is not None and not agent.is_asking:
            await _offer(state, agent, lineage, without=without)


async def _offer(state: RoutingState, agent: Agent, lineage: Lineage, *, without: str = "") -> bool:
    """Give the agent the first ticket that waits for the likes of them; say if there was one."""
    ticket = await state.first_waiting(agent, without=without) if agent.has_room else None
    if ticket is None:
        return False
    state.record(ticket.ticket_id, [take(ticket, agent)], lineage)
    _settle(state, ticket.ticket_id)
    return True


async def serve_asking(state: RoutingState) -> int:
    """Give waiting tickets to agents who joined or came back, to whom has least to do first.

    Who is offered nothing more asks no longer, and is given new tickets like everybody else.
    Returns how many were given something or stopped asking; 0 if nobody asks.
    """
    rows = await state.unit.connection.fetch(_ASKING, GIVES_MAX)
    asking = {row["agent_id"] for row in rows}
    await state.load_agents(asking)
    for done in range(GIVES_MAX):
        agents = [agent for name in asking if (agent := state.agents[name]) is not None]
        if not agents:
            return done
        agent = min(agents, key=lambda one: (one.workload, one.agent_id))
        cause = event_id(ROUTING, agent.agent_id, agent.sequence)
        if not await _offer(state, agent, _because(cause)):
            asking.remove(agent.agent_id)
            state.put_agent(replace(agent, is_asking=False))
    return GIVES_MAX


async def ask_again(state: RoutingState) -> int:
    """Look for somebody anew for some tickets that wait under an older policy; say how many."""
    policy = state.policy
    rows = await state.unit.connection.fetch(_OUTDATED, policy.version, GIVES_MAX)
    await state.load(row["ticket_id"] for row in rows)
    lineage = _because(event_id(ROUTING, policy.policy_id, policy.version))
    for row in rows:
        ticket = state.tickets[row["ticket_id"]]
        place = reconsider(ticket, ticket, None, policy)
        if place is not None:
            await _give(state, ticket.ticket_id, place, lineage)
        _settle(state, ticket.ticket_id)
    return len(rows)


def _because(cause: str) -> Lineage:
    return Lineage(actor=ROUTING, correlation_id=cause, causation_id=cause)


# --- By hand -------------------------------------------------------------------------------------


async def assign_by_hand(state: RoutingState, intent: Intent[AssignTicket]) -> Written:
    """Give the ticket to whom a person chose, and what they chose away from to who waits.

    Raises: NotFoundError; StaleSequenceError; InvalidInputError naming group or agent.
    """
    command, name = intent.command, intent.stream_id
    await state.load([name])
    ticket = state.tickets[name]
    require_sequence(ticket.sequence, intent.expected)
    if ticket.group is None:
        raise NotFoundError(f"no ticket {name} has been routed")
    agent = None if command.agent_id is None else await state.agent(command.agent_id)
    has_people = await state.has_people(command.group)
    check_assignment(command, agent, state.policy, has_people=has_people)
    queue = stay(replace(ticket, group=command.group), state.policy)
    roster = await state.candidates(queue.group, queue.skill or "", without=ticket.agent_id)
    news = reassign(command, ticket, agent, roster, queue.skill)
    state.record(name, news, intent.lineage)
    _settle(state, name)
    written = Written(name, state.tickets[name].sequence, tuple(news))
    cause = event_id(ROUTING, name, written.sequence)
    correlation = intent.lineage.correlation_id
    further = Lineage(
        actor=ROUTING,
        correlation_id=correlation,
        causation_id=cause,
        traceparent=intent.lineage.traceparent,
    )
    await offer_freed(state, further, without=name)
    return written
