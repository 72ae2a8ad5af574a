"""Promises in a running desk: kept, broken, taken back, explained, changed under running clocks."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import clocks, learn_late, promise, publish, told

from services.sla.domain.files.scenario import Scenario
from services.sla.domain.scenarios.expectations import mismatches
from services.sla.domain.scenarios.simulate import run
from shared.http.auth import Role

HOUR = 3600
MONDAYS = {"zone": "UTC", "weekly": {"mon": [["09:00", "17:00"]]}}


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(
        make_database, tmp_path, services=("intake", "routing", "sla")
    ) as running:
        await running.settle()
        yield running


async def test_a_late_fact_takes_a_breach_back_and_says_why(desk: InProcessDesk) -> None:
    await publish(desk, promise(1, warn_percent=50))
    ticket = await desk.report(1)
    said = await told(desk, ticket, "started", "warned", "breached")
    assert said[2].time - said[0].time == timedelta(seconds=1)
    assert said[2].recorded_at > said[2].time
    late = await learn_late(desk, ticket, timedelta(milliseconds=900))
    said = await told(desk, ticket, "started", "warned", "breached", "breach_retracted", "met")
    assert said[3].causation_id == late.event_id
    assert (await clocks(desk, ticket))[0]["outcome"] == "met"
    before = await clocks(desk, ticket, at=said[2].recorded_at.isoformat())
    assert before[0]["outcome"] == "missed"
    await desk.settle()
    await desk.check([ticket])


async def test_a_version_for_running_clocks_takes_them_over_and_one_for_new_does_not(
    desk: InProcessDesk,
) -> None:
    await publish(desk, promise(2 * HOUR))
    ticket = await desk.report(1)
    await told(desk, ticket, "started")
    await publish(desk, promise(HOUR))
    await desk.settle()
    await told(desk, ticket, "started")
    await publish(desk, promise(3 * HOUR), applies_to="running")
    said = await told(desk, ticket, "started", "cancelled", "started")
    assert msgspec.to_builtins(said[1].data)["reason"] == "superseded"
    assert [(c["generation"], c["policy_version"]) for c in await clocks(desk, ticket)] == [
        (1, 2),
        (2, 4),
    ]
    younger = await desk.report(2)
    await desk.settle()
    assert [c["policy_version"] for c in await clocks(desk, younger)] == [4]


async def test_a_version_for_running_cycles_reaches_a_ticket_that_nothing_was_promised(
    desk: InProcessDesk,
) -> None:
    await publish(desk, promise(2 * HOUR) | {"when": {"category": "network"}})
    ticket = await desk.report(1, category="software")
    await desk.settle()
    assert await told(desk, ticket) == []
    body = {"policies": [{"id": "standard", "applies_to": "running", "targets": [promise(HOUR)]}]}
    plan = (await desk.clients["sla"].post("/rules:check", json=body)).json()
    assert plan["running_clocks"]["clocks"][0]["due_before"] is None
    await publish(desk, promise(HOUR), applies_to="running")
    (started,) = await told(desk, ticket, "started")
    assert msgspec.to_builtins(started.data)["policy_version"] == 3


async def test_a_requester_reads_what_was_promised_to_them_and_nothing_else(
    desk: InProcessDesk,
) -> None:
    sla = desk.clients["sla"]
    inside = {**promise(2 * HOUR), "name": "inside", "kind": "ola"}
    await publish(desk, promise(HOUR), inside)
    ticket = await desk.report(1, requester={"id": "ann"})
    await told(desk, ticket, "started", "started")
    await publish(desk, promise(3 * HOUR), inside, applies_to="running")
    await told(desk, ticket, *["started"] * 2, *["cancelled", "started"] * 2)
    ann, bob = (desk.bearer(name, Role.REQUESTER) for name in ("ann", "bob"))
    (mine,) = (await sla.get(f"/tickets/{ticket}", headers=ann)).json()["clocks"]
    full = [one for one in await clocks(desk, ticket) if one["target"] == "resolution"]
    assert [mine["due_at"], "superseded"] == [full[1]["due_at"], full[0]["outcome"]]
    assert mine.keys() == {
        *("target", "cycle", "started_at", "due_at", "outcome", "stopped_at"),
        *("remaining_seconds", "remaining_wall_seconds", "paused_for", "paused_since"),
    }
    others = await sla.get(f"/tickets/{ticket}", headers=bob)
    unknown = await sla.get(f"/tickets/{UUID(int=1)}", headers=bob)
    assert (others.status_code, unknown.status_code) == (404, 404)
    assert without(others, ticket) == without(unknown, str(UUID(int=1)))
    for path in (f"/tickets/{ticket}/explain", f"/tickets/{ticket}/scenario", "/at-risk"):
        assert (await sla.get(path, headers=ann)).status_code == 403, path
    agent = desk.bearer("ann", Role.REQUESTER, Role.AGENT)
    assert len((await sla.get(f"/tickets/{ticket}", headers=agent)).json()["clocks"]) == 4


def without(answer: httpx.Response, ticket: str) -> str:
    """Return what a refusal says but for the ticket's id and when it was asked."""
    return answer.json()["detail"].replace(ticket, "").partition(" at ")[0]


