"""The largest of everything at every door: over a limit it is refused by name and not stored."""

from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import pytest
from support.inprocess import InProcessDesk, in_process_desk
from support.largest import CLEF, CONTROL

from shared.http.auth import Role
from shared.log.port import Outgoing

T = str(UUID(int=4711))
OTHER = str(UUID(int=4712))
WEEK = {"mon": [["09:00", "17:00"]]}
ROLES = (Role.AGENT, Role.MANAGER, Role.INTEGRATION, Role.REQUESTER, Role.ADMIN, Role.IMPORTER)
REASONS = ["because " * 6_000] * 30
ALIEN = "application/cloudevents-batch+json"


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path) as running:
        for client in running.clients.values():
            client.headers.update(running.bearer("ann", *ROLES))
        yield running


async def counts(desk: InProcessDesk) -> dict[str, int]:
    """Return how many events each journal has, once nothing is on its way any more."""
    await desk.settle()
    query = "SELECT count(*) FROM kernel.journal"
    return {name: await room.service.pool.fetchval(query) for name, room in desk.rooms.items()}


async def send(
    desk: InProcessDesk, door: str, body: Any, method: str = "POST", **headers: str
) -> Any:
    service, _, path = door.partition("/")
    content = msgspec.json.encode(body)
    sent = {"Content-Type": "application/json"} | headers
    return await desk.clients[service].request(method, f"/{path}", content=content, headers=sent)


def days(count: int, windows: int = 1) -> dict[str, Any]:
    day = (
        [["09:00", "17:00"]]
        if windows == 1
        else [[f"{h:02}:00", f"{h:02}:30"] for h in range(windows)]
    )
    return {f"{1950 + n // 336}-{1 + n // 28 % 12:02}-{1 + n % 28:02}": day for n in range(count)}


# --- Every route that has a body -----------------------------------------------------------------


class Bodied(NamedTuple):
    """A route with a JSON body: where, how, its schema and an example."""

    door: str
    method: str
    schema: dict[str, Any]
    example: Any


def bodied(service: str, spec: dict[str, Any]) -> Iterator[Bodied]:
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {})
            for kind, body in content.items():
                if kind == "application/json" and path != "/events":
                    schema, example = body["schema"], body["example"]
                    yield Bodied(f"{service}{_filled(path)}", method.upper(), schema, example)


def _filled(path: str) -> str:
    is_key = any(word in path for word in ("agent_id", "policies", "calendars", "outages"))
    is_key = is_key or any(word in path for word in ("maintenance", "services", "agreements"))
    name = "agent_id" if "agent_id" in path else "id"
    return path.replace(f"{{{name}}}", "key" if is_key else T).replace("{id:path}", "key")


class Oversized(NamedTuple):
    """A body with one part that is too large, and the part's pointer."""

    pointer: str
    body: Any


def oversized(schema: dict[str, Any], example: Any, at: str = "") -> Iterator[Oversized]:
    """Yield the example with each text, list and map in it, or missing in it, made too large."""
    if "anyOf" in schema:
        kinds = [part for part in schema["anyOf"] if part.get("type") != "null"]
        for part in kinds:
            if _fits(part, example) or len(kinds) == 1:
                yield from oversized(part, example, at)
        return
    match schema.get("type"):
        case "string" if "maxLength" in schema:
            yield Oversized(at, "x" * (schema["maxLength"] + 1))
        case "array":
            yield from _long(schema, example, at)
        case "object" if "properties" in schema:
            given = example if isinstance(example, dict) else {}
            for name, part in schema["properties"].items():
                for pointer, body in oversized(part, given.get(name), f"{at}/{name}"):
                    yield Oversized(pointer, given | {name: body})
        case "object":
            yield from _wide(schema, example, at)
        case "integer" if "maximum" in schema:
            yield Oversized(at, schema["maximum"] + 1)
        case _:
            return


def _fits(schema: dict[str, Any], example: Any) -> bool:
    kinds = {"string": str, "array": list | tuple, "object": dict, "integer": int}
    wanted = kinds.get(schema.get("type", ""))
    return wanted is not None and isinstance(example, wanted) and not isinstance(example, bool)


def _long(schema: dict[str, Any], example: Any, at: str) -> Iterator[Oversized]:
    if not isinstance(schema.get("items"), dict):
        return
    if "maxItems" in schema:
        one = example[0] if example else _any_of(schema["items"])
        yield Oversized(at, [one] * (schema["maxItems"] + 1))
    if example:
        for pointer, body in oversized(schema["items"], example[0], f"{at}/0"):
            yield Oversized(pointer, [body, *example[1:]])


def _wide(schema: dict[str, Any], example: Any, at: str) -> Iterator[Oversized]:
    if "maxProperties" in schema and schema["maxProperties"] > 1:
        many = schema["maxProperties"] + 1
        is_days = "pattern" in schema.get("propertyNames", {})
        yield Oversized(at, days(many) if is_days else {f"k{n}": "x" for n in range(many)})
    for key, value in (example or {}).items():
        for pointer, body in oversized(schema["additionalProperties"], value, f"{at}/{key}"):
            yield Oversized(pointer, example | {key: body})


