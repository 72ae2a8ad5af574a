"""Outages, maintenance and promised availability in a running desk, through HTTP."""

from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from support.inprocess import InProcessDesk, in_process_desk

from services.sla.projections import READ_MODEL
from shared.http.auth import Role
from shared.postgres.pool import open_pool
from shared.replay.rebuild import rebuild

HOUR = 3600
FEBRUARY = {"from": "2026-02-01", "to": "2026-03-01", "zone": "Europe/Berlin"}


@pytest.fixture
async def desk(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path, services=("sla",)) as running:
        yield running


@pytest.fixture
async def houses(
    make_database: Callable[[str], str], tmp_path: Path
) -> AsyncGenerator[InProcessDesk]:
    async with in_process_desk(make_database, tmp_path, services=("sla", "knowledge")) as running:
        yield running


async def put(desk: InProcessDesk, path: str, body: dict[str, Any], wait: int = 5) -> Any:
    answer = await desk.clients["sla"].put(path, json=body, headers={"Prefer": f"wait={wait}"})
    assert answer.is_success, answer.text
    assert wait == 0 or answer.headers["Preference-Applied"] == f"wait={wait}"
    return answer.json()


async def measured(desk: InProcessDesk, **query: str) -> list[dict[str, Any]]:
    answer = await desk.clients["sla"].get("/availability", params=FEBRUARY | query)
    assert answer.is_success, answer.text
    return answer.json()["services"]


async def tell_february(desk: InProcessDesk) -> None:
    """Two failures of mail: 3 hours of which 1 was planned, and 1 hour over midnight of March.

    Mail is known since an outage of no length in January; the maintenance before says nothing.
    """
    first = "2026-01-20T00:00:00Z"
    mail = {"service": "mail"}
    await put(desk, "/outages/o-0", mail | {"started_at": first, "ended_at": first})
    for day in ("2010-01-20", "2026-01-20"):
        planned = {"starts_at": f"{day}T00:00:00Z", "ends_at": f"{day}T01:00:00Z"}
        await put(desk, f"/maintenance/{day}", mail | planned)
    await put(desk, "/services/mail/availability", {"share_min": 0.999})
    night = {"service": "mail", "source": "alert", "started_at": "2026-02-03T01:00:00+01:00"}
    await put(desk, "/outages/alert-1", night)
    await put(desk, "/outages/alert-1", night | {"ended_at": "2026-02-03T04:00:00+01:00"})
    await put(
        desk,
        "/outages/edge",
        {
            "service": "mail",
            "started_at": "2026-02-28T23:30:00+01:00",
            "ended_at": "2026-03-01T00:30:00+01:00",
        },
    )
    planned = {
        "service": "mail",
        "starts_at": "2026-02-03T02:00:00+01:00",
        "ends_at": "2026-02-03T03:00:00+01:00",
    }
    await put(desk, "/maintenance/m-1", planned)


async def test_an_outage_put_again_when_it_is_over_counts_once(desk: InProcessDesk) -> None:
    await tell_february(desk)
    [mail] = await measured(desk, service="mail")
    [february] = mail["periods"]
    agreed = (28 * 24 - 1) * HOUR
    assert february["agreed_seconds"] == agreed
    assert february["down_seconds"] == 2.5 * HOUR
    assert february["share"] == pytest.approx(1 - 2.5 * HOUR / agreed)
    assert (february["share_min"], february["is_met"]) == (0.999, False)
    assert february["failures"] == 2
    assert february["mtbf_seconds"] == (agreed - 2.5 * HOUR) / 2
    assert february["mttrs_seconds"] == 2 * HOUR
    listed = await desk.clients["sla"].get("/outages", params=FEBRUARY | {"service": "mail"})
    assert [(o["outage_id"], o["ended_at"] is None) for o in listed.json()["outages"]] == [
        ("edge", False),
        ("alert-1", False),
    ]
    await desk.settle()
    await desk.check()


async def test_a_time_of_which_nothing_was_told_is_not_measured(desk: InProcessDesk) -> None:
    await tell_february(desk)
    query = {"from": "2025-12-01", "to": "2026-03-01", "by": "month"}
    [mail] = await measured(desk, **query)
    december, january, february = mail["periods"]
    assert (december["agreed_seconds"], december["share"], december["is_met"]) == (0, None, None)
    assert january["measured_from"] == "2026-01-20T00:00:00Z"
    assert january["agreed_seconds"] == (12 * 24 - 1 - 1) * HOUR  # Berlin; the maintenance
    assert (january["share"], january["is_met"]) == (1, True)
    assert february["measured_from"] == february["from"]
    outage = {"service": "mail", "started_at": "2025-12-31T12:00:00+01:00"}
    over = {"ended_at": "2025-12-31T13:00:00+01:00"}
    await put(desk, "/outages/earlier", outage | over)
    [mail] = await measured(desk, **query)
    assert mail["periods"][0]["agreed_seconds"] == 12 * HOUR
    assert mail["periods"][1]["measured_from"] == mail["periods"][1]["from"]
    await put(desk, "/outages/earlier", outage | over | {"is_withdrawn": True})
    assert (await measured(desk, **query))[0]["periods"] == [december, january, february]
    await put(desk, "/outages/wrong", outage | {"service": "vpn", "is_withdrawn": True})
    [vpn] = await measured(desk, **query, service="vpn")
    assert {period["share"] for period in vpn["periods"]} == {None}


