"""A short life of a desk, and what its routes answered: the examples of the OpenAPI documents.

As `python -m support.examples` it writes them anew, as `make docs` does. Clock and ids stand still,
so that the same code writes the same files.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import httpx

from shared.http.auth import Role
from shared.http.openapi import KERNEL_EXAMPLES
from shared.testing.database import TestPostgres, fresh_database
from support.documented import Answers
from support.inprocess import InProcessDesk, in_process_desk

ROOT = Path(__file__).parents[2]
ITEMS_MAX = 2
LINES_MAX = 4
HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
BEGAN_AT = datetime(2026, 3, 2, 13, tzinfo=UTC)
ENDED_AT = datetime(2026, 4, 6, 9, 30, tzinfo=UTC)
GONE = UUID(int=7)
PARKED = """
INSERT INTO kernel.quarantine
    (topic, partition, record_offset, key, value, timestamp_ms, reason, detail, parked_at)
VALUES ('ticket.reported', 0, 1000000, 'alert', '{"title":', 0, 'undecodable',
    'Input data was truncated', $1)
"""
TIMER = """
INSERT INTO kernel.parked_timer (stream_id, name, due_at, reason, detail, parked_at)
VALUES ($2, 'close', $1, 'ValueError', 'its decision failed', $1)
"""
LETTER = """
INSERT INTO kernel.delivery
    (id, target, body, state, attempts, next_at, last_error, stream_id, sequence, since)
VALUES ($2, 'https://chat.example.org/hook', '{"text":"INC-1 is solved"}', 'dead', 12, $1,
    '503 Service Unavailable', $3, 5, $1)
"""


class Clock:
    """Stands where it is put."""

    at = BEGAN_AT

    def now(self) -> datetime:
        """Return where it stands."""
        return self.at


class Story:
    """Calls a desk, as whoever may, with the bodies that its documents give."""

    def __init__(self, desk: InProcessDesk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    async def do(
        self,
        route: str,
        body: object = None,
        *,
        who: tuple[str, *tuple[Role, ...]] = ("bo", Role.AGENT, Role.ADMIN),
        headers: Mapping[str, str] | None = None,
        **names: object,
    ) -> Any:
        """Call a route such as `intake PUT /sources`; `names` fill the path, else the query."""
        service, method, path = route.split(" ")
        client = self._desk.clients[service]
        operation = (await client.get("/openapi.json")).json()["paths"][path][method.lower()]
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            wanted = (headers or {}).get("Content-Type", "application/json")
            if body is None and kind == wanted:
                body = content["example"]
        query = {name: str(value) for name, value in names.items() if f"{{{name}}}" not in path}
        answer = await client.request(
            method,
            path.format(**names),
            content=None if body is None else json.dumps(body),
            params=query,
            headers={
                "Content-Type": "application/json",
                **self._desk.bearer(*who),
                **(headers or {}),
            },
        )
        assert answer.is_success, (route, answer.status_code, answer.text)
        return answer.json() if "json" in answer.headers["Content-Type"] else answer.text

    async def at(self, at: datetime) -> None:
        """Let the time come, and all that follows from it."""
        await self._desk.settle()
        self._clock.at = at
        await self._desk.settle()

    async def stock(self, ticket: str) -> None:
        """Have something in intake's quarantines, and a delivery that could not be made."""
        pool = self._desk.rooms["intake"].service.pool
        now = self._clock.now()
        await pool.execute(PARKED, now)
        await pool.execute(TIMER, now, ticket)
        await pool.execute(LETTER, now, GONE, ticket)


def key(name: str) -> dict[str, str]:
    """Return the headers by which the same thing has the same id in every run."""
    return {"Idempotency-Key": name}


async def live(desk: InProcessDesk, clock: Clock) -> None:
    """Let a desk live for five weeks, through every route."""
    story = Story(desk, clock)
    do, ann = story.do, ("ann", Role.REQUESTER)
    await do("routing PUT /agents/{agent_id}", agent_id="bo")
    await do("routing POST /agents/{agent_id}/availability", {"available": True}, agent_id="bo")
    for route in ("PUT /peak", "POST /rules:check", "POST /rules"):
        await do(f"sla {route}")
    await do("sla PUT /policies/{id}", id="gold")
    await do("sla PUT /calendars/{id}", id="berlin")
    await do("sla PUT /services/{id}/availability", id="mail")
    await do("sla PUT /agreements/{id}", id="acme")
    for party in ("customer", "provider"):
        signed = {"version": 1, "party": party, "signatory": "Ann Example"}
        at = {"signed_at": "2026-01-02T00:00:00Z"}
        await do("sla POST /agreements/{id}/sign-offs", signed | at, id="acme")
    await do("sla PUT /outages/{id}", id="mail-4711")
    await do("sla PUT /maintenance/{id}", id="mail-4712")
    await do("routing PUT /policy")
    ticket = await of_one_ticket(story)
    await of_other_tickets(story, ticket)
    await of_knowledge(story)
    await story.at(clock.at + timedelta(hours=2))
    await do("intake POST /tickets/{id}/resolve", id=ticket)
    await do("intake POST /tickets/{id}/rate", id=ticket, who=ann)
    await do("intake POST /tickets/{id}/close", {}, id=ticket, who=ann)
    await story.at(ENDED_AT)
    await do("intake POST /tickets", headers=key("late"))
    await do("sla POST /agreements/{id}/reviews", id="acme")
    await story.at(clock.at + timedelta(minutes=1))
    await of_reading(story, ticket)
    await of_operation(story, ticket)


