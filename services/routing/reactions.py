"""What routing decides on what it reads: triage and escalation."""

from collections.abc import Sequence
from typing import Final

from services.routing.domain.state import INTAKE_FACTS, ROUTING, breach_in
from services.routing.handlers.assignments import hear, offer_freed
from services.routing.handlers.state import open_state
from shared.contracts.base import TicketData
from shared.contracts.registry import Recorded
from shared.contracts.routing import AgentAvailabilityChanged, AgentRegistered
from shared.postgres.pool import Connection
from shared.runtime.unit import Batch, Unit, lineage_after

_BEHIND: Final = """
SELECT e.stream_id FROM unnest($1::text[], $2::int[]) e(stream_id, sequence)
LEFT JOIN desk.ticket t ON t.ticket_id = e.stream_id
LEFT JOIN desk.agent a ON a.agent_id = e.stream_id
WHERE e.sequence > coalesce(t.sequence, a.sequence, 0)
"""


async def react(batch: Batch, unit: Unit) -> None:
    """Take in the facts of a batch, one after the other, and decide what each calls for."""
    facts = [
        event
        for event in batch.events
        if isinstance(event.data, INTAKE_FACTS) or breach_in(event) is not None
    ]
    behind = await _left_behind(unit.connection, batch.events)
    if not facts and not behind:
        return
    state = await open_state(unit)
    for event in behind:
        if not isinstance(event.data, TicketData):
            await state.true_agent(event.stream_id)
    tickets = [event.stream_id for event in behind if isinstance(event.data, TicketData)]
    await state.load([*(fact.stream_id for fact in facts), *tickets], facts)
    await offer_freed(state, lineage_after((behind or facts)[0], ROUTING))
    for fact in facts:
        await hear(state, fact)
    await state.save()


async def _left_behind(connection: Connection, events: Sequence[Recorded]) -> list[Recorded]:
    """Return routing's own events that its state does not know: others wrote them."""
    own = [
        event
        for event in events
        if event.writer == ROUTING
        and isinstance(event.data, TicketData | AgentRegistered | AgentAvailabilityChanged)
    ]
    if not own:
        return []
    rows = await connection.fetch(
        _BEHIND, [event.stream_id for event in own], [event.sequence for event in own]
    )
    behind = {row["stream_id"] for row in rows}
    return [event for event in own if event.stream_id in behind]
