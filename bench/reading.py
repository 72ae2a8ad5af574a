"""Every read route of a desk, as its OpenAPI documents list them, and how long each takes."""

import re
import time
from collections.abc import Iterable, Mapping
from hashlib import md5
from typing import Final
from urllib.parse import quote
from uuid import UUID

import httpx

from bench.client import Connection, request
from bench.desk import Desk
from bench.figures import Figure
from bench.history import AGREEMENT, article_id, ticket_id, title

_READS: Final = 60
_SECONDS_MAX: Final = 20.0
KERNEL: Final = (
    "/deliveries?state=dead",
    "/deliveries/{delivery}",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/quarantine",
    "/quarantine/1",
    "/quarantine/timers",
)
_YEAR: Final = "from=2024-01-01&to=2024-12-31"
EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "intake": (
        "/sources",
        "/tickets?open=true&sort=priority&limit=50",
        "/tickets?limit=20&q={words}",
        "/tickets?limit=20&q={word}",
        "/tickets?status=closed&limit=50",
        "/tickets?requester=user-7&limit=50",
        "/tickets/{ticket}",
        "/tickets/{ticket}/comments",
        "/tickets/{ticket}/links",
    ),
    "routing": ("/agents", "/policy", "/queues", "/tickets/{ticket}"),
    "sla": (
        "/agreements",
        f"/agreements/{AGREEMENT}",
        f"/agreements/{AGREEMENT}/remedies",
        "/at-risk",
        "/at-risk?overdue=true&group=group-3",
        "/attainment",
        "/attainment?by=month",
        "/attainment?from=2024-01-02&to=2024-01-03",
        "/availability",
        f"/availability?service=mail&{_YEAR}",
        "/calendars/office",
        "/clocks",
        f"/maintenance?{_YEAR}",
        f"/outages?{_YEAR}",
        "/policies/standard",
        "/rules",
        "/tickets/{ticket}",
        "/tickets/{ticket}/explain",
        "/tickets/{ticket}/scenario",
    ),
    "knowledge": ("/articles", "/articles/{article}", "/search?q={words}", "/search?q={word}"),
    "reporting": (
        "/audit",
        "/kpi",
        "/kpi?by=priority",
        "/kpi?by=month",
        "/kpi?from=2024-01-02&to=2024-01-03",
        "/tickets/{ticket}/timeline",
    ),
}
"""Addresses by which each route is measured; in braces, what is another at each time."""


def delivery_id(number: int) -> UUID:
    """Return the id of a delivery that is there, as the database makes it."""
    return UUID(md5(str(number).encode(), usedforsecurity=False).hexdigest())


def without_example(routes: Iterable[str], examples: Iterable[str]) -> set[str]:
    """Return the routes that no address is of; of two that fit, it is that with fewer variables."""
    ordered = sorted(routes, key=lambda route: route.count("{"))
    missing = set(ordered)
    for example in examples:
        path = example.partition("?")[0]
        for route in ordered:
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), path):
                missing.discard(route)
                break
    return missing


def examples_of(desk: Desk) -> list[str]:
    """Return the addresses to measure. Raises: LookupError naming routes without an example."""
    addresses: list[str] = []
    for service, own in EXAMPLES.items():
        document = httpx.get(f"{desk.url}/{service}/openapi.json").json()
        routes = [path for path, methods in document["paths"].items() if "get" in methods]
        if missing := without_example(routes, (*own, *KERNEL)):
            raise LookupError(f"{service} has no example of {', '.join(sorted(missing))}")
        addresses += [f"/{service}{path}" for path in (*own, *KERNEL)]
    return addresses


async def read(desk: Desk, address: str, tickets: int) -> Figure:
    """Ask for an address again and again, each time of another ticket."""
    connection = await Connection.open(*desk.address)
    taken_ms: list[float] = []
    began = time.perf_counter()
    for number in range(_READS + 2):
        place = (number * 7_919 + 1) % (tickets // 100)
        words = title(place)
        url = address.format(
            ticket=ticket_id(100 * place),
            article=article_id(100 * place),
            delivery=delivery_id(1 + place),
            words=quote(words),
            word=words.split()[0],
        )
        asked = time.perf_counter()
        status, body = await connection.send(request("GET", url, desk.token))
        now = time.perf_counter()
        taken_ms.append((now - asked) * 1000)
        if status != 200:
            raise RuntimeError(f"{url}: {status} {body[:200]!r}")
        if now - began > _SECONDS_MAX:
            break
    await connection.close()
    ordered = sorted(taken_ms[2:] or taken_ms)
    median, worst = ordered[len(ordered) // 2], ordered[-1]
    return Figure(address, "–", f"median {median:.1f} ms, worst {worst:.1f} ms")
