"""What is said on a ticket: what one more comment costs, however much was said before."""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from bench.figures import Figure
from services.intake.domain.commands import CommentTicket, CreateTicket, TicketCommand
from services.intake.domain.ticket import Ticket
from services.intake.handlers import DECIDER
from shared.clock import SystemClock
from shared.contracts.envelope import Lineage
from shared.contracts.intake import Requester, Scope
from shared.journal.committer import Committer
from shared.journal.handler import CommandHandler, Intent
from shared.journal.journal import Journal
from shared.postgres.embedded import EmbeddedPostgres
from shared.postgres.migrate import migrate
from shared.postgres.pool import open_pool
from shared.telemetry.metrics import MetricRegistry

_ONE_BY_ONE: Final = 250
_AT_ONCE: Final = 100
_TICKET: Final = UUID(int=4711)
_LINEAGE: Final = Lineage(actor="bench", correlation_id="bench")


def of_comments(before: Sequence[int]) -> list[Figure]:
    """Measure comments on a ticket of so many comments, one after the other and all at once."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder), sorted(before)))


async def _measure(folder: Path, before: Sequence[int]) -> list[Figure]:
    server = EmbeddedPostgres(folder)
    await server.start()
    try:
        await server.ensure_databases(["intake"])
        dsn = server.dsn("intake")
        await migrate(dsn)
        async with await open_pool(dsn, role="desk_app", name="bench", size_max=6) as pool:
            clock = SystemClock()
            metrics = MetricRegistry().for_service("bench")
            committer = Committer(Journal("intake", clock), pool, metrics, outbox_max=10**9)
            talk = _Talk(CommandHandler[TicketCommand, Ticket](DECIDER, committer, pool), clock)
            await talk.open()
            return [figure for count in before for figure in await talk.figures(count)]
    finally:
        await server.stop()


class _Talk:
    """One ticket, and what is said on it."""

    def __init__(self, handler: CommandHandler[TicketCommand, Ticket], clock: SystemClock) -> None:
        self._handler = handler
        self._clock = clock
        self._said = 0

    async def open(self) -> None:
        """Make the ticket."""
        now = self._clock.now()
        command = CreateTicket(
            ticket_id=_TICKET,
            number="INC-1",
            kind="incident",
            title="VPN drops",
            description="",
            requester=Requester(id="ann"),
            occurred_at=now,
            reported_at=now,
            impact=None,
            urgency=None,
            scope=Scope(),
            category=None,
            service=None,
            channel="api",
            origin="bench",
        )
        await self._handler.handle(Intent(str(_TICKET), command, now, _LINEAGE))

    async def figures(self, before: int) -> list[Figure]:
        """Say as much as `before`, then measure."""
        while self._said < before:
            await asyncio.gather(*(self._say() for _ in range(min(50, before - self._said))))
        began = time.perf_counter()
        for _ in range(_ONE_BY_ONE):
            await self._say()
        each_ms = (time.perf_counter() - began) / _ONE_BY_ONE * 1_000
        began = time.perf_counter()
        fates = await asyncio.gather(
            *(self._say() for _ in range(_AT_ONCE)), return_exceptions=True
        )
        seconds = time.perf_counter() - began
        refused = sum(isinstance(fate, BaseException) for fate in fates)
        return [
            Figure(f"a comment after {before:,}", "flat", f"{each_ms:.1f} ms"),
            Figure(
                f"{_AT_ONCE} comments at once after {before:,}",
                "all in, < 1 s",
                f"{seconds:.2f} s, {refused} refused",
                is_met=refused == 0 and seconds < 1,
            ),
        ]

    async def _say(self) -> None:
        self._said += 1
        command = CommentTicket(
            _TICKET, UUID(int=self._said), "bo", "agent", "public", "We are on it. " * 20
        )
        await self._handler.handle(Intent(str(_TICKET), command, self._clock.now(), _LINEAGE))
