"""One trace from a request over every hop; spans by OpenTelemetry's own SDK, kept in memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import promise, publish

from shared.postgres.pool import open_pool
from shared.replay.rebuild import rebuild
from shared.telemetry.traces import tracing

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
TITLE = "Printer of Ann Smith is on fire"
SERVICES = ("intake", "routing", "sla", "reporting")


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Everything that is recorded meanwhile."""
    exporter = InMemorySpanExporter()
    with tracing("here", SimpleSpanProcessor(exporter)):
        yield exporter


@asynccontextmanager
async def receiver() -> AsyncGenerator[tuple[str, list[bytes]]]:
    """Take what is posted; yield where to, and the heads of what came."""
    heads: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", heads


async def post(desk: InProcessDesk, key: str, **headers: str) -> str:
    body = {"requester": {"id": "ann"}, "title": TITLE, "category": "network"}
    sent = {"Idempotency-Key": key, **headers}
    answer = await desk.clients["intake"].post("/tickets", json=body, headers=sent)
    assert answer.is_success, answer.text
    return answer.json()["ticket_id"]


async def events_of(desk: InProcessDesk, ticket: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for room in desk.rooms.values():
        rows = await room.service.pool.fetch(
            "SELECT value FROM kernel.journal WHERE stream_id = $1 ORDER BY sequence", ticket
        )
        found += [msgspec.json.decode(row["value"]) for row in rows]
    return found


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.05)


def service(span: ReadableSpan) -> str:
    return str(span.resource.attributes["service.name"])


def span_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def parent_id(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def trace_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


async def test_one_trace_goes_from_the_request_to_every_read_model_and_out_again(
    make_database: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spans: InMemorySpanExporter,
) -> None:
    async with receiver() as (url, heads):
        monkeypatch.setenv("INTAKE_NOTIFY_URL", url)
        monkeypatch.setenv("DESK_WEBHOOK_SECRET", "of-the-test")
        async with in_process_desk(make_database, tmp_path, services=SERVICES) as desk:
            await publish(desk, promise(1))
            await desk.settle()
            ticket = await post(desk, "one", **HEADER)
            await until(lambda: bool(heads))  # reported, judged, breached by a timer, escalated
            await desk.settle()
            events = await events_of(desk, ticket)
    mine = [span for span in spans.get_finished_spans() if trace_id(span) == TRACE]
    by_id = {span_id(span): span for span in mine}

    (request,) = [span for span in mine if span.name == "POST /tickets"]
    assert (service(request), parent_id(request)) == ("intake", CALLER)

    types = {event["type"] for event in events}
    assert {"ticket.created", "ticket.assigned", "sla.breached", "ticket.escalated"} <= types
    wrote = {event["id"]: event["traceparent"].split("-") for event in events}
    assert {trace for _, trace, _, _ in wrote.values()} == {TRACE}
    for event in events:  # each names the span that wrote it, which hangs below its cause's
        append = by_id[wrote[event["id"]][2]]
        assert append.name.startswith("append ")
        assert service(append) == event["source"].removeprefix("/desk/")
        assert append.attributes is not None
        assert event["type"] in append.attributes["desk.event.types"]  # type: ignore[operator]
        cause = event.get("causationid")
        assert parent_id(append) == (span_id(request) if cause is None else wrote[cause][2])

    linked: dict[tuple[str, str], set[str]] = {}
    for span in spans.get_finished_spans():
        for link in span.links:
            operation = span.name.partition(" ")[0]
            linked.setdefault((operation, service(span)), set()).add(f"{link.context.span_id:016x}")
    written = {one[2] for one in wrote.values()}
    assert written <= set().union(*(linked["send", name] for name in ("intake", "routing", "sla")))
    assert written <= linked["process", "reporting"]  # which reads everything
    for name in ("intake", "routing", "sla"):
        assert written & linked["process", name], name

    escalated = next(event for event in events if event["type"] == "ticket.escalated")
    (delivery,) = [span for span in mine if span.name == "POST"]
    assert parent_id(delivery) == wrote[escalated["id"]][2]
    assert f"traceparent: 00-{TRACE}-{span_id(delivery)}-01".encode() in heads[0].lower()
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    assert "Ann Smith" not in told
    assert '"ann"' not in told


async def test_without_a_sampled_trace_nothing_is_recorded_but_ids_go_on(
    make_database: Callable[[str], str], tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    async with in_process_desk(make_database, tmp_path, services=("intake", "routing")) as desk:
        await desk.settle()
        spans.clear()
        ticket = await post(desk, "two", traceparent=f"00-{TRACE}-{CALLER}-00")
        await desk.settle()
        assert spans.get_finished_spans() == ()
        events = await events_of(desk, ticket)
        assert len(events) > 1
        assert {event["traceparent"].split("-")[1] for event in events} == {TRACE}


async def test_sending_again_and_replaying_record_nothing_new(
    make_database: Callable[[str], str], tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    async with in_process_desk(make_database, tmp_path, services=("intake",)) as desk:
        ticket = await post(desk, "three", **HEADER)
        again = await post(desk, "three", traceparent=f"00-{TRACE}-{'c' * 16}-01")
        assert again == ticket
        assert len(await events_of(desk, ticket)) == 1  # another span is no other ticket
        await desk.settle()
        spans.clear()
        room = desk.rooms["intake"]
        pool = await open_pool(desk.dsns["intake"], role="desk_replay", name="replay", size_max=2)
        await rebuild(room.room.spec.read_model, desk.log, pool)
        await pool.close()
        assert spans.get_finished_spans() == ()


async def test_without_tracing_the_position_is_handed_on_as_it_came(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path, services=("intake", "routing")) as desk:
        ticket = await post(desk, "four", **HEADER)
        odd = await post(desk, "five", traceparent=HEADER["traceparent"] + "-more")
        await desk.settle()
        found = {event["traceparent"] for event in await events_of(desk, ticket)}
        assert found == {HEADER["traceparent"]}
        assert TRACE not in {e["traceparent"].split("-")[1] for e in await events_of(desk, odd)}