async def test_the_same_targets_for_running_cycles_are_a_version_of_their_own(
    desk: InProcessDesk,
) -> None:
    assert (await publish(desk, promise(HOUR)))["changed"]
    assert not (await publish(desk, promise(HOUR)))["changed"]
    assert (await publish(desk, promise(HOUR), applies_to="running"))["changed"]
    assert not (await publish(desk, promise(HOUR), applies_to="running"))["changed"]
    assert not (await publish(desk, promise(HOUR)))["changed"]


async def test_a_deadline_is_explained_and_becomes_a_test_case(desk: InProcessDesk) -> None:
    ticket = await desk.report(1, kind="incident", impact="low", urgency="low")
    await desk.settle()
    found = (await desk.clients["sla"].get(f"/tickets/{ticket}/explain")).json()["explanations"]
    resolution = next(one for one in found if one["clock"]["target"] == "resolution")
    assert resolution["because"] == {
        "priority": "P4",
        "kind": "incident",
    }
    assert resolution["rule"]["goal"] == {"working_seconds": 48 * HOUR}
    counted = [step for step in resolution["steps"] if step["what"] in ("counts", "will count")]
    assert counted[-1]["counted_seconds"] == 48 * HOUR
    assert counted[-1]["to"] == resolution["clock"]["due_at"]
    assert resolution["clock"]["next"]["what"] == "warning"

    exported = (await desk.clients["sla"].get(f"/tickets/{ticket}/scenario")).json()
    case = msgspec.convert(exported, Scenario)
    actual = run(case).actual
    assert mismatches(case, actual) == []
    assert len(actual.clocks) == 2
    live = {c["target"]: c["due_at"][:19] for c in await clocks(desk, ticket)}
    assert {c.target: c.due_at.isoformat()[:19] for c in actual.clocks} == live


async def test_a_declared_peak_gives_requests_twice_the_time(desk: InProcessDesk) -> None:
    usual = await desk.report(1, kind="service_request")
    assert (await desk.clients["sla"].put("/peak", json={"is_peak": True})).json()["changed"]
    await desk.settle()
    peak = await desk.report(2, kind="service_request")
    await desk.settle()
    goals = [
        [c["goal"]["working_seconds"] for c in await clocks(desk, t) if c["target"] == "resolution"]
        for t in (usual, peak)
    ]
    assert goals == [[24 * HOUR], [48 * HOUR]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"goal": {"working_seconds": 0}}, "/targets/0/goal/working_seconds"),
        ({"goal": {"working_seconds": 100 * 365 * 24 * HOUR}}, "/targets/0/goal"),
        ({"goal": {"working_days": 99_999}}, "/targets/0/goal"),
        ({"goal": {"date_field": "priority"}}, "/targets/0/goal/date_field"),
        ({"calendar": "moon"}, "/targets/0/calendar"),
        ({"stop": ["agent_reply"]}, "/targets/0/stop"),
        ({"name": "new", "stop": ["created", "resolved"]}, "/targets/0/start/0"),
        ({"start": []}, "/targets/0/start"),
    ],
)
async def test_a_promise_that_cannot_be_is_refused_and_nothing_changes(
    desk: InProcessDesk, change: dict[str, Any], field: str
) -> None:
    before = (await desk.clients["sla"].get("/policies/standard")).content
    body = {"targets": [promise(HOUR) | change]}
    answer = await desk.clients["sla"].put("/policies/standard", json=body)
    assert answer.status_code == 422
    assert answer.json()["field"].startswith(field), answer.text
    assert (await desk.clients["sla"].get("/policies/standard")).content == before