def _any_of(schema: dict[str, Any]) -> Any:
    pattern = schema.get("pattern", "")
    return "2026-01-01" if r"\d" in pattern else "x"


def unbounded(schema: dict[str, Any], at: str) -> Iterator[str]:
    """Yield what a body's schema sets no limit to."""
    for part in schema.get("anyOf", ()):
        yield from unbounded(part, at)
    is_fixed = schema.keys() & {"enum", "const", "pattern", "format", "maxLength"}
    if schema.get("type") == "string" and not is_fixed:
        yield at
    if schema.get("type") == "array" and not schema.keys() & {"maxItems", "prefixItems"}:
        yield at
    if isinstance(schema.get("items"), dict):
        yield from unbounded(schema["items"], f"{at}/*")
    for name, part in schema.get("properties", {}).items():
        yield from unbounded(part, f"{at}/{name}")
    if isinstance(more := schema.get("additionalProperties"), dict):
        if not schema.keys() & {"maxProperties", "x-maxBytes"} and "enum" not in schema.get(
            "propertyNames", {}
        ):
            yield at
        yield from unbounded(more, f"{at}/*")


async def routes(desk: InProcessDesk) -> list[Bodied]:
    found: list[Bodied] = []
    for service, room in desk.rooms.items():
        found += bodied(service, room.app.openapi())
    return found


async def test_every_part_of_every_body_has_a_limit(desk: InProcessDesk) -> None:
    found = [
        f"{route.method} {route.door}{part}"
        for route in await routes(desk)
        for part in unbounded(route.schema, " ")
    ]
    assert found == []


async def test_at_every_door_what_is_too_large_is_refused_by_name(desk: InProcessDesk) -> None:
    before, limited, wrong = await counts(desk), 0, list[str]()
    for route in await routes(desk):
        for pointer, body in oversized(route.schema, msgspec.to_builtins(route.example)):
            answer = await send(desk, route.door, body, route.method)
            told = answer.json()
            status = answer.status_code
            if "results" in told:  # what is wrong with an item is told in its place
                told = told["results"][0].get("error", {})
                status = told.get("status")
            at = pointer.removeprefix("/tickets/0").removeprefix("/streams/0")
            at = at if "status" in told and status != answer.status_code else pointer
            field = told.get("field") or "nothing"
            if status != 422 or not _is_near(field, at):
                wrong.append(f"{route.method} {route.door} {pointer}: {answer.text[:200]}")
            words = "at most", "bytes as JSON"  # a few break another rule too, which is told first
            limited += field == at and any(word in told["detail"] for word in words)
    assert wrong == []
    assert limited > 120
    assert await counts(desk) == before


def _is_near(field: str, pointer: str) -> bool:
    return field.startswith(pointer) or pointer.startswith(field)


# --- What was seen to be stored and never sent ---------------------------------------------------


def past(kind: str, data: dict[str, Any], stream: str = T) -> dict[str, Any]:
    event = {"type": kind, "time": "2020-01-01T10:00:00Z", "actor": "ann"}
    return event | {"data": {"ticket_id": stream} | data}


RANKED = {"priority": "P1", "impact": "high", "urgency": "high", "policy_version": 0}
ASSIGNED = {"group": "g", "agent_id": None, "line": 1, "reassignment_count": 0}
ESCALATED = {
    "kind": "functional",
    "from_line": 1,
    "to_line": 1,
    "from_group": None,
    "to_group": "g",
    "escalation_count": 1,
}


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("ticket.prioritized", RANKED),
        ("ticket.assigned", ASSIGNED),
        ("ticket.escalated", ESCALATED),
    ],
)
async def test_reasons_of_a_past_that_are_too_long_cost_their_stream_alone(
    desk: InProcessDesk, kind: str, data: dict[str, Any]
) -> None:
    before = await counts(desk)
    short, long = data | {"reasons": ["short"]}, data | {"reasons": REASONS}
    streams = [
        {"stream_id": T, "events": [past(kind, short), past(kind, long)]},
        {"stream_id": OTHER, "events": [past(kind, short, OTHER)]},
    ]
    answer = await send(desk, "routing/history:batch", {"source": "old", "streams": streams})
    refused, taken = answer.json()["results"]
    assert refused["error"]["status"] == 422
    assert refused["error"]["field"] == "/events/1/data/reasons/0"
    assert refused["error"]["detail"].endswith("must have at most 4000 characters.")
    assert (taken["added"], taken.get("error")) == (1, None)
    assert await counts(desk) == before | {"routing": before["routing"] + 1}


@pytest.mark.parametrize("cycle", [1_000_000_001, 2**40])
async def test_a_number_that_no_column_holds_is_refused(desk: InProcessDesk, cycle: int) -> None:
    clock = {"target": "t", "cycle": cycle, "due_at": "2020-01-01T10:00:00Z"}
    stream = {"stream_id": T, "events": [past("sla.breached", clock)]}
    before = await counts(desk)
    answer = await send(desk, "sla/history:batch", {"source": "old", "streams": [stream]})
    (refused,) = answer.json()["results"]
    assert refused["error"]["field"] == "/events/0/data/cycle"
    assert await counts(desk) == before


