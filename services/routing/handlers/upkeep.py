"""Keeping routing's state what journal and facts make it, whoever wrote them.

The state moves with what this program writes. A program of an older version beside it, a past that
is taken over, a database that was restored: all these leave it behind. A walk looks at every
ticket and agent in turn, a few at a time, and counts anew what does not agree.
"""

from typing import Final
from uuid import UUID

from msgspec.structs import replace

from services.routing.handlers.recount import recount_agent, recount_tickets
from services.routing.handlers.state import open_state
from shared.postgres.pool import Pool
from shared.runtime.decisions import Decisions
from shared.runtime.unit import Unit

SLICE_SIZE: Final = 500
_FIRST_TICKET: Final = UUID(int=0)
_TICKETS: Final = """
WITH slice AS (
    SELECT ticket_id, ticket_id::text AS stream_id, is_open FROM read.ticket
    WHERE ticket_id > $1 ORDER BY ticket_id LIMIT $2
)
SELECT s.ticket_id, CASE
    WHEN t.ticket_id IS NULL THEN coalesce(s.is_open, false)
    ELSE t.sequence <> coalesce(
            (SELECT max(sequence) FROM kernel.journal j WHERE j.stream_id = s.stream_id), 0)
        OR greatest(t.record_seq, t.progress_seq) < (
            SELECT max(sequence) FROM read.history h
            WHERE h.stream_id = s.stream_id AND h.writer = 'intake')
    END AS is_wrong
FROM slice s LEFT JOIN desk.ticket t ON t.ticket_id = s.stream_id ORDER BY s.ticket_id
"""
_AGENTS: Final = """
WITH slice AS (SELECT agent_id FROM read.agent WHERE agent_id > $1 ORDER BY agent_id LIMIT $2)
SELECT s.agent_id, a.agent_id IS NULL OR a.sequence <> coalesce(
        (SELECT max(sequence) FROM kernel.journal j WHERE j.stream_id = s.agent_id), 0)
    OR a.workload <> (SELECT count(*) FROM desk.ticket t
        WHERE t.agent_id = s.agent_id AND t.is_open AND t.agent_id IS NOT NULL) AS is_wrong
FROM slice s LEFT JOIN desk.agent a USING (agent_id) ORDER BY s.agent_id
"""
_IS_UNBUILT: Final = """
SELECT EXISTS (SELECT FROM read.ticket) AND NOT EXISTS (SELECT FROM desk.ticket)
    OR EXISTS (SELECT FROM read.agent) AND NOT EXISTS (SELECT FROM desk.agent)
"""


class Upkeep:
    """Walks over all tickets that are open or have a row, and over all agents, again and again."""

    def __init__(self, pool: Pool, decisions: Decisions) -> None:
        self._pool = pool
        self._decisions = decisions
        self._ticket = _FIRST_TICKET
        self._agent = ""

    async def build(self) -> None:
        """Make the state of a desk that had none: one that older programs have served.

        Agents come last, so without them another replica is still at it, or was stopped: then this
        one builds, too.
        """
        if await self._pool.fetchval(_IS_UNBUILT):
            while await self.look_on():
                pass

    async def look_on(self) -> bool:
        """Look at the next few and mend them; False once the walk has come round.

        Agents come last in a round, when their tickets are right.
        """
        rows = await self._pool.fetch(_TICKETS, self._ticket, SLICE_SIZE)
        if rows:
            self._ticket = rows[-1]["ticket_id"]
            wrong = [str(row["ticket_id"]) for row in rows if row["is_wrong"]]
            if wrong:
                await self._decisions.make(lambda unit: _mend_tickets(unit, wrong))
            return True
        rows = await self._pool.fetch(_AGENTS, self._agent, SLICE_SIZE)
        self._agent = rows[-1]["agent_id"] if rows else ""
        wrong = [row["agent_id"] for row in rows if row["is_wrong"]]
        if wrong:
            await self._decisions.make(lambda unit: _mend_agents(unit, wrong))
        if not rows:
            self._ticket = _FIRST_TICKET
        return bool(rows)


async def _mend_tickets(unit: Unit, ticket_ids: list[str]) -> None:
    state = await open_state(unit)
    await state.load(ticket_ids)
    anew = await recount_tickets(unit.connection, unit.journal, ticket_ids)
    await state.load_agents(one.ticket.agent_id for one in anew.values() if one.ticket.agent_id)
    for found in anew.values():
        state.take_over(found)
    while state.freed:
        agent = state.agents[state.freed.popleft()]
        if agent is not None:
            state.put_agent(replace(agent, is_asking=agent.has_room))
    await state.save()


async def _mend_agents(unit: Unit, agent_ids: list[str]) -> None:
    state = await open_state(unit)
    for agent_id in agent_ids:
        found = await recount_agent(unit.connection, unit.journal, agent_id)
        if found is not None:
            state.put_agent(replace(found, is_asking=found.has_room))
    await state.save()