@pytest.mark.parametrize(
    ("calendar", "field"),
    [
        ({"zone": "Europe/Atlantis"}, "/zone"),
        ({"weekly": {}}, "/weekly"),
        (
            {
                "holidays": [f"--{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 30)]
                + [f"--{m:02}-30" for m in range(1, 13) if m != 2]
                + [f"--{m:02}-31" for m in (1, 3, 5, 7, 8, 10, 12)]
            },
            "/",
        ),
        ({"weekly": {"mon": [["09:00", "12:00"], ["11:00", "13:00"]]}}, "/weekly/mon"),
        ({"holidays": ["2025-02-30"]}, "/holidays/0"),
        (
            {
                "weekly": {
                    "mon": [
                        [f"{n // 2:02}:{n % 2 * 30:02}", f"{n // 2:02}:{n % 2 * 30 + 9:02}"]
                        for n in range(25)
                    ]
                }
            },
            "/weekly/mon",
        ),
    ],
)
async def test_a_calendar_that_cannot_be_is_refused(
    desk: InProcessDesk, calendar: dict[str, Any], field: str
) -> None:
    body = {"zone": "UTC", "weekly": {"mon": [["09:00", "17:00"]]}, **calendar}
    answer = await desk.clients["sla"].put("/calendars/odd", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert (await desk.clients["sla"].get("/calendars/odd")).status_code == 404


async def test_a_policy_for_the_past_is_refused(desk: InProcessDesk) -> None:
    body = {"targets": [promise(HOUR)], "effective_from": "2020-01-01T00:00:00Z"}
    answer = await desk.clients["sla"].put("/policies/standard", json=body)
    assert answer.status_code == 422
    assert "is past" in answer.json()["detail"]


def to_come(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0).isoformat()


async def goals(desk: InProcessDesk, number: int) -> set[int]:
    """Return what a ticket that is reported now is promised."""
    ticket = await desk.report(number)
    await desk.settle()
    return {clock["goal"]["working_seconds"] for clock in await clocks(desk, ticket)}


async def test_what_comes_into_force_before_a_version_to_come_takes_its_place(
    desk: InProcessDesk,
) -> None:
    sla = desk.clients["sla"]
    await publish(desk, promise(HOUR))
    withdrawal = {"targets": [], "effective_from": to_come(30)}
    assert (await sla.put("/policies/standard", json=withdrawal)).json()["changed"]
    assert not (await sla.put("/policies/standard", json=withdrawal)).json()["changed"]
    assert await goals(desk, 1) == {HOUR}
    sooner = {"id": "standard", "targets": [promise(2 * HOUR)], "effective_from": to_come(10)}
    (plan,) = (await sla.post("/rules:check", json={"policies": [sooner]})).json()["publishes"]
    assert (plan["version"], plan["replaces"]) == (4, [3])
    assert (await sla.post("/rules", json={"policies": [sooner]})).is_success
    assert await goals(desk, 2) == {HOUR}
    told = [one["state"] for one in (await sla.get("/rules")).json()["policies"]]
    assert told == ["past", "in_force", "replaced", "to_come"]
    newest = (await sla.get("/policies/standard")).json()
    assert (newest["version"], newest["state"]) == (4, "to_come")
    assert (await publish(desk))["changed"], "withdrawn now, not in ten days or thirty"
    assert await goals(desk, 3) == set()


async def test_a_new_calendar_reaches_what_is_in_force_and_what_is_to_come(
    desk: InProcessDesk,
) -> None:
    sla = desk.clients["sla"]
    week = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    days = {day: [["00:00", "24:00"]] for day in week}
    shop = {"zone": "UTC", "weekly": days}
    assert (await sla.put("/calendars/shop", json=shop)).is_success
    await publish(desk, promise(HOUR) | {"calendar": "shop"})
    coming = {"targets": [promise(2 * HOUR) | {"calendar": "shop"}], "effective_from": to_come(30)}
    assert (await sla.put("/policies/standard", json=coming)).is_success
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}"
    closed = shop | {"holidays": [today, tomorrow]}
    answer = (await sla.put("/calendars/shop", json=closed)).json()
    versions = [rule for rule in answer["published"] if "policy_id" in rule]
    assert [(rule["version"], rule["calendars"]) for rule in versions] == [
        (4, {"shop": 2}),
        (5, {"shop": 2}),
    ]
    assert [rule["targets"][0]["goal"]["working_seconds"] for rule in versions] == [HOUR, 2 * HOUR]
    ticket = await desk.report(1)
    await desk.settle()
    (clock,) = await clocks(desk, ticket)
    assert clock["due_at"][:10] not in {today, tomorrow}, "as the shop is closed"


async def test_a_new_calendar_version_leaves_running_promises_alone(desk: InProcessDesk) -> None:
    ticket = await desk.report(1, impact="low", urgency="low")
    await desk.settle()
    before = await clocks(desk, ticket)
    hours = {"zone": "UTC", "weekly": {"sun": [["09:00", "10:00"]]}}
    answer = await desk.clients["sla"].put("/calendars/office", json=hours)
    published = [
        rule.get("policy_id", rule.get("calendar_id"))
        for rule in json.loads(answer.content)["published"]
    ]
    assert published == ["office", "standard"]
    await desk.settle()
    after = await clocks(desk, ticket)
    assert [c["due_at"] for c in after] == [c["due_at"] for c in before]
    younger = await desk.report(2, impact="low", urgency="low")
    await desk.settle()
    assert {c["due_at"] for c in await clocks(desk, younger)}.isdisjoint(
        c["due_at"] for c in before
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "field"),
    [
        (
            "/calendars/standard",
            {"zone": "UTC", "weekly": {"mon": [["09:00", "17:00"]]}},
            422,
            "/id",
        ),
        ("/calendars/24x7", MONDAYS, 422, "id"),
        ("/policies/office", {"targets": [promise(HOUR)]}, 422, "/id"),
        ("/policies/peaks", {"targets": [promise(HOUR)]}, 422, "/id"),
        ("/policies/%00", {"targets": [promise(HOUR)]}, 422, "id"),
    ],
)
async def test_a_rule_cannot_have_the_name_of_another_kind(
    desk: InProcessDesk, path: str, body: dict[str, Any], status: int, field: str
) -> None:
    answer = await desk.clients["sla"].put(path, json=body)
    assert (answer.status_code, answer.json()["field"]) == (status, field), answer.text
    assert (await publish(desk, promise(2 * HOUR)))["changed"]


