"""What routing's workers do for ever: give who waits to who is free, look after the state."""

import asyncio
from typing import Final

from services.routing.domain.policy import DEFAULT_POLICY
from services.routing.handlers.assignments import ask_again, serve_asking
from services.routing.handlers.state import open_state
from services.routing.handlers.upkeep import Upkeep
from shared.runtime.decisions import Decisions
from shared.runtime.service import Service
from shared.runtime.unit import Unit

_PAUSE_SECONDS: Final = 0.2
_LOOK_EVERY: Final = 5
_IS_ANYTHING_TO_DO: Final = """
SELECT EXISTS (SELECT FROM desk.agent WHERE is_asking) OR EXISTS (
    SELECT FROM desk.ticket WHERE is_waiting AND policy_version < (
        SELECT max(sequence) FROM kernel.journal WHERE stream_id = $1))
"""


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