@pytest.mark.parametrize(
    ("door", "method", "prefix"),
    [
        ("sla/calendars/c", "PUT", ""),
        ("sla/rules", "POST", "/calendars/0"),
        ("sla/rules:check", "POST", "/calendars/0"),
    ],
)
async def test_a_calendar_of_too_many_days_is_refused_where_it_stands_in_the_body(
    desk: InProcessDesk, door: str, method: str, prefix: str
) -> None:
    before = await counts(desk)
    for special, reason in (
        (days(31_250), "must have at most 2000 entries"),
        (days(2_000, 20), "bytes as JSON"),
    ):
        calendar = {"zone": "UTC", "weekly": WEEK, "special_days": special}
        body = {"calendars": [calendar | {"id": "c"}]} if prefix else calendar
        answer = await send(desk, door, body, method)
        assert answer.status_code == 422, answer.text
        assert answer.json()["field"] == f"{prefix}/special_days"
        assert reason in answer.json()["detail"]
    assert await counts(desk) == before


async def test_one_item_too_large_is_refused_in_its_place(desk: InProcessDesk) -> None:
    good = {"requester": {"id": "ann"}, "title": "VPN"}
    large = good | {"description": "x" * 65_537}
    sound = {"specversion": "1.0", "type": "ticket.reported", "source": "/s", "id": "1"}
    sound |= {"dataschema": "urn:deskledger:event:ticket.reported:v2", "data": good}
    answers = [
        (await send(desk, "intake/tickets:batch", {"tickets": [good, large]}), "/description")
    ]
    for part, field in (
        ({"data": large}, "/data/description"),
        ({"source": "/" * 1_001}, "/source"),
        ({"id": "i" * 1_001}, "/id"),
        ({"colour": "c" * 1_001}, "/colour"),
    ):
        events = [sound, sound | {"id": "2"} | part]
        answers.append(
            (await send(desk, "intake/events", events, **{"Content-Type": ALIEN}), field)
        )
    for answer, field in answers:
        assert answer.status_code == 200, answer.text
        taken, refused = answer.json()["results"]
        assert taken["status"] in {200, 201}
        assert (refused["status"], refused["error"]["field"]) == (422, field)


async def test_a_report_on_the_log_with_an_attribute_too_long_is_parked(
    desk: InProcessDesk,
) -> None:
    report = {"specversion": "1.0", "type": "ticket.reported", "source": "/" * 1_001, "id": "1"}
    report |= {"dataschema": "urn:deskledger:event:ticket.reported:v2"}
    report |= {"data": {"requester": {"id": "ann"}, "title": "VPN"}}
    before = await counts(desk)
    outgoing = Outgoing("ticket.reported", b"1", msgspec.json.encode(report))
    writer = desk.log.writer("stranger")
    await writer.send([outgoing])
    await writer.close()
    assert await counts(desk) == before
    pool = desk.rooms["intake"].service.pool
    details = [row["detail"] for row in await pool.fetch("SELECT detail FROM kernel.quarantine")]
    assert details == ["/source: must have at most 1000 characters."]


# --- The largest legal ones are stored, sent and shown -------------------------------------------


async def test_the_largest_that_is_legal_reaches_the_log_and_is_shown(
    desk: InProcessDesk,
) -> None:
    before = await counts(desk)
    title, text = CONTROL * 300, "x" + CONTROL * 65_535
    report = {"requester": {"id": CLEF * 200}, "title": f"t{title[1:]}", "description": text}
    opened = await send(desk, "intake/tickets", report)
    assert opened.status_code == 201, opened.text
    ticket = opened.json()["ticket_id"]
    calendar = {"zone": "UTC", "weekly": WEEK, "special_days": days(2_000, 15)}
    put = await send(desk, "sla/calendars/largest", calendar, "PUT")
    assert put.status_code == 200, put.text
    ranked = RANKED | {"reasons": [CONTROL * 4_000] * 30}
    stream = {"stream_id": T, "events": [past("ticket.prioritized", ranked)]}
    taken = await send(desk, "routing/history:batch", {"source": "old", "streams": [stream]})
    assert taken.json()["results"][0]["added"] == 1
    await desk.settle()
    shown = (await desk.clients["intake"].get(f"/tickets/{ticket}")).json()
    assert (shown["description"], shown["requester_id"]) == (text, CLEF * 200)
    rank = (await desk.clients["routing"].get(f"/tickets/{T}")).json()
    assert rank["ranking_reasons"] == ranked["reasons"]
    published = (await desk.clients["sla"].get("/calendars/largest")).json()
    assert published["special_days"] == calendar["special_days"]
    assert (await counts(desk))["sla"] > before["sla"]
    await desk.check([ticket])