async def test_what_is_odd_in_rules_is_said_when_they_are_published(desk: InProcessDesk) -> None:
    sla = desk.clients["sla"]
    odd = promise(HOUR) | {"when": {"priority": "P9"}}
    (warning,) = (await sla.put("/policies/odd", json={"targets": [odd]})).json()["warnings"]
    assert (warning["code"], warning["pointer"]) == ("priority_unknown", "/targets/0/when/priority")
    rules = {"policies": [{"id": "odd", "targets": [odd | {"kind": "ola"}]}]}
    (warning,) = (await sla.post("/rules", json=rules)).json()["warnings"]
    assert warning["pointer"] == "/policies/0/targets/0/when/priority"
    hours = {"zone": "UTC", "weekly": {"sun": [["09:00", "10:00"]]}}
    assert (await sla.put("/calendars/sunday", json=hours)).json()["warnings"] == []


async def test_a_policy_without_targets_is_withdrawn(desk: InProcessDesk) -> None:
    await publish(desk, promise(HOUR))
    ticket = await desk.report(1)
    await told(desk, ticket, "started")
    await publish(desk, applies_to="running")
    await told(desk, ticket, "started", "cancelled")
    later = await desk.report(2)
    await desk.settle()
    assert await clocks(desk, later) == []
    exported = (await desk.clients["sla"].get(f"/tickets/{ticket}/scenario")).json()
    case = msgspec.convert(exported, Scenario)
    assert mismatches(case, run(case).actual) == []
    rules = (await desk.clients["sla"].get("/rules")).json()
    assert [len(policy["targets"]) for policy in rules["policies"]][-2:] == [1, 0]


