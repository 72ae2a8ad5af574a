"""`If-Match` where a single record changes, and where none does. Source: RFC 9110, 13.1.1."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.inprocess import InProcessDesk, in_process_desk

ROOMS = ("intake", "routing", "sla", "knowledge")
REPORT = {"requester": {"id": "ann"}, "title": "VPN drops"}
AGENT = {"name": "Bo", "group": "service-desk"}


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path, services=ROOMS) as running:
        yield running


async def asked(
    desk: InProcessDesk, route: str, body: Any, header: str | None = None
) -> tuple[int, Any, str | None]:
    """Return status, field at fault and ETag."""
    method, path = route.split()
    room, _, rest = path[1:].partition("/")
    headers = {} if header is None else {"If-Match": header}
    answer = await desk.clients[room].request(method, f"/{rest}", json=body, headers=headers)
    return answer.status_code, answer.json().get("field"), answer.headers.get("etag")


@pytest.mark.timeout(120)
async def test_a_record_changes_only_as_it_was_seen(desk: InProcessDesk) -> None:
    bo, peak = "PUT /routing/agents/bo", "PUT /sla/peak"
    for route, one, other in [
        (bo, AGENT, AGENT | {"line": 2}),
        (peak, {"is_peak": True}, {"is_peak": False}),
    ]:
        assert await asked(desk, route, one, "*") == (412, "If-Match", None)
        assert await asked(desk, route, one, "garbage") == (422, "If-Match", None)
        assert await asked(desk, route, one) == (200, None, '"1"')
        assert await asked(desk, route, other, '"1"') == (200, None, '"2"')
        assert await asked(desk, route, one, '"1"') == (412, "If-Match", None)
    away = "POST /routing/agents/bo/availability"
    assert await asked(desk, away, {"available": False}, '"1"') == (412, "If-Match", None)
    assert await asked(desk, away, {"available": False}, '"2"') == (200, None, '"3"')


@pytest.mark.timeout(120)
@pytest.mark.parametrize("header", ["*", '"1"', ""])
async def test_what_makes_something_new_refuses_the_header(
    desk: InProcessDesk, header: str
) -> None:
    for route, body in [
        ("POST /intake/tickets", REPORT),
        ("POST /intake/tickets:batch", {"tickets": [REPORT]}),
        ("POST /intake/events", {}),
        ("POST /knowledge/articles", {"title": "VPN", "text": "Turn it off and on."}),
        ("POST /sla/rules", {"policies": []}),
    ]:
        assert await asked(desk, route, body, header) == (422, "If-Match", None), route
    tickets = (await desk.clients["intake"].get("/tickets")).json()["tickets"]
    articles = (await desk.clients["knowledge"].get("/articles")).json()["articles"]
    assert (tickets, articles) == ([], [])
