"""Services inside the test's own event loop, with a clock and a log that the test can bend."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from services.host import ROOMS, House, Running, make_verifier, running
from services.settings import DeskSettings
from shared.clock import Clock, SystemClock
from shared.contracts.registry import TOPICS
from shared.http.auth import ALL_SERVICES, LocalIssuer, Role
from shared.log.embedded import EmbeddedLog
from shared.log.port import Log
from shared.runtime.consumer import applied_offsets
from shared.telemetry.metrics import MetricRegistry
from support.documented import Answers
from support.invariants import broken_invariants

PARTITIONS = 2


@dataclass
class InProcessDesk:
    """Running services, how to reach them over HTTP, and what they stand on."""

    rooms: Mapping[str, Running]
    clients: Mapping[str, httpx.AsyncClient]
    dsns: Mapping[str, str]
    log: Log
    _issuer: LocalIssuer

    def bearer(self, subject: str, *roles: Role) -> dict[str, str]:
        """Return the headers of a caller with these roles."""
        clock = next(iter(self.rooms.values())).service.clock
        return {"Authorization": f"Bearer {_token(self._issuer, clock, subject, *roles)}"}

    async def report(self, number: int, **record: Any) -> str:
        """Report a ticket at intake and return its id."""
        body = {"requester": {"id": "ann"}, "title": f"Report {number}", "category": "network"}
        answer = await self.clients["intake"].post(
            "/tickets", json=body | record, headers={"Idempotency-Key": f"key-{number}"}
        )
        assert answer.is_success, answer.text
        return answer.json()["ticket_id"]

    async def settle(self, seconds: float = 30) -> None:
        """Wait until outboxes are empty and everything written is applied."""
        async with asyncio.timeout(seconds):
            quiet = 0
            while quiet < 3:
                quiet = quiet + 1 if await self._is_quiet() else 0
                await asyncio.sleep(0.1)

    async def _is_quiet(self) -> bool:
        for one in self.rooms.values():
            pool, topics = one.service.pool, one.service.spec.topics
            if await pool.fetchval("SELECT count(*) FROM kernel.outbox"):
                return False
            ends = await self.log.end_offsets(topics)
            applied = await applied_offsets(pool)
            if any(applied.get(place, 0) < end for place, end in ends.items()):
                return False
        return True

    async def check(self, acknowledged: Collection[str] = ()) -> None:
        """Fail unless I1–I8 hold, as far as the services that run have a part in them."""
        broken = await broken_invariants(self.dsns, self.log, acknowledged)
        assert not broken, "\n".join(broken)


def _token(issuer: LocalIssuer, clock: Clock, subject: str, *roles: Role) -> str:
    return issuer.issue(
        subject,
        roles,
        services=[ALL_SERVICES],
        expires_in=timedelta(days=30),
        now=clock.now(),
    )


@asynccontextmanager
async def in_process_desk(
    make_database: Callable[[str], str],
    keys: Path,
    *,
    services: Collection[str] = tuple(ROOMS),
    clock: Clock | None = None,
    wrap: Callable[[Log], Log] = lambda log: log,
    log: Log | None = None,
    dsns: Mapping[str, str] | None = None,
    replica: str = "one",
    until_begun: bool = True,
) -> AsyncGenerator[InProcessDesk]:
    """Run services on fresh databases (or `dsns`) and the embedded log (or `log`).

    `wrap` puts something between the services and the log; invariants are checked on the log
    itself. `keys` is a folder for the token issuer's key. `until_begun`: services answer requests.
    """
    used_clock = clock or SystemClock()
    own = None if log is not None else await EmbeddedLog(make_database("log")).open()
    base = log or own
    assert base is not None
    await base.create_topics(TOPICS, PARTITIONS)
    databases = dict(dsns or {name: make_database(name) for name in services})
    issuer = LocalIssuer.load_or_create(keys / "signing-key.json")
    token = _token(issuer, used_clock, "test", Role.ADMIN, Role.IMPORTER)
    settings = DeskSettings()
    async with httpx.AsyncClient() as outside:
        verifier = make_verifier(settings, used_clock, issuer, outside)
        house = House(settings, wrap(base), used_clock, MetricRegistry(), verifier, replica)
        try:
            async with _all(databases, house) as rooms:
                async with asyncio.timeout(30):
                    while until_begun and any(one.service.closed() for one in rooms.values()):
                        await asyncio.sleep(0.02)
                clients = {
                    name: httpx.AsyncClient(
                        transport=httpx.ASGITransport(one.app),
                        base_url="http://desk",
                        headers={"Authorization": f"Bearer {token}"},
                        event_hooks={"response": [Answers(one.app)]},
                    )
                    for name, one in rooms.items()
                }
                yield InProcessDesk(rooms, clients, databases, base, issuer)
        finally:
            if own is not None:
                await own.close()


@asynccontextmanager
async def _all(dsns: Mapping[str, str], house: House) -> AsyncGenerator[dict[str, Running]]:
    async with AsyncExitStack() as stack:
        started = await asyncio.gather(
            *(stack.enter_async_context(running(name, dsn, house)) for name, dsn in dsns.items())
        )
        yield dict(zip(dsns, started, strict=True))