async def test_text_that_cannot_be_stored_is_refused_in_addresses(desk: InProcessDesk) -> None:
    for path in ("/policies/%00", "/attainment?customer=%00", "/at-risk?group=%00"):
        answer = await desk.clients["sla"].get(path)
        assert answer.status_code in (400, 422), answer.text


async def test_many_who_publish_at_once_leave_rules_that_are_sound(desk: InProcessDesk) -> None:
    def body(seconds: int) -> dict[str, Any]:
        return {"targets": [promise(seconds) | {"name": "new"}]}

    put = desk.clients["sla"].put
    other = {"targets": [promise(HOUR) | {"name": "new", "stop": ["closed"]}]}
    answers = await asyncio.gather(
        *(put("/policies/new", json=body(HOUR + n % 3)) for n in range(12)),
        put("/policies/other", json=other),
    )
    versions = sorted(a.json()["version"] for a in answers[:-1] if a.json().get("changed"))
    assert versions == list(range(1, len(versions) + 1))
    assert {answer.status_code for answer in answers} <= {200, 422}
    ticket = await desk.report(1)
    await desk.settle()
    assert {clock["target"] for clock in await clocks(desk, ticket)} >= {"new"}
    assert (await put("/policies/new", json=body(2 * HOUR))).is_success


async def test_the_first_response_is_the_desks_whoever_holds_the_token(desk: InProcessDesk) -> None:
    response = {**promise(HOUR), "name": "answered", "stop": ["agent_reply"]}
    await publish(desk, response)
    await desk.settle()
    bo, mon = desk.bearer("bo", Role.AGENT), desk.bearer("mon", Role.INTEGRATION)
    said: list[tuple[str, str]] = []

    async def outcome(ticket: str, headers: dict[str, str], **comment: str) -> str:
        path = f"/tickets/{ticket}/comments"
        answer = await desk.clients["intake"].post(path, json=comment, headers=headers)
        assert answer.status_code == 201, answer.text
        await desk.settle()
        (last,) = (await desk.clients["intake"].get(path)).json()["comments"][-1:]
        said.append((last["author_id"], last["author_role"]))
        (clock,) = await clocks(desk, ticket)
        return clock["outcome"]

    async def reported(requester: str, headers: dict[str, str]) -> str:
        body = {"requester": {"id": requester}, "title": "my laptop"}
        answer = await desk.clients["intake"].post("/tickets", json=body, headers=headers)
        return answer.json()["ticket_id"]

    mine, passed_on = await reported("bo", bo), await reported("eve", mon)
    assert await outcome(mine, bo, text="It is the left hinge.") == "open"
    assert await outcome(passed_on, mon, text="(the second mail)") == "open"
    assert await outcome(passed_on, mon, text="It drips.", author_id="eve") == "open"
    assert await outcome(passed_on, bo, text="She rang: it drips.", author_id="eve") == "open"
    assert said == [("bo", "requester"), ("mon", "requester"), *[("eve", "requester")] * 2]
    assert await outcome(passed_on, bo, text="We are on it.") == "met"
    eve = desk.bearer("eve", Role.REQUESTER)
    body = {"text": "The desk agrees.", "author_id": "bo"}
    path = f"/tickets/{passed_on}/comments"
    answer = await desk.clients["intake"].post(path, json=body, headers=eve)
    assert (answer.status_code, answer.json()["field"]) == (403, "/author_id")
    secret = {"text": "psst", "visibility": "internal"}
    answer = await desk.clients["intake"].post(f"/tickets/{mine}/comments", json=secret, headers=bo)
    assert answer.status_code == 403, "bo is who asks here"
