"""Assignment in a running desk: asked again whenever what it rests on changes; by hand."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.inprocess import InProcessDesk, in_process_desk

AWAY, BACK = {"available": False}, {"available": True}


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path, services=("intake", "routing")) as running:
        yield running
        await running.settle()
        await running.check()


async def hire(desk: InProcessDesk, name: str, *skills: str, **changes: Any) -> None:
    body = {"name": name, "group": "service-desk", "skills": skills, **changes}
    answer = await desk.clients["routing"].put(f"/agents/{name}", json=body)
    assert answer.is_success, answer.text


async def say(desk: InProcessDesk, name: str, availability: dict[str, bool]) -> None:
    answer = await desk.clients["routing"].post(f"/agents/{name}/availability", json=availability)
    assert answer.is_success, answer.text


async def act(desk: InProcessDesk, ticket: str, verb: str, **body: Any) -> None:
    client = desk.clients["intake"]
    path = f"/tickets/{ticket}"
    answer = await (
        client.patch(path, json=body)
        if verb == "correct"
        else client.post(f"{path}/{verb}", json=body)
    )
    assert answer.is_success, answer.text


async def routed(desk: InProcessDesk, ticket: str) -> dict[str, Any]:
    answer = await desk.clients["routing"].get(f"/tickets/{ticket}")
    return answer.json() if answer.is_success else {}


async def becomes(desk: InProcessDesk, ticket: str, group: str, agent: str | None) -> str:
    """Wait until a ticket is with group and agent; return why it is."""

    async def is_so() -> bool:
        view = await routed(desk, ticket)
        return (view.get("group"), view.get("agent_id")) == (group, agent)

    await until(is_so)
    return " / ".join((await routed(desk, ticket))["assignment_reasons"])


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def nobody_asks(desk: InProcessDesk) -> None:
    """Wait until everybody who joined or came back has been offered what waits."""
    pool = desk.rooms["routing"].service.pool

    async def is_so() -> bool:
        return not await pool.fetchval("SELECT count(*) FROM desk.agent WHERE is_asking")

    await until(is_so)


async def loads(desk: InProcessDesk) -> dict[str, int]:
    answer = await desk.clients["routing"].get("/agents")
    return {agent["agent_id"]: agent["workload"] for agent in answer.json()["agents"]}


async def test_who_waits_goes_to_who_is_freed_the_most_urgent_first(
    desk: InProcessDesk,
) -> None:
    await hire(desk, "bo", "network", workload_max=1)
    one = await desk.report(1)
    await becomes(desk, one, "service-desk", "bo")
    two = await desk.report(2, urgency="low")
    await becomes(desk, two, "service-desk", None)
    three = await desk.report(3, urgency="high", impact="high")
    await becomes(desk, three, "service-desk", None)
    assert await loads(desk) == {"bo": 1}
    await act(desk, one, "resolve", resolution="cable")
    why = await becomes(desk, three, "service-desk", "bo")
    assert "bo has room (0 of 1)" in why
    assert "P1" in why
    await act(desk, three, "cancel", reason="none")
    await becomes(desk, two, "service-desk", "bo")
    four = await desk.report(4)
    await becomes(desk, four, "service-desk", None)
    await hire(desk, "bo", "network", workload_max=2)
    await becomes(desk, four, "service-desk", "bo")
    assert await loads(desk) == {"bo": 2}


async def test_who_waits_goes_to_who_joins_comes_back_or_learns(desk: InProcessDesk) -> None:
    await hire(desk, "al")
    await say(desk, "al", AWAY)
    ticket = await desk.report(1)
    await becomes(desk, ticket, "service-desk", None)
    await say(desk, "al", BACK)
    await desk.settle()
    await becomes(desk, ticket, "service-desk", None)  # al cannot do that
    await hire(desk, "al", "network")
    await becomes(desk, ticket, "service-desk", "al")
    await say(desk, "al", AWAY)
    other = await desk.report(2, category="software")
    await becomes(desk, other, "service-desk", None)
    await hire(desk, "bo", "software")
    await becomes(desk, other, "service-desk", "bo")
    assert await loads(desk) == {"al": 1, "bo": 1}  # who is away keeps what they have


async def test_a_reopened_ticket_leaves_an_absent_agent(desk: InProcessDesk) -> None:
    await hire(desk, "al", "network")
    ticket = await desk.report(1)
    await becomes(desk, ticket, "service-desk", "al")
    await act(desk, ticket, "resolve", resolution="cable")
    await hire(desk, "bo", "network")
    await say(desk, "al", AWAY)
    await nobody_asks(desk)
    await act(desk, ticket, "reopen", reason="again")
    why = await becomes(desk, ticket, "service-desk", "bo")
    assert "al, who had it, is away" in why
    assert await loads(desk) == {"al": 0, "bo": 1}
    await act(desk, ticket, "resolve", resolution="cable")

    async def is_free() -> bool:
        return (await loads(desk))["bo"] == 0

    await until(is_free)
    await act(desk, ticket, "reopen", reason="again")

    async def has_it_again() -> bool:
        return (await loads(desk))["bo"] == 1

    await until(has_it_again)
    await becomes(desk, ticket, "service-desk", "bo")


async def test_a_corrected_category_finds_its_people(desk: InProcessDesk) -> None:
    await hire(desk, "al", "network")
    await hire(desk, "di", "software")
    ticket = await desk.report(1)
    await becomes(desk, ticket, "service-desk", "al")
    await act(desk, ticket, "correct", category="software")
    why = await becomes(desk, ticket, "service-desk", "di")
    assert "the category is software now" in why
    assert "al, who had it, does not have the skill software" in why
    await act(desk, ticket, "correct", title="Another word")
    await desk.settle()
    assert (await routed(desk, ticket))["reassignment_count"] == 1
    await act(desk, ticket, "correct", category="hardware")
    await becomes(desk, ticket, "service-desk", None)
    assert await loads(desk) == {"al": 0, "di": 0}


async def test_a_new_policy_is_asked_about_everybody_who_waits(desk: InProcessDesk) -> None:
    await hire(desk, "al", group="first-aid")
    waiting = [await desk.report(number) for number in range(1, 31)]
    for ticket in waiting:
        await becomes(desk, ticket, "service-desk", None)
    policy = (await desk.clients["routing"].get("/policy")).json()
    body = {name: policy[name] for name in ("matrix", "thresholds", "default_groups")}
    body["desks"] = [{"category": "network", "groups": ["first-aid"]}]
    answer = await desk.clients["routing"].put("/policy", json=body)
    assert answer.is_success, answer.text

    async def is_full() -> bool:
        return await loads(desk) == {"al": 20}

    await until(is_full)
    await desk.settle()
    views = [await routed(desk, ticket) for ticket in waiting]
    assert {view["group"] for view in views} == {"first-aid"}
    assert sum(view["agent_id"] is None for view in views) == 10
    assert any("policy default v2 is in force now" in v["assignment_reasons"] for v in views)


async def test_by_hand_a_group_or_agent_must_be_there(desk: InProcessDesk) -> None:
    await hire(desk, "al", "network", workload_max=1)
    await hire(desk, "ed", group="night-shift", workload_max=0)
    ticket = await desk.report(1)
    await becomes(desk, ticket, "service-desk", "al")
    client = desk.clients["routing"]

    async def assign(**body: Any) -> tuple[int, Any]:
        answer = await client.post(f"/tickets/{ticket}/assign", json={"reason": "why not", **body})
        return answer.status_code, answer.json().get("field") or answer.json().get("changed")

    assert await assign(group="nowhere") == (422, "/group")
    assert await assign(group="service-desk", agent_id="nobody") == (422, "/agent_id")
    assert await assign(group="service-desk", agent_id="ed") == (422, "/agent_id")
    assert await assign(group="night-shift", agent_id="ed") == (200, True)
    why = await becomes(desk, ticket, "night-shift", "ed")
    assert why == "by hand: why not / ed has 0 open tickets, of 0"
    assert await assign(group="night-shift", agent_id="ed") == (200, False)
    assert await loads(desk) == {"al": 0, "ed": 1}
    await say(desk, "al", AWAY)
    assert await assign(group="service-desk", agent_id="al") == (200, True)
    assert "al is away" in await becomes(desk, ticket, "service-desk", "al")
    assert await assign(group="network-experts") == (200, True)
    await becomes(desk, ticket, "network-experts", None)
    await hire(desk, "fay", "network", group="network-experts")
    await becomes(desk, ticket, "network-experts", "fay")
    refused = await client.put("/agents/default", json={"name": "D", "group": "service-desk"})
    assert (refused.status_code, refused.json()["field"]) == (422, "/agent_id")


async def test_what_is_moved_away_by_hand_makes_room_for_who_waits(desk: InProcessDesk) -> None:
    await hire(desk, "al", "network", workload_max=1)
    await hire(desk, "di", group="network-support")
    first = await desk.report(1)
    await becomes(desk, first, "service-desk", "al")
    second = await desk.report(2)
    await becomes(desk, second, "service-desk", None)
    body = {"group": "network-support", "agent_id": "di", "reason": "knows the site"}
    answer = await desk.clients["routing"].post(f"/tickets/{first}/assign", json=body)
    assert answer.is_success, answer.text
    await becomes(desk, second, "service-desk", "al")
    assert await loads(desk) == {"al": 1, "di": 1}
