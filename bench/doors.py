"""Intake's doors, as in production: one process answers, one relays and projects."""

import json
import time
from typing import Final

from bench.client import Load, closed_loop, open_loop, request
from bench.desk import Desk, a_desk
from bench.figures import Figure, rate

_CONNECTIONS: Final = 128
_BATCH_CONNECTIONS: Final = 8
_BATCH_SIZE: Final = 100


def ticket(number: int) -> bytes:
    """Return a report as it is posted."""
    record = {
        "requester": {"id": f"user-{number % 997}"},
        "title": f"Report {number}",
        "category": "network",
        "urgency": "medium",
    }
    return json.dumps(record).encode()


def batch() -> bytes:
    """Return a batch of reports."""
    return b'{"tickets":[' + b",".join(ticket(n) for n in range(_BATCH_SIZE)) + b"]}"


async def calibrate(desk: Desk, seconds: float) -> Load:
    """Measure an endpoint that does nothing: what the machine and HTTP alone can do."""
    live = request("GET", "/health/live", desk.token)
    return await closed_loop(
        desk.address, lambda _: live, connections=_CONNECTIONS, seconds=seconds
    )


async def singles(desk: Desk, seconds: float) -> Load:
    """Post one ticket per request as fast as they are acknowledged."""
    return await closed_loop(
        desk.address,
        lambda n: request("POST", "/intake/tickets", desk.token, ticket(n)),
        connections=_CONNECTIONS,
        seconds=seconds,
    )


async def offered(desk: Desk, per_second: float, seconds: float) -> Load:
    """Post tickets at a fixed rate."""
    return await open_loop(
        desk.address,
        lambda n: request("POST", "/intake/tickets", desk.token, ticket(n)),
        per_second=per_second,
        seconds=seconds,
    )


async def batches(desk: Desk, seconds: float) -> Load:
    """Post batches as fast as they are acknowledged."""
    body = request("POST", "/intake/tickets:batch", desk.token, batch())
    return await closed_loop(
        desk.address, lambda _: body, connections=_BATCH_CONNECTIONS, seconds=seconds
    )


async def of_intake(kafka: str | None, seconds: float) -> list[Figure]:
    """Measure the doors of intake with its relay and its projector, no other service."""
    with a_desk(kafka, ["intake"], "api") as desk:
        desk.start()
        desk.add_replica("intake", "worker")
        await singles(desk, 1)  # connections, prepared statements, the worker's start
        desk.settle()
        scale = (await calibrate(desk, seconds / 2)).rate
        one = await singles(desk, seconds)
        desk.settle()
        steady = await offered(desk, 1_000, seconds)
        desk.settle()
        many = await batches(desk, seconds)
        waiting, behind = desk.backlog()
        drained = time.perf_counter()
        desk.settle()
        drained = time.perf_counter() - drained
        tickets = many.rate * _BATCH_SIZE
        return [
            Figure("calibration: GET /health/live", "–", rate(scale, "/s"), 1.0),
            Figure(
                "one ticket per request, 128 connections",
                "≥ 2,500/s, p99 < 120 ms",
                f"{rate(one.rate, '/s')}, p99 {one.percentile(0.99):.0f} ms",
                one.rate / scale,
                one.rate >= 2_500 and one.percentile(0.99) < 120,
            ),
            Figure(
                "the same at 1,000/s offered",
                "p99 < 25 ms",
                f"{rate(steady.rate, '/s')}, p99 {steady.percentile(0.99):.0f} ms,"
                f" median {steady.percentile(0.5):.1f} ms",
                steady.rate / scale,
                steady.percentile(0.99) < 25,
            ),
            Figure(
                "batches of 100",
                "≥ 15,000 tickets/s, outbox empty",
                f"{rate(tickets, ' tickets/s')}; {waiting:,} in the outbox, {behind:,} unread",
                tickets / scale,
                tickets >= 15_000 and waiting < tickets,
            ),
        ]


async def of_the_whole_desk(desk: Desk, seconds: float) -> list[Figure]:
    """Measure the doors of a running embedded desk: all five services react, in one process."""
    scale = (await calibrate(desk, seconds / 2)).rate
    one = await singles(desk, seconds)
    desk.settle()
    began = time.perf_counter()
    many = await batches(desk, seconds)
    desk.settle()
    took = time.perf_counter() - began - 3.3
    tickets = len(many.latencies) * _BATCH_SIZE
    return [
        Figure(
            "whole desk: one ticket per request, everything reacting",
            "–",
            f"{rate(one.rate, '/s')}, p99 {one.percentile(0.99):.0f} ms",
            one.rate / scale,
        ),
        Figure(
            "whole desk: batches, until all five services have done all they do",
            "–",
            f"{rate(many.rate * _BATCH_SIZE, ' tickets/s')} accepted,"
            f" {rate(tickets / took, ' tickets/s')} done",
            tickets / took / scale,
        ),
    ]