async def of_one_ticket(story: Story) -> str:
    """Report a ticket and work on it; return its id."""
    do = story.do
    for _ in range(2):
        made = await do("intake POST /tickets", headers=key("vpn"))
    ticket = made["ticket_id"]
    await story.at(story._clock.at + timedelta(minutes=1))
    assigned = {"group": "service-desk", "agent_id": "bo", "reason": "knows the site"}
    await do("routing POST /tickets/{id}/assign", assigned, id=ticket)
    await do("intake PATCH /tickets/{id}", id=ticket)
    for verb in ("start", "hold", "resume"):
        await do(f"intake POST /tickets/{{id}}/{verb}", id=ticket)
    for _ in range(2):
        await do("intake POST /tickets/{id}/comments", id=ticket, headers=key("comment"))
    return ticket


async def of_other_tickets(story: Story, ticket: str) -> None:
    """Report tickets by other doors; merge, withdraw and reopen some."""
    do = story.do
    events = "application/cloudevents+json", "application/cloudevents-batch+json"
    monitor = ("monitor", Role.INTEGRATION)
    await do("intake PUT /sources", {"source": "/monitoring/berlin", "subject": "monitor"})
    for kind in (*events, events[0]):
        await do("intake POST /events", who=monitor, headers={"Content-Type": kind})
    batch = await do("intake POST /tickets:batch", headers=key("batch"))
    other = batch["results"][0]["ticket"]["ticket_id"]
    await do("intake POST /tickets/{id}/merge", {"into": ticket}, id=other)
    gone = await do("intake POST /tickets", headers=key("twice"))
    await story.at(story._clock.at + timedelta(minutes=1))
    await do("intake POST /tickets/{id}/cancel", id=gone["ticket_id"])
    back = (await do("intake POST /tickets", headers=key("again")))["ticket_id"]
    await do("intake POST /tickets/{id}/resolve", id=back)
    await do("intake POST /tickets/{id}/reopen", id=back)


async def of_knowledge(story: Story) -> None:
    """Write an article, publish it, find it; retire another one."""
    do, cy = story.do, ("cy", Role.MANAGER)
    for _ in range(2):
        made = await do("knowledge POST /articles", headers=key("vpn"))
    article = made["article_id"]
    await do("knowledge PUT /articles/{id}", id=article)
    await do("knowledge POST /articles/{id}/publish", {}, id=article, who=cy)
    old = (await do("knowledge POST /articles", headers=key("old")))["article_id"]
    await do("knowledge POST /articles/{id}/publish", {}, id=old, who=cy)
    await do("knowledge POST /articles/{id}/retire", id=old)
    await story.at(story._clock.at + timedelta(minutes=1))
    await do("knowledge GET /articles/{id}", id=article)
    await do("knowledge GET /articles", status="published")
    await do("knowledge GET /search", q="vpn certificate")


async def of_reading(story: Story, ticket: str) -> None:
    """Read all that can be read."""
    do = story.do
    for path in ("/tickets/{id}", "/tickets/{id}/comments", "/tickets/{id}/links"):
        await do(f"intake GET {path}", id=ticket)
    await do("intake GET /tickets", sort="priority")
    await do("intake GET /sources")
    for path in ("/agents", "/policy", "/queues"):
        await do(f"routing GET {path}")
    await do("routing GET /tickets/{id}", id=ticket)
    for path in ("/tickets/{id}", "/tickets/{id}/explain", "/tickets/{id}/scenario"):
        await do(f"sla GET {path}", id=ticket)
    for path in ("/clocks", "/at-risk", "/rules", "/agreements", "/outages"):
        await do(f"sla GET {path}")
    await do("sla GET /attainment", by="priority", **{"from": "2026-03-01"})
    await do("sla GET /maintenance", **{"from": "2026-03-01"})
    await do("sla GET /availability", service="mail")
    await do("sla GET /policies/{id}", id="gold")
    await do("sla GET /calendars/{id}", id="berlin")
    await do("sla GET /agreements/{id}", id="acme")
    await do("sla GET /agreements/{id}/remedies", id="acme")
    await do("reporting GET /kpi", by="priority")
    await do("reporting GET /tickets/{id}/timeline", id=ticket)
    await do("reporting POST /audit/checkpoints", who=("dee", Role.AUDITOR))
    await do("reporting GET /audit")