async def test_a_rebuild_gives_the_same_figures(desk: InProcessDesk) -> None:
    await tell_february(desk)
    await desk.settle()
    query = {"from": "2026-01-01", "to": "2026-06-01", "by": "month"}
    before = await measured(desk, **query)
    assert [period["failures"] for period in before[0]["periods"]] == [0, 2, 0, 0, 0]
    pool = await open_pool(desk.dsns["sla"], role="desk_replay", name="rebuild", size_max=1)
    try:
        await rebuild(READ_MODEL, desk.log, pool)
    finally:
        await pool.close()
    assert await measured(desk, **query) == before


async def test_the_same_document_again_writes_nothing(desk: InProcessDesk) -> None:
    body = {"service": "mail", "started_at": "2026-02-03T01:00:00Z"}
    first = await put(desk, "/outages/o", body)
    again = await put(desk, "/outages/o", body | {"started_at": "2026-02-03T02:00:00+01:00"})
    assert (first["changed"], again["changed"], again["sequence"]) == (True, False, 1)
    stale = await desk.clients["sla"].put(
        "/outages/o", json=body | {"is_withdrawn": True}, headers={"If-Match": '"7"'}
    )
    assert stale.status_code == 412
    withdrawn = await put(desk, "/outages/o", body | {"is_withdrawn": True})
    assert (withdrawn["changed"], withdrawn["sequence"]) == (True, 2)
    [mail] = await measured(desk)
    assert mail["periods"][0]["down_seconds"] == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/outages/o", {"started_at": "2026-02-03T01:00:00Z"}),
        (
            "/maintenance/o",
            {"starts_at": "2126-02-03T01:00:00Z", "ends_at": "2126-02-03T02:00:00Z"},
        ),
    ],
)
async def test_what_one_system_told_no_other_takes_back(
    desk: InProcessDesk, path: str, body: dict[str, Any]
) -> None:
    client, told = desk.clients["sla"], {"service": "mail"} | body
    back = told | {"is_withdrawn" if "outages" in path else "is_cancelled": True}
    # Ids of other kinds are other things, whoever told of those.
    other = "/services/o/availability"
    assert (await client.put(other, json={"share_min": 0.99})).is_success
    mon, eve = (desk.bearer(who, Role.INTEGRATION) for who in ("mon", "eve"))
    assert (await client.put(path, json=told, headers=mon)).json()["changed"]
    for wanted in (told, back):
        assert (await client.put(path, json=wanted, headers=eve)).status_code == 403
    for who in (mon, desk.bearer("bo", Role.AGENT), mon):
        assert (await client.put(path, json=back, headers=who)).is_success
        assert (await client.put(path, json=told, headers=who)).is_success
    both = desk.bearer("eve", Role.INTEGRATION, Role.AGENT)
    assert (await client.put(path, json=back, headers=both)).is_success


@pytest.mark.parametrize(
    ("room", "method", "path", "body"),
    [
        ("sla", "PUT", "/outages/o", {"service": "mail", "started_at": "2026-02-03T01:00:00Z"}),
        ("sla", "PUT", "/policies/gold", {"targets": []}),
        ("knowledge", "POST", f"/articles/{UUID(int=5)}/publish", {}),
    ],
)
async def test_a_star_creates_nothing(
    houses: InProcessDesk, room: str, method: str, path: str, body: dict[str, Any]
) -> None:
    """`If-Match: *` is for who wants to change what is there. Source: RFC 9110, 13.1.1."""
    client = houses.clients[room]
    refused = await client.request(method, path, json=body, headers={"If-Match": "*"})
    assert (refused.status_code, refused.json()["field"]) == (412, "If-Match")
    if method == "PUT":
        for header in ({}, {"If-Match": "*"}):
            made = await client.request(method, path, json=body, headers=header)
            assert (made.status_code, made.headers["etag"]) == (200, '"1"'), made.text


async def test_ids_that_rules_tickets_and_services_share_do_not_meet(desk: InProcessDesk) -> None:
    """A service may be called as a calendar is, an outage as the ticket that tells of it."""
    body = {"service": "office", "started_at": "2026-02-03T01:00:00Z"}
    ticket = str(UUID(int=7))
    for name in ("office", "standard", ticket, "host-7/disk"):
        await put(desk, f"/outages/{name}", body)
    await put(desk, "/services/office/availability", {"share_min": 0.9, "calendar": "office"})
    office = (await desk.clients["sla"].get("/calendars/office")).json()
    assert office["calendar_id"] == "office"
    policy = (await desk.clients["sla"].get("/policies/standard")).json()
    assert policy["policy_id"] == "standard"
    hours = {"zone": "UTC", "weekly": {"mon": [["09:00", "10:00"]]}}
    published = await desk.clients["sla"].put("/calendars/office", json=hours)
    assert published.json()["version"] == 2, published.text
    await put(desk, "/services/a/b/availability", {"share_min": 0.9})
    await desk.settle()
    [one, other] = await measured(desk)
    assert (one["service"], other["service"]) == ("a/b", "office")
    assert other["periods"][0]["calendar"] == "office"
    await desk.check()


