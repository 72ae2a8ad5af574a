"""Load on replicas that come and go, and waiting for them."""

import asyncio
from collections.abc import Callable
from random import Random

from support.inprocess import InProcessDesk


class Reports:
    """Reports tickets to whichever replica is there, each until one of them acknowledges it."""

    def __init__(self, desks: list[InProcessDesk], chance: Random) -> None:
        self.desks = desks
        self._chance = chance
        self.acknowledged: set[str] = set()
        self.refused = 0
        self.stopping = False
        self.pause = asyncio.Event()
        self.pause.set()

    async def run(self) -> None:
        number = 0
        while not self.stopping:
            await self.pause.wait()
            client = self._chance.choice(self.desks).clients["intake"]
            answer = await client.post(
                "/tickets",
                json={"requester": {"id": "ann"}, "title": f"Report {number}"},
                headers={"Idempotency-Key": f"key-{number}"},
            )
            assert answer.is_success or answer.status_code == 503, answer.text
            if answer.is_success:
                self.acknowledged.add(answer.json()["ticket_id"])
                number += 1
            else:
                self.refused += 1
            await asyncio.sleep(0.005)


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)
