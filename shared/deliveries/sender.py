"""Sends deliveries, each receiver at its own pace: a slow one delays only its own (R15)."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, Protocol

from shared.clock import Clock
from shared.deliveries.queue import CLAIM_SECONDS, Delivery, Lane, Queue, Result
from shared.deliveries.rules import (
    QUICK_SECONDS,
    DeliveryVerdict,
    ReceiverAnswer,
    rest_after,
    state_after,
    wait_after,
)
from shared.deliveries.webhook import TIMEOUT_SECONDS
from shared.runtime.loops import end_all
from shared.telemetry.metrics import ServiceMetrics

LANES_MAX: Final = 16
"""At once, of receivers known to be quick, and as many of the others."""
STREAMS_MAX: Final = 4
"""At once in a lane; one while its receiver fails."""
_TURN_SECONDS: Final = 5
_LOOK_IN_SECONDS: Final = 0.25
_STOP_SECONDS: Final = 3
_SURE_SECONDS: Final = CLAIM_SECONDS - TIMEOUT_SECONDS - 2
_STATEMENTS_MAX: Final = 2
_NO_WAIT: Final = timedelta()


class Channel(Protocol):
    """A way out of the desk."""

    async def send(self, delivery: Delivery) -> ReceiverAnswer:
        """Try once, within TIMEOUT_SECONDS; whatever goes wrong out there is an answer."""
        ...


class DeliverySender:
    """Sends what is due, at least once and by stream in order; gives up visibly.

    `chance` spreads waits: 0 gives the whole of one, just below 1 half of it.
    """

    def __init__(
        self,
        queue: Queue,
        channel: Channel,
        clock: Clock,
        chance: Callable[[], float],
        metrics: ServiceMetrics,
    ) -> None:
        self._queue = queue
        self._channel = channel
        self._clock = clock
        self._chance = chance
        self._metrics = metrics
        self._turns: dict[asyncio.Task[None], bool] = {}
        self._ended = asyncio.Event()
        self._statements = asyncio.Semaphore(_STATEMENTS_MAX)  # leaves the pool to the others
        self._is_stopping = False

    async def step(self) -> int:
        """Begin turns in lanes where something is due; return in how many. Waits for no receiver.

        Raises: what a turn met that was no receiver's fault.
        """
        self._ended.clear()
        self._reap()
        quick = sum(self._turns.values())
        others = len(self._turns) - quick
        async with self._statements:
            lanes = await self._queue.take(self._clock.now(), LANES_MAX - quick, LANES_MAX - others)
        for lane in lanes:
            turn = asyncio.create_task(self._turn(lane), name=f"lane {lane.id}")
            turn.add_done_callback(lambda _: self._ended.set())
            self._turns[turn] = lane.is_quick
        if not lanes:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_IN_SECONDS):
                    await self._ended.wait()
        return len(lanes)

    async def close(self) -> None:
        """Let what is on its way arrive, for a moment; what does not is sent again, by anybody."""
        self._is_stopping = True
        if self._turns:
            await asyncio.wait(self._turns, timeout=_STOP_SECONDS)
        await end_all(self._turns)

    def _reap(self) -> None:
        for turn in [turn for turn in self._turns if turn.done()]:
            del self._turns[turn]
            turn.result()

    async def _turn(self, lane: Lane) -> None:
        """Work in a lane until nothing is due, its receiver must rest, or others want to."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _TURN_SECONDS
        was_quick = lane.is_quick
        while not self._is_stopping:
            began = loop.time()
            async with self._statements:
                count = 1 if lane.failures else STREAMS_MAX
                picked = await self._queue.pick(lane, self._clock.now(), count)
            if picked is None:
                return
            if not picked or loop.time() - began > _SURE_SECONDS:
                break
            await self._send_all(lane, picked)
            must_rest = lane.rest_until > self._clock.now()
            if must_rest or lane.is_quick != was_quick or loop.time() > until:
                break
        async with self._statements:
            await self._queue.leave(lane)

    async def _send_all(self, lane: Lane, picked: Sequence[Delivery]) -> None:
        answers: list[ReceiverAnswer] = []
        for fate in await asyncio.gather(*map(self._send, picked), return_exceptions=True):
            if isinstance(fate, BaseException):
                raise fate
            answers.append(fate)
        has_arrived = any(answer.verdict is DeliveryVerdict.ARRIVED for answer in answers)
        lane.failures = 0 if has_arrived else lane.failures + 1
        lane.is_quick = has_arrived and all(one.seconds < QUICK_SECONDS for one in answers)
        asked = max(answer.wait or _NO_WAIT for answer in answers)
        rest = max(rest_after(lane.failures, self._chance()), asked)
        lane.rest_until = self._clock.now() + rest

    async def _send(self, delivery: Delivery) -> ReceiverAnswer:
        answer = await self._channel.send(delivery)
        now = self._clock.now()
        state = state_after(answer.verdict, delivery.attempts, now - delivery.since)
        wait = max(wait_after(delivery.attempts, self._chance()), answer.wait or _NO_WAIT)
        async with self._statements:
            await self._queue.record(delivery, Result(state, answer.error, now + wait), now)
        match state:
            case "sent":
                self._metrics.delivery("webhook", "delivered")
            case "pending":
                self._metrics.delivery("webhook", "retried")
            case "dead":
                self._metrics.delivery("webhook", "dead_lettered")
        return answer
