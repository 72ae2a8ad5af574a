"""Agreements in a running desk: signed, reviewed once by two replicas, corrected by late facts."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.clock import SetClock
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import journal, learn_late, promise, publish, told

from services.sla import chores
from services.sla.handlers import Agreements
from services.sla.projections import READ_MODEL
from shared.contracts.agreements import SlaRemedyDue
from shared.contracts.registry import Recorded
from shared.postgres.pool import open_pool
from shared.replay.rebuild import rebuild

HOUR = 3600
TERMS: dict[str, Any] = {
    "version": 1,
    "customer": "acme",
    "provider": "desk",
    "services": [],
    "valid_from": "2026-01-01T00:00:00+01:00",
    "review_date": "2026-12-01",
    "review_period": "month",
    "zone": "Europe/Berlin",
    "currency": "EUR",
    "fee_minor": 1_000_000,
    "measures": [
        {
            "name": "solved in time",
            "attainment": {"targets": ["resolution"]},
            "bands": [{"below": 0.95, "credit_share": 0.05}, {"below": 0.7, "credit_share": 0.1}],
            "impact_cost_minor_per_hour": 12_000,
        },
        {
            "name": "mail is up",
            "availability": {"service": "mail"},
            "bands": [{"below": 0.999, "credit_share": 0.05}],
        },
    ],
    "credit_share_max": 0.12,
}
SIGNED = {"version": 1, "signatory": "Ann", "signed_at": "2026-01-01T00:00:00+01:00"}


@pytest.fixture
def clock() -> SetClock:
    clock = SetClock()
    clock.set(datetime(2026, 3, 20, 8, tzinfo=UTC))
    return clock


@pytest.fixture
def look_every() -> float:
    """How many seconds apart the desk looks for periods that ended."""
    return 60


@pytest.fixture
async def desk(
    make_database: Callable[[str], str],
    tmp_path: Path,
    clock: SetClock,
    look_every: float,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncGenerator[InProcessDesk]:
    monkeypatch.setattr(chores, "LOOK_EVERY_SECONDS", look_every)
    services = ("intake", "routing", "sla")
    async with in_process_desk(make_database, tmp_path, services=services, clock=clock) as running:
        await running.settle()
        yield running


async def send(desk: InProcessDesk, method: str, path: str, body: Any = None) -> Any:
    answer = await desk.clients["sla"].request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json()


async def agree(
    desk: InProcessDesk, since: str = "2026-01-01T00:00:00+01:00", **change: Any
) -> None:
    """Publish and sign an agreement that is in force since then."""
    await send(desk, "PUT", "/agreements/acme-1", TERMS | {"valid_from": since} | change)
    for party in ("customer", "provider"):
        body = SIGNED | {"party": party, "signed_at": since}
        assert (await send(desk, "POST", "/agreements/acme-1/sign-offs", body))["changed"]
        assert not (await send(desk, "POST", "/agreements/acme-1/sign-offs", body))["changed"]


def is_review(event: Recorded) -> bool:
    return isinstance(event.data, SlaRemedyDue)


async def live_march(desk: InProcessDesk, clock: SetClock) -> str:
    """Three tickets of acme, of which one is 2 h late, one of another customer; 3 h without mail.

    Returns the ticket that was late.
    """
    await publish(desk, promise(HOUR))
    acme = {"requester": {"id": "ann", "customer": "acme"}}
    tickets = [await desk.report(n, **acme) for n in range(2)]
    other = await desk.report(7, requester={"id": "eve", "customer": "other"})
    late = await desk.report(9, **acme)
    for ticket in tickets:
        await desk.clients["intake"].post(f"/tickets/{ticket}/resolve", json={"resolution": "ok"})
        await told(desk, ticket, "started", "met")
    await told(desk, late, "started")
    await told(desk, other, "started")
    clock.off += timedelta(hours=3)
    await told(desk, late, "started", "breached")
    await told(desk, other, "started", "breached")
    for ticket in (late, other):
        await desk.clients["intake"].post(f"/tickets/{ticket}/resolve", json={"resolution": "ok"})
        await told(desk, ticket, "started", "breached", "missed")
    outage = {
        "service": "mail",
        "started_at": "2026-03-10T10:00:00Z",
        "ended_at": "2026-03-10T13:00:00Z",
    }
    await send(desk, "PUT", "/outages/o-1", outage)
    return late


async def remedies(desk: InProcessDesk, wanted: int = 1, **query: str) -> list[dict[str, Any]]:
    """Wait until so many reviews are listed."""
    async with asyncio.timeout(20):
        while True:
            answer = await desk.clients["sla"].get("/agreements/acme-1/remedies", params=query)
            found = answer.json()["remedies"]
            if len(found) >= wanted:
                assert len(found) == wanted
                return found
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("look_every", [0.05])
async def test_two_replicas_review_a_period_once_and_a_late_fact_makes_a_revision(
    desk: InProcessDesk,
    clock: SetClock,
    make_database: Callable[[str], str],
    tmp_path: Path,
    look_every: float,
) -> None:
    async with AsyncExitStack() as stack:
        second = in_process_desk(
            make_database,
            tmp_path,
            log=desk.log,
            dsns={"sla": desk.dsns["sla"]},
            clock=clock,
            replica="second",
        )
        await stack.enter_async_context(second)
        await agree(desk, "2026-03-01T00:00:00+01:00")
        late = await live_march(desk, clock)
        await desk.settle()
        clock.set(datetime(2026, 4, 1, 21, tzinfo=UTC))  # the month is over, late facts may come
        await asyncio.sleep(0.5)
        assert await remedies(desk, 0) == []
        clock.set(datetime(2026, 4, 1, 22, 1, tzinfo=UTC))
        [march] = await remedies(desk)
        await asyncio.sleep(0.5)
    assert sum(map(is_review, await journal(desk, "acme-1"))) == 1
    solved, mail = march["lines"]
    assert (solved["met"], solved["n"], solved["band_below"]) == (2, 3, 0.7)
    assert solved["impact_hours"] == pytest.approx(2, abs=0.01)
    assert solved["impact_cost_minor"] == pytest.approx(24_000, abs=120)
    assert mail["share"] == pytest.approx(740 / 743)
    assert [line["credit_minor"] for line in march["lines"]] == [100_000, 50_000]
    assert (march["total_minor"], march["revision"], march["version"]) == (120_000, 1, 1)

    await learn_late(desk, late, timedelta(minutes=30))
    await told(desk, late, "started", "breached", "missed", "breach_retracted", "met")
    again = await send(desk, "POST", "/agreements/acme-1/reviews", {"period": "2026-03"})
    assert (again["changed"], again["remedy"]["revision"]) == (True, 2)
    differs = {one["pointer"]: (one["before"], one["after"]) for one in again["differs"]}
    assert differs["/total_minor"] == (120_000, 50_000)
    assert differs["/lines/0/met"] == (2, 3)
    once_more = await send(desk, "POST", "/agreements/acme-1/reviews", {"period": "2026-03"})
    assert (once_more["changed"], once_more["differs"]) == (False, [])
    await desk.settle()
    before = await remedies(desk, 2, revisions="true")
    assert [one["revision"] for one in before] == [2, 1]
    assert [one["total_minor"] for one in await remedies(desk)] == [50_000]
    pool = await open_pool(desk.dsns["sla"], role="desk_replay", name="rebuild", size_max=1)
    try:
        await rebuild(READ_MODEL, desk.log, pool)
    finally:
        await pool.close()
    assert await remedies(desk, 2, revisions="true") == before
    await desk.check()


async def test_a_desk_that_looks_once_a_minute_is_ready_at_once(desk: InProcessDesk) -> None:
    async with asyncio.timeout(8):
        while (await desk.clients["sla"].get("/health/ready")).status_code != 200:
            await asyncio.sleep(0.1)


async def test_however_many_look_at_once_each_period_is_told_once_and_as_one_reads_it(
    desk: InProcessDesk, clock: SetClock
) -> None:
    since = "2025-01-01T00:00:00+01:00"
    await agree(desk, since, measures=TERMS["measures"][:1])
    await desk.settle()
    clock.set(datetime(2026, 4, 2, 8, tzinfo=UTC))
    service = desk.rooms["sla"].service
    looks = [Agreements(service).review_all() for _ in range(6)]
    await asyncio.gather(*looks)
    while await Agreements(service).review_all():
        pass
    told = [event.data for event in await journal(desk, "acme-1") if is_review(event)]
    assert len({review.period_start for review in told}) == len(told) == 15
    again = [
        send(desk, "POST", "/agreements/acme-1/reviews", {"period": "2026-02"}) for _ in range(4)
    ]
    assert [one["changed"] for one in await asyncio.gather(*again)] == [False] * 4


async def test_a_period_in_which_nothing_is_due_is_reviewed_too(
    desk: InProcessDesk, clock: SetClock
) -> None:
    await agree(desk, measures=TERMS["measures"][:1])
    clock.set(datetime(2026, 4, 2, 8, tzinfo=UTC))
    found = await send(desk, "POST", "/agreements/acme-1/reviews", {"period": "2026-03"})
    assert found["changed"]
    assert found["remedy"]["total_minor"] == 0
    assert found["remedy"]["lines"][0]["share"] is None
    listed = await send(desk, "GET", "/agreements")
    [version] = listed["agreements"][0]["versions"]
    assert version["in_force"]
    assert version["signatures"]["customer"]["signatory"] == "Ann"
    assert version["document"]["fee_minor"] == 1_000_000


async def test_what_is_signed_cannot_change_and_every_refusal_names_its_field(
    desk: InProcessDesk,
) -> None:
    await agree(desk)
    sla = desk.clients["sla"]
    for method, path, body, status, field in (
        ("PUT", "/agreements/acme-1", TERMS | {"fee_minor": 1}, 409, "/version"),
        ("PUT", "/agreements/acme-1", TERMS | {"version": 3}, 422, "/version"),
        ("PUT", "/agreements/acme-1", TERMS | {"currency": "EUX"}, 422, "/currency"),
        ("PUT", "/agreements/acme-1", TERMS | {"currency": "euro"}, 422, "/currency"),
        ("PUT", "/agreements/acme-1", TERMS | {"colour": "red"}, 422, "/colour"),
        (
            "PUT",
            "/agreements/acme-2",
            TERMS
            | {
                "measures": [
                    TERMS["measures"][0]
                    | {
                        "bands": [
                            {"below": 0.7, "credit_share": 0.1},
                            {"below": 0.9, "credit_share": 0.2},
                        ]
                    }
                ]
            },
            422,
            "/measures/0/bands/1/below",
        ),
        (
            "POST",
            "/agreements/acme-1/sign-offs",
            SIGNED | {"party": "customer", "signatory": "Eve"},
            409,
            "/signatory",
        ),
        ("POST", "/agreements/acme-1/sign-offs", SIGNED | {"party": "witness"}, 422, "/party"),
        (
            "POST",
            "/agreements/acme-1/sign-offs",
            SIGNED | {"party": "customer", "version": 2},
            422,
            "/version",
        ),
        ("POST", "/agreements/acme-1/reviews", {"period": "2026-03"}, 409, "/period"),
        ("POST", "/agreements/acme-1/reviews", {"period": "March"}, 422, "/period"),
        ("POST", "/agreements/acme-9/reviews", {"period": "2026-03"}, 404, None),
        ("GET", "/agreements/acme-9", None, 404, None),
        ("GET", "/agreements/acme-9/remedies", None, 404, None),
    ):
        answer = await sla.request(method, path, json=body)
        assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    one = await sla.get("/agreements/acme-1")
    assert (one.headers["ETag"], len(one.json()["versions"])) == ('"3"', 1)
