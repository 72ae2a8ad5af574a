"""What routing does of its own accord: triage, escalation, and giving who waits to who is free."""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.routing.domain.policy import DEFAULT_POLICY
from services.routing.domain.state import INTAKE_FACTS, ROUTING, breach_in
from services.routing.handlers.assignments import ask_again, hear, offer_freed, serve_asking
from services.routing.handlers.state import open_state
from services.routing.handlers.upkeep import Upkeep
from shared.contracts.base import TicketData
from shared.contracts.registry import Recorded
from shared.contracts.routing import AgentAvailabilityChanged, AgentRegistered
from shared.postgres.pool import Connection
from shared.runtime.decisions import Decisions
from shared.runtime.service import Service
from shared.runtime.unit import Batch, Unit, lineage_after

_PAUSE_SECONDS: Final = 0.2
_LOOK_EVERY: Final = 5
_BEHIND: Final = """
SELECT e.stream_id FROM unnest($1::text[], $2::int[]) e(stream_id, sequence)
LEFT JOIN desk.ticket t ON t.ticket_id = e.stream_id
LEFT JOIN desk.agent a ON a.agent_id = e.stream_id
WHERE e.sequence > coalesce(t.sequence, a.sequence, 0)
"""
_IS_ANYTHING_TO_DO: Final = """
SELECT EXISTS (SELECT FROM desk.agent WHERE is_asking) OR EXISTS (
    SELECT FROM desk.ticket WHERE is_waiting AND policy_version < (
        SELECT max(sequence) FROM kernel.journal WHERE stream_id = $1))
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


class Giving:
    """Gives tickets that wait to agents who ask, and looks after the state; in small steps."""

    def __init__(self) -> None:
        self._upkeep: Upkeep | None = None
        self._steps = 0

    async def keep(self, service: Service) -> None:
        """Take a step; then pause, unless there is more to do."""
        decisions = _decisions(service)
        if self._upkeep is None:
            self._upkeep = Upkeep(service.work_pool, decisions)
        done = 0
        if await service.work_pool.fetchval(_IS_ANYTHING_TO_DO, DEFAULT_POLICY):
            done = await decisions.make(give_out)
        self._steps += 1
        if self._steps % _LOOK_EVERY == 0:
            await self._upkeep.look_on()
        if not done:
            await asyncio.sleep(_PAUSE_SECONDS)


async def give_out(unit: Unit) -> int:
    """Give out some of what waits; say how many tickets and agents were seen to."""
    state = await open_state(unit)
    done = await serve_asking(state) or await ask_again(state)
    await state.save()
    return done


async def build(service: Service) -> None:
    """Make the state of a desk that had none."""
    await Upkeep(service.work_pool, _decisions(service)).build()


def _decisions(service: Service) -> Decisions:
    return Decisions(service.work_pool, service.journal, service.committer, service.clock)
