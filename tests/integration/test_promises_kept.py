"""What became of promises: attainment by group and month, and clocks at risk."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import learn_late, promise, publish, told

from services.sla.domain.outlook.survival import SAMPLE_MIN

HOUR = 3600


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(
        make_database, tmp_path, services=("intake", "routing", "sla")
    ) as running:
        await running.settle()
        yield running


async def attainment(desk: InProcessDesk, **query: Any) -> list[dict[str, Any]]:
    answer = await desk.clients["sla"].get("/attainment", params=query)
    assert answer.is_success, answer.text
    return answer.json()["attainment"]


async def at_risk(desk: InProcessDesk, **query: Any) -> list[dict[str, Any]]:
    answer = await desk.clients["sla"].get("/at-risk", params=query)
    assert answer.is_success, answer.text
    return answer.json()["clocks"]


async def running(desk: InProcessDesk) -> list[dict[str, Any]]:
    return (await desk.clients["sla"].get("/clocks")).json()["clocks"]


async def test_attainment_counts_a_breach_once_and_for_good_unless_it_is_taken_back(
    desk: InProcessDesk,
) -> None:
    await publish(desk, promise(1))
    late, saved, open_one = [
        await desk.report(n, requester={"id": "ann", "customer": "acme", "site": "berlin"})
        for n in range(3)
    ]
    for ticket in (late, saved, open_one):
        await told(desk, ticket, "started", "breached")
    await learn_late(desk, late, timedelta(seconds=2))
    await learn_late(desk, saved, timedelta(milliseconds=500))
    await told(desk, late, "started", "breached", "missed")
    await told(desk, saved, "started", "breached", "breach_retracted", "met")
    await desk.settle()
    (overall,) = await attainment(desk)
    assert (overall["judged"], overall["met"], overall["missed"]) == (3, 1, 2)
    assert overall["share"] == pytest.approx(1 / 3)
    assert 1 <= overall["late_seconds"] < 60
    (by,) = await attainment(desk, by=["customer", "policy", "site"])
    assert by["key"] == {"customer": "acme", "policy": "standard", "site": "berlin"}
    assert await attainment(desk, customer="nobody") == []
    assert await attainment(desk, target="response") == []
    assert await attainment(desk, to="2020-01-01T00:00:00Z") == []
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert await attainment(desk, **{"from": "2020-01-01", "to": tomorrow}) == [overall]
    asked = {"from": "2026-07-01", "to": "2026-08-01", "zone": "Asia/Shanghai"}
    answer = (await desk.clients["sla"].get("/attainment", params=asked)).json()
    assert (answer["from"], answer["to"]) == ("2026-06-30T16:00:00Z", "2026-07-31T16:00:00Z")
    (month,) = await attainment(desk, by="month", zone="Asia/Shanghai")
    assert len(month["key"]["month"]) == len("2026-01")


async def test_a_superseded_breach_still_counts_as_missed(desk: InProcessDesk) -> None:
    await publish(desk, promise(1))
    ticket = await desk.report(1)
    await told(desk, ticket, "started", "breached")
    await publish(desk, promise(HOUR), applies_to="running")
    await told(desk, ticket, "started", "breached", "cancelled", "started")
    await desk.clients["intake"].post(f"/tickets/{ticket}/resolve", json={"resolution": "ok"})
    await told(desk, ticket, "started", "breached", "cancelled", "started", "met")
    await desk.settle()
    (overall,) = await attainment(desk)
    assert (overall["met"], overall["missed"]) == (0, 1)


async def test_clocks_at_risk_come_by_remaining_time_with_their_chances(
    desk: InProcessDesk,
) -> None:
    await publish(desk, promise(HOUR))
    for number in range(SAMPLE_MIN):
        ticket = await desk.report(number)
        await desk.clients["intake"].post(f"/tickets/{ticket}/resolve", json={"resolution": "ok"})
    first, second = await desk.report(100), await desk.report(101)
    await desk.settle()
    found = await at_risk(desk)
    assert [one["ticket_id"] for one in found] == [first, second]
    for path, listed in (("/at-risk", found), ("/clocks", await running(desk))):
        assert [one["title"] for one in listed] == ["Report 100", "Report 101"], path
        assert [one["number"][4:] for one in listed] == ["000031", "000032"], path
        assert all(one["priority"] and one["group"] for one in listed), path
    await desk.clients["intake"].patch(f"/tickets/{first}", json={"title": "Mail is slow"})
    await desk.settle()
    assert [one["title"] for one in await at_risk(desk)] == ["Mail is slow", "Report 101"]
    assert found[0]["remaining_seconds"] <= found[1]["remaining_seconds"] <= HOUR
    assert found[0]["learnt_from"] >= SAMPLE_MIN
    assert 0 <= found[0]["breach_probability"] <= 1
    assert await at_risk(desk, overdue=True) == []
    assert len(await at_risk(desk, limit=1)) == 1
    assert await at_risk(desk, priority="P1") == []


@pytest.mark.parametrize(
    ("path", "query", "field"),
    [
        ("/attainment", {"from": "2026-01-01T00:00:00"}, "from"),
        ("/attainment", {"zone": "Mars/Base"}, "zone"),
        ("/attainment", {"by": "colour"}, "by"),
        ("/at-risk", {"limit": "0"}, "limit"),
    ],
)
async def test_a_bad_question_names_its_parameter(
    desk: InProcessDesk, path: str, query: dict[str, str], field: str
) -> None:
    answer = await desk.clients["sla"].get(path, params=query)
    assert answer.status_code == 422
    assert field in answer.json()["field"]