async def of_operation(story: Story, ticket: str) -> None:
    """Look after the desk as its operator does, and take over a past."""
    do = story.do
    started = {"type": "ticket.started", "time": "2026-03-02T13:30:00Z", "data": {"agent_id": "x"}}
    streams = [{"stream_id": str(GONE), "events": [started]}]
    await do(
        "intake POST /history:batch",
        {"source": "servicenow", "streams": streams},
        who=("past", Role.IMPORTER),
    )
    for probe in ("/health/live", "/health/ready", "/metrics"):
        await do(f"intake GET {probe}")
    await story.stock(ticket)
    await do("intake GET /quarantine")
    await do("intake GET /quarantine/{number}", number=1)
    await do("intake POST /quarantine/{number}/redrive", number=1)
    await do("intake GET /quarantine/timers")
    await do("intake POST /quarantine/timers/{number}/redrive", number=1)
    await do("intake GET /deliveries")
    await do("intake GET /deliveries/{delivery_id}", delivery_id=GONE)
    await do("intake POST /deliveries/{delivery_id}/discard", delivery_id=GONE)
    again = "UPDATE kernel.delivery SET state = 'dead'"
    await story._desk.rooms["intake"].service.pool.execute(again)
    await do("intake POST /deliveries/redrive", target="https://chat.example.org/hook")
    await story._desk.rooms["intake"].service.pool.execute(again)
    await do("intake POST /deliveries/{delivery_id}/redrive", delivery_id=GONE)


def short(value: Any) -> Any:
    """Return an answer with a few items of each list, and nothing that is another each time."""
    if isinstance(value, list):
        return [short(item) for item in value[:ITEMS_MAX]]
    if isinstance(value, dict):
        return {name: 1 if name == "round" else short(item) for name, item in value.items()}
    if isinstance(value, str):
        return re.sub(r"[0-9a-f]{64}", HASH, value)
    return value


class Recorder:
    """Keeps the longest answer of each route and status, by service."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, dict[str, Any]]] = {}

    def take(self, service: str, route: str, response: httpx.Response) -> None:
        """Keep an answer, if it is a success and says more than those before."""
        if not response.is_success:
            return
        if "json" in response.headers["Content-Type"]:
            value = short(response.json())
        else:
            lines = re.findall(r".*desk_http_requests_total.*\n", response.text)[:LINES_MAX]
            value = re.sub(r"(?m)^(desk.*) \S+$", r"\1 1", "".join(lines))
        kept = self.found.setdefault(service, {}).setdefault(route, {})
        status = str(response.status_code)
        if len(json.dumps(kept.get(status, ""))) <= len(json.dumps(value)):
            kept[status] = value


async def recorded(
    make_database: Callable[[str], str], folder: Path
) -> dict[Path, dict[str, dict[str, Any]]]:
    """Let a desk live and return its answers by the file they belong into."""
    clock, recorder = Clock(), Recorder()
    async with in_process_desk(make_database, folder, clock=clock) as desk:
        own = {
            name: {row.replace(":path}", "}") for row in room.room.access.own_rows}
            for name, room in desk.rooms.items()
        }
        for name, client in desk.clients.items():
            answers = Answers(desk.rooms[name].app, partial(recorder.take, name))
            client.event_hooks = {"response": [answers]}
        await live(desk, clock)
    files: dict[Path, dict[str, dict[str, Any]]] = {KERNEL_EXAMPLES: {}}
    for service, routes in recorder.found.items():
        for route, answers in sorted(routes.items()):
            file = ROOT / "services" / service / "examples.json"
            file = file if route in own[service] else KERNEL_EXAMPLES
            files.setdefault(file, {})[route] = answers
    return files


def written(found: Mapping[str, Any]) -> str:
    """Return examples as their file has them."""
    return json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> None:
    """Write the files anew."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        (folder / "pg").mkdir()
        server = TestPostgres(folder / "pg")
        server.start()
        stack.callback(server.stop)
        made = asyncio.run(
            recorded(lambda name: stack.enter_context(fresh_database(server, name)), folder)
        )
    for file, found in made.items():
        file.write_text(written(found))


if __name__ == "__main__":
    main()
