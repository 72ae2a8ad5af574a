"""Tickets merged and split: the lifecycle, the links, and due times that pass on."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import clocks, journal, promise, publish

from services.sla.cli.whatif import WhatIfQuestion, compare
from services.sla.domain.rules.publishing import RulesWanted

HOUR = 3600
UNKNOWN = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(
        make_database, tmp_path, services=("intake", "routing", "sla")
    ) as running:
        await publish(
            running,
            promise(HOUR) | {"when": {"service": "vpn"}},
            promise(8 * HOUR),
        )
        await running.settle()
        yield running


async def post(desk: InProcessDesk, path: str, **body: Any) -> Any:
    return await desk.clients["intake"].post(path, json=body)


async def due(desk: InProcessDesk, ticket: str) -> datetime:
    (clock,) = await clocks(desk, ticket)
    return datetime.fromisoformat(clock["due_at"])


async def links(desk: InProcessDesk, ticket: str) -> list[tuple[str, str]]:
    shown = (await desk.clients["intake"].get(f"/tickets/{ticket}")).json()
    return [(link["ticket_id"], link["relation"]) for link in shown["links"]]


async def test_the_survivor_of_a_merge_keeps_the_earlier_due_time(desk: InProcessDesk) -> None:
    urgent = await desk.report(1, service="vpn")
    survivor = await desk.report(2)
    await desk.settle()
    early, late = await due(desk, urgent), await due(desk, survivor)
    assert late - early > timedelta(hours=6)
    answer = await post(desk, f"/tickets/{urgent}/merge", into=survivor, reason="same outage")
    assert answer.json()["changed"], answer.text
    await desk.settle()
    await desk.settle()
    assert await due(desk, survivor) == early
    (merged,) = await clocks(desk, urgent)
    assert (merged["outcome"], merged["stopped_at"] is None) == ("merged", False)
    explained = (await desk.clients["sla"].get(f"/tickets/{survivor}/explain")).json()
    (step,) = [s for s in explained["explanations"][0]["steps"] if s["what"] == "inherited"]
    assert urgent in step["why"]
    shown = (await desk.clients["intake"].get(f"/tickets/{urgent}")).json()
    assert shown["status"] == "merged"
    assert await links(desk, survivor) == [(urgent, "merged_in")]
    assert await links(desk, urgent) == [(survivor, "merged_into")]
    assert not (
        await post(desk, f"/tickets/{urgent}/merge", into=survivor, reason="same outage")
    ).json()["changed"]
    said = len(await journal(desk, survivor))
    await desk.settle()
    assert len(await journal(desk, survivor)) == said
    await desk.check([urgent, survivor])


async def test_a_merge_into_the_more_urgent_ticket_moves_nothing(desk: InProcessDesk) -> None:
    survivor, other = await desk.report(1, service="vpn"), await desk.report(2)
    await desk.settle()
    before = await due(desk, survivor)
    await post(desk, f"/tickets/{other}/merge", into=survivor)
    await desk.settle()
    assert await due(desk, survivor) == before


async def test_a_part_is_due_no_later_than_the_whole_was(desk: InProcessDesk) -> None:
    whole = await desk.report(1, service="vpn")
    part = await desk.report(2, split_from=whole)
    await desk.settle()
    await desk.settle()
    assert await due(desk, part) == await due(desk, whole)
    assert await links(desk, part) == [(whole, "split_from")]
    assert await links(desk, whole) == [(part, "split_off")]


@pytest.mark.parametrize(
    ("into", "says"), [("self", "itself"), (UNKNOWN, "no ticket"), ("closed", "cancelled")]
)
async def test_a_merge_that_leads_nowhere_is_refused_and_nothing_changes(
    desk: InProcessDesk, into: str, says: str
) -> None:
    ticket, closed = await desk.report(1), await desk.report(2)
    await post(desk, f"/tickets/{closed}/cancel", reason="none")
    target = {"self": ticket, "closed": closed}.get(into, into)
    answer = await post(desk, f"/tickets/{ticket}/merge", into=target)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == "/into"
    assert says in answer.json()["detail"]
    assert len(await journal(desk, ticket, "intake")) == 1


async def test_a_part_of_a_ticket_that_does_not_exist_is_refused(desk: InProcessDesk) -> None:
    body = {"requester": {"id": "ann"}, "title": "Part", "split_from": UNKNOWN}
    answer = await desk.clients["intake"].post("/tickets", json=body)
    assert (answer.status_code, answer.json()["field"]) == (422, "/split_from")


async def test_two_tickets_merged_into_each_other_at_once_leave_one_to_work_on(
    desk: InProcessDesk,
) -> None:
    one, other = await desk.report(1), await desk.report(2)
    answers = await asyncio.gather(
        post(desk, f"/tickets/{one}/merge", into=other),
        post(desk, f"/tickets/{other}/merge", into=one),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 422]
    await desk.settle()
    shown = [(await desk.clients["intake"].get(f"/tickets/{t}")).json() for t in (one, other)]
    assert sorted(ticket["status"] for ticket in shown) == ["merged", "new"]


async def test_a_due_time_passes_along_a_chain_of_merges(desk: InProcessDesk) -> None:
    urgent, middle, last = (
        await desk.report(1, service="vpn"),
        await desk.report(2),
        await desk.report(3),
    )
    await desk.settle()
    early = await due(desk, urgent)
    answers = await asyncio.gather(
        post(desk, f"/tickets/{urgent}/merge", into=middle),
        post(desk, f"/tickets/{middle}/merge", into=last),
    )
    if [answer.status_code for answer in answers] == [422, 200]:  # middle was gone already
        await post(desk, f"/tickets/{urgent}/merge", into=last)
    await desk.settle()
    await desk.settle()
    assert await due(desk, last) == early


async def test_what_if_hands_due_times_over_under_the_rules_it_tries(
    desk: InProcessDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    whole = await desk.report(1, service="vpn")
    part = await desk.report(2, split_from=whole)
    heirs = [await desk.report(number) for number in (3, 4)]
    alone = await desk.report(5)
    for giver, heir in zip([whole, heirs[0]], heirs, strict=True):
        await desk.settle()
        assert (await post(desk, f"/tickets/{giver}/merge", into=heir)).json()["changed"]
    await desk.settle()
    in_two_hours = datetime.now(UTC) + timedelta(hours=2)

    async def missed(*targets: dict[str, Any]) -> set[str]:
        rules = {"policies": [{"id": "standard", "targets": list(targets)}]} if targets else {}
        question = WhatIfQuestion(msgspec.convert(rules, RulesWanted), None, None, in_two_hours)
        found = await asyncio.to_thread(compare, desk.dsns["sla"], question)
        assert found.tickets == 5
        return {one.ticket_id for one in found.changed if one.after == "missed"}

    assert await missed() == {part, heirs[1]}
    longer = promise(3 * HOUR) | {"when": {"service": "vpn"}}
    assert await missed(longer, promise(8 * HOUR)) == set()
    assert await missed(promise(HOUR)) == {part, heirs[1], alone}