async def test_an_outage_that_lasts_counts_until_now(desk: InProcessDesk) -> None:
    now = datetime.now(UTC)
    since = now - timedelta(hours=10)
    await put(desk, "/outages/o", {"service": "vpn", "started_at": since.isoformat()})
    start = (now - timedelta(hours=100)).isoformat()
    before = {"started_at": (now - timedelta(hours=102)).isoformat(), "ended_at": start}
    await put(desk, "/outages/before", {"service": "vpn"} | before)
    [vpn] = await measured(desk, **{"from": start, "to": (now + timedelta(days=9)).isoformat()})
    [period] = vpn["periods"]
    assert 10 * HOUR <= period["down_seconds"] < 10 * HOUR + 60
    assert 100 * HOUR <= period["agreed_seconds"] < 100 * HOUR + 60
    assert (period["failures"], period["mttrs_seconds"], period["is_met"]) == (1, None, None)


async def test_down_time_is_not_planned_afterwards_but_by_a_manager(desk: InProcessDesk) -> None:
    outage = {"started_at": "2026-02-10T00:00:00Z", "ended_at": "2026-02-12T00:00:00Z"}
    await put(desk, "/outages/o", {"service": "mail"} | outage)
    planned = {"service": "mail", "starts_at": outage["started_at"], "ends_at": outage["ended_at"]}
    agent, manager = (desk.bearer(role, role) for role in (Role.AGENT, Role.MANAGER))
    client = desk.clients["sla"]
    refused = await client.put("/maintenance/m", json=planned, headers=agent)
    assert (refused.status_code, refused.json()["field"]) == (403, "/starts_at")
    assert "role manager" in refused.json()["detail"]
    [mail] = await measured(desk)
    assert mail["periods"][0]["down_seconds"] == 48 * HOUR
    wait = {"Prefer": "wait=5"}
    allowed = await client.put("/maintenance/m", json=planned, headers=manager | wait)
    assert allowed.status_code == 200
    [mail] = await measured(desk)
    assert mail["periods"][0]["down_seconds"] == 0
    free = await client.put("/maintenance/m", json=planned | {"is_cancelled": True}, headers=agent)
    assert free.status_code == 200
    ahead = {"service": "mail", "starts_at": LATER, "ends_at": "2190-01-01T00:00:00Z"}
    assert (await client.put("/maintenance/n", json=ahead, headers=agent)).status_code == 200


LATER = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
MAIL = {"service": "mail", "started_at": "2026-02-03T01:00:00Z"}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/outages/o", MAIL | {"ended_at": "2026-02-03T00:00:00Z"}, "/ended_at"),
        ("/outages/o", MAIL | {"started_at": LATER}, "/started_at"),
        ("/outages/o", MAIL | {"ended_at": LATER}, "/ended_at"),
        ("/outages/o", MAIL | {"started_at": "2026-02-03T01:00:00"}, "/started_at"),
        ("/outages/o", MAIL | {"service": ""}, "/service"),
        ("/outages/o", MAIL | {"source": "rumour"}, "/source"),
        (
            "/maintenance/m",
            {
                "service": "mail",
                "starts_at": "2026-02-03T01:00:00Z",
                "ends_at": "2026-02-03T01:00:00Z",
            },
            "/ends_at",
        ),
        ("/services/mail/availability", {"share_min": 1.001}, "/share_min"),
        ("/services/mail/availability", {"share_min": 0.9, "calendar": "moon"}, "/calendar"),
    ],
)
async def test_what_cannot_be_is_refused_and_the_field_named(
    desk: InProcessDesk, path: str, body: dict[str, Any], field: str
) -> None:
    answer = await desk.clients["sla"].put(path, json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    assert (await measured(desk)) == []


@pytest.mark.parametrize(
    ("query", "status", "field"),
    [
        ({"zone": "Europe/Atlantis"}, 422, "zone"),
        ({"from": "2005-01-01"}, 422, "from"),
        ({"from": "2026-04-01"}, 422, "to"),
        ({"to": "soon"}, 422, "to"),
        ({"by": "week"}, 422, "by"),
        ({"service": "mial"}, 404, None),
    ],
)
async def test_a_question_that_cannot_be_is_refused(
    desk: InProcessDesk, query: dict[str, str], status: int, field: str | None
) -> None:
    answer: httpx.Response = await desk.clients["sla"].get("/availability", params=FEBRUARY | query)
    assert answer.status_code == status, answer.text
    assert answer.json().get("field") == field
