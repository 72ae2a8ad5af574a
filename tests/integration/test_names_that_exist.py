"""A name that does not exist is an error, in filters and in commands, with those that do."""

from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from shared.http.pagination import encode_cursor


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    services = ("intake", "routing", "sla", "reporting")
    async with in_process_desk(make_database, tmp_path, services=services) as running:
        await running.settle()
        yield running


def cursor(key: Any) -> str:
    return encode_cursor(tuple(msgspec.json.decode(msgspec.json.encode(key))))


async def test_names_that_are_none_are_refused_with_those_that_are(desk: InProcessDesk) -> None:
    ticket = await desk.report(1)
    await desk.settle()
    for path, field, allowed in (
        ("intake/tickets?status=open", "status", "new, in_progress, on_hold, resolved"),
        ("intake/tickets?status=new&status=NEW", "status", "in_progress"),
        ("intake/tickets?priority=high", "priority", "P1, P2, P3, P4"),
        ("intake/tickets?sort=oldest", "sort", "newest, priority"),
        ("sla/at-risk?priority=high", "priority", "P1, P2, P3, P4"),
        ("sla/attainment?priority=high", "priority", "P1, P2, P3, P4"),
        ("sla/attainment?by=colour", "by", "customer"),
        ("reporting/kpi?by=colour", "by", "category"),
        ("reporting/kpi?calendar=moon", "calendar", "office"),
    ):
        service, _, rest = path.partition("/")
        answer = await desk.clients[service].get(f"/{rest}")
        assert (answer.status_code, answer.json()["field"]) == (422, field), path
        assert allowed in answer.json()["detail"], answer.json()["detail"]
    client = desk.clients["intake"]
    refused = await client.patch(f"/tickets/{ticket}", json={"category": "gardening"})
    assert (refused.status_code, refused.json()["field"]) == (422, "/category")
    assert "hardware" in refused.json()["detail"]
    assert (await client.patch(f"/tickets/{ticket}", json={"category": "access"})).is_success


@pytest.mark.timeout(120)
async def test_no_number_or_instant_is_beyond_an_answer(desk: InProcessDesk) -> None:
    ticket = await desk.report(1)
    await desk.settle()
    some = "00000000-0000-4000-8000-000000000001"
    for key in (["0001-01-01T00:00:00+14:00", some], ["9999-12-31T23:59:59-14:00", some]):
        for sort, more in (("newest", key), ("priority", ["P1", *key])):
            path = f"/tickets?sort={sort}&cursor={cursor(more)}"
            answer = await desk.clients["intake"].get(path)
            assert (answer.status_code, answer.json()["field"]) == (422, "cursor"), path
    for number in (2**31, 2**63, 2**80, -1):
        path = f"/tickets/{ticket}/comments?cursor={cursor([number])}"
        assert (await desk.clients["intake"].get(path)).status_code == 422
    for path in ("quarantine?after=", "quarantine/timers?after=", "quarantine/"):
        for number in (2**63, 2**80, -1):
            answer = await desk.clients["intake"].get(f"/{path}{number}")
            assert answer.status_code == 422, (path, answer.text)
    ends = ("to=9999-12-31", "to=9999-12-31T23:59:59Z", "from=9999-12-30", "from=0001-01-02")
    zones = ("UTC", "Etc/GMT%2B12", "Pacific/Kiritimati", "America/New_York")
    for service, path in (("reporting", "/kpi"), ("sla", "/attainment")):
        for period in ends:
            for zone in zones:
                for by in ("", "&by=month"):
                    url = f"{path}?{period}&zone={zone}{by}"
                    answer = await desk.clients[service].get(url)
                    assert answer.status_code == 200, (url, answer.text)
