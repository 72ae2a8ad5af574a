"""The past judged again: verdicts counted, and a desk's real past under other rules."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from support.inprocess import InProcessDesk, in_process_desk
from support.promises import promise, publish
from support.scenarios import case, event, target

from services.sla.cli.calibrate import calibrate
from services.sla.cli.whatif import WhatIfQuestion, compare
from services.sla.domain.clocks.history import in_order
from services.sla.domain.clocks.rulebook import rulebook
from services.sla.domain.files.reading import calendars_of, facts_of, policy_version
from services.sla.domain.files.scenario import Scenario
from services.sla.domain.outlook.survival import Calibration
from services.sla.domain.outlook.whatif import (
    CHANGED_MAX,
    Changed,
    Comparison,
    ComparisonTally,
    VerdictShift,
    by_target,
    idle_types,
    judged,
)
from services.sla.domain.rules.publishing import RulesWanted
from shared.calendar import microseconds
from shared.clock import SystemClock
from shared.errors import InvalidInputError
from shared.testing.database import TestPostgres, fresh_database

pytestmark = pytest.mark.timeout(180)
MINUTE, HOUR = 60, 3600
GOAL = 2 * HOUR
Row = dict[Any, dict[Any, int]]


# --- One ticket ------------------------------------------------------------------------------


def verdicts(*events: dict[str, Any], until: str = "18:00", **more: Any) -> dict[str, str]:
    """Return the verdicts on a ticket, as they are known at a time of its day."""
    scenario = msgspec.convert(case(*events, until=until, **more), Scenario)
    assert scenario.until is not None
    parts = [policy_version(part) for part in scenario.policies]
    rules = rulebook(parts, calendars_of(scenario.calendars))
    facts = in_order(facts_of(scenario))
    return dict(by_target(judged(facts, rules, microseconds(scenario.until))))


CREATED = event("09:00", "created")


@pytest.mark.parametrize(
    ("events", "until", "verdict"),
    [
        ([event("09:30", "resolved")], "18:00", "met"),
        ([event("10:30", "resolved")], "18:00", "missed"),
        ([], "09:30", "open"),
        ([event("09:10", "held")], "18:00", "open"),
        ([], "18:00", "missed"),
        ([event("09:10", "cancelled")], "18:00", None),
        (
            [event("10:30", "resolved"), event("11:00", "reopened"), event("11:01", "resolved")],
            "18:00",
            "missed",
        ),
    ],
)
def test_a_target_ends_as_its_worst_clock(events: Any, until: str, verdict: str | None) -> None:
    targets = [target(pause=["held"], on_reopen="new_cycle")]
    expected = {} if verdict is None else {"resolution": verdict}
    assert verdicts(CREATED, *events, until=until, targets=targets) == expected


@pytest.mark.parametrize(
    ("asks", "idle"),
    [
        ({}, ["ticket.assigned", "ticket.commented"]),
        ({"when": {"group": "net"}}, ["ticket.commented"]),
        ({"pause": [{"agent": "bo"}]}, ["ticket.commented"]),
        ({"stop": ["assigned", "resolved"]}, ["ticket.commented"]),
        ({"stop": [{"line": 2}]}, ["ticket.commented"]),
        ({"stop": ["agent_reply"]}, ["ticket.assigned"]),
        ({"start": ["requester_message"], "stop": ["assigned"]}, []),
    ],
)
def test_only_events_that_no_rule_asks_for_are_left_unread(
    asks: dict[str, Any], idle: list[str]
) -> None:
    scenario = msgspec.convert(case(CREATED, targets=[target(**asks)]), Scenario)
    parts = [policy_version(part) for part in scenario.policies]
    assert idle_types(rulebook(parts, calendars_of(scenario.calendars))) == idle


# --- Counting --------------------------------------------------------------------------------


def test_a_ticket_is_counted_under_each_target_and_once_as_changed() -> None:
    tally = ComparisonTally()
    tally.add("a", "net", {"reply": "met", "resolution": "met"}, {"resolution": "missed"})
    tally.add("b", None, {"resolution": "open"}, {"resolution": "open"})
    found = tally.comparison()
    assert (found.tickets, found.changed_tickets) == (2, 1)
    assert found.changed == (
        Changed("a", "reply", "net", "met", "none"),
        Changed("a", "resolution", "net", "met", "missed"),
    )
    assert found.differences == (
        VerdictShift(target="reply", group="net", verdicts={"met": {"none": 1}}),
        VerdictShift(target="resolution", group="net", verdicts={"met": {"missed": 1}}),
        VerdictShift(target="resolution", group=None, verdicts={"open": {"open": 1}}),
    )


def added_up(parts: list[Comparison]) -> Comparison:
    tally = ComparisonTally()
    for part in parts:
        tally.take(part)
    return tally.comparison()


def test_parts_of_a_history_add_up_in_any_order() -> None:
    names = [f"{number:03}" for number in range(CHANGED_MAX + 10)]

    def part(tickets: list[str], group: str | None) -> Comparison:
        tally = ComparisonTally()
        for ticket in tickets:
            tally.add(ticket, group, {"r": "met"}, {"r": "missed"})
        return tally.comparison()

    parts = [part(names[5:], None), part(names[:5], "net"), part(["x"], "net")]
    one, other = added_up(parts), added_up(parts[::-1])
    assert one == other
    assert (one.tickets, one.changed_tickets) == (len(names) + 1, len(names) + 1)
    assert [change.ticket_id for change in one.changed] == names[:CHANGED_MAX]
    assert [(difference.group, difference.verdicts) for difference in one.differences] == [
        ("net", {"met": {"missed": 6}}),
        (None, {"met": {"missed": len(names) - 5}}),
    ]


# --- A desk's past -----------------------------------------------------------------------------
# Goal two hours. 35 tickets: 10 solved after half an hour, 10 after one, 15 after three. A day
# later 25: 16 after 45 minutes, 9 after three hours. One more is open.

SIGNED_AT = "2026-01-01T00:00:00Z"
OLD, YOUNG = 35, 25
MET, MISSED = 36, 24


class SetClock(SystemClock):
    """The machine's clock, on a day in March and then as far on as the test says."""

    def __init__(self) -> None:
        self.off = datetime(2026, 3, 10, 9, tzinfo=UTC) - super().now()

    def now(self) -> datetime:
        return super().now() + self.off


class Past(NamedTuple):
    """A desk's past: sla's database, when the young tickets came, and when it was left."""

    dsn: str
    young_at: datetime
    left_at: datetime
    is_network: list[bool]

    def compare(self, wanted: RulesWanted, **period: datetime | None) -> Comparison:
        start, end = period.get("start"), period.get("end")
        return compare(self.dsn, WhatIfQuestion(wanted, start, end, self.left_at))


async def lived(make_database: Callable[[str], str], keys: Path) -> Past:
    clock = SetClock()
    services = ("intake", "routing", "sla")
    is_network: list[bool] = []

    async def reported(count: int) -> list[str]:
        first = len(is_network)
        is_network.extend(number % 3 == 0 for number in range(count))
        return [
            await desk.report(
                number,
                category="network" if is_network[number] else "software",
                requester={"id": "ann", "customer": "acme"},
            )
            for number in range(first, first + count)
        ]

    async def solved(tickets: list[str], minutes: int) -> None:
        clock.off += timedelta(minutes=minutes)
        await desk.settle()
        for ticket in tickets:
            body = {"resolution": "done"}
            answer = await desk.clients["intake"].post(f"/tickets/{ticket}/resolve", json=body)
            assert answer.is_success, answer.text

    async with in_process_desk(make_database, keys, services=services, clock=clock) as desk:
        await desk.settle()
        await publish(desk, promise(GOAL))
        await agree(desk)
        old = await reported(OLD)
        for first, last, minutes in ((0, 10, 30), (10, 20, 30), (20, 35, 120)):
            await solved(old[first:last], minutes)
        clock.off += timedelta(days=1)
        young_at = clock.now()
        young = await reported(YOUNG)
        await solved(young[:16], 45)
        await solved(young[16:], 135)
        await reported(1)
        await desk.settle()
        await _all_told(desk)
        return Past(desk.dsns["sla"], young_at, clock.now(), is_network)


async def agree(desk: InProcessDesk) -> None:
    """Have an agreement of 10,000.00 a month: a tenth below nine tenths, half below one half."""
    bands = [{"below": 0.9, "credit_share": 0.1}, {"below": 0.5, "credit_share": 0.5}]
    terms = {
        "version": 1,
        "customer": "acme",
        "provider": "desk",
        "valid_from": "2026-01-01T00:00:00Z",
        "review_date": "2026-12-01",
        "review_period": "month",
        "zone": "UTC",
        "currency": "EUR",
        "fee_minor": 1_000_000,
        "measures": [
            {"name": "in time", "attainment": {"targets": ["resolution"]}, "bands": bands}
        ],
    }
    answer = await desk.clients["sla"].put("/agreements/acme", json=terms)
    assert answer.is_success, answer.text
    for party in ("customer", "provider"):
        body = {"version": 1, "party": party, "signatory": "Ann", "signed_at": SIGNED_AT}
        answer = await desk.clients["sla"].post("/agreements/acme/sign-offs", json=body)
        assert answer.is_success, answer.text


async def _all_told(desk: InProcessDesk) -> None:
    """Wait until sla has seen every verdict."""
    pool = desk.rooms["sla"].service.pool
    async with asyncio.timeout(30):
        query = "SELECT count(*) FROM read.clock WHERE outcome IN ('met', 'missed')"
        while await pool.fetchval(query) < MET + MISSED:
            await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def past(postgres: TestPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """What a desk has behind it that nobody runs any more."""
    with ExitStack() as stack:
        yield asyncio.run(
            lived(
                lambda name: stack.enter_context(fresh_database(postgres, f"past_{name}")),
                tmp_path_factory.mktemp("keys"),
            )
        )


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do without a second one where it proves nothing; each must be started."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


def wanted(*targets: dict[str, Any], **more: Any) -> RulesWanted:
    rules = {"policies": [{"id": "standard", "targets": list(targets)}], **more}
    return msgspec.convert(rules, RulesWanted)


def of_target(found: Comparison) -> dict[str, Row]:
    """Return the counts of each target, groups added up."""
    whole = ComparisonTally()
    for one in found.differences:
        whole.take(Comparison(0, 0, (msgspec.structs.replace(one, group=None),), ()))
    return {one.target: one.verdicts for one in whole.comparison().differences}


def test_the_same_rules_change_nothing(past: Past) -> None:
    for rules in (RulesWanted(), wanted(promise(GOAL))):
        found = past.compare(rules)
        assert (found.tickets, found.changed_tickets, found.changed) == (61, 0, ())
        assert of_target(found) == {
            "resolution": {
                "met": {"met": MET},
                "missed": {"missed": MISSED},
                "open": {"open": 1},
            }
        }


def test_a_stricter_goal_turns_met_into_missed(past: Past) -> None:
    found = past.compare(wanted(promise(40 * MINUTE)))
    assert found.changed_tickets == 26  # 10 took an hour, 16 three quarters
    assert of_target(found)["resolution"] == {
        "met": {"met": 10, "missed": 26},
        "missed": {"missed": MISSED},
        "open": {"open": 1},
    }
    assert {(one.before, one.after) for one in found.changed} == {("met", "missed")}
    names = [one.ticket_id for one in found.changed]
    assert (len(names), names) == (26, sorted(names))


def test_a_looser_goal_turns_missed_into_met(past: Past) -> None:
    found = past.compare(wanted(promise(4 * HOUR)))
    assert of_target(found)["resolution"]["missed"] == {"met": MISSED}


@pytest.mark.parametrize(
    ("goal", "minor"), [(GOAL, 100_000), (40 * MINUTE, 500_000), (4 * HOUR, 0)]
)
def test_other_rules_are_worth_other_credits(past: Past, goal: int, minor: int) -> None:
    (credit,) = past.compare(wanted(promise(goal))).credits
    assert (credit.agreement_id, credit.currency) == ("acme", "EUR")
    assert (credit.before_minor, credit.after_minor) == (100_000, minor)  # 36 of 60 met before


def test_another_target_takes_the_place_of_the_one_left_out(past: Past) -> None:
    found = of_target(past.compare(wanted({**promise(GOAL), "name": "solution"})))
    assert found == {
        "resolution": {"met": {"none": MET}, "missed": {"none": MISSED}, "open": {"none": 1}},
        "solution": {"none": {"met": MET, "missed": MISSED, "open": 1}},
    }


def test_calendars_of_the_file_count(past: Past) -> None:
    opened = {"2040-01-04": [["09:00", "18:00"]]}
    calendar = {"id": "later", "zone": "UTC", "weekly": {}, "special_days": opened}
    later = {**promise(GOAL), "calendar": "later"}
    found = past.compare(wanted(later, calendars=[calendar]))
    assert of_target(found)["resolution"]["missed"] == {"met": MISSED}


def test_groups_are_counted_apart(past: Past) -> None:
    found = past.compare(wanted(promise(40 * MINUTE)))
    counts = {one.group: one.verdicts for one in found.differences}
    late = {True: 0, False: 0}  # whoever was late was handed on to specialists
    for place in (*range(20, OLD), *range(OLD + 16, OLD + YOUNG)):
        late[past.is_network[place]] += 1
    assert counts == {
        "service-desk": {"met": {"met": 10, "missed": 26}, "open": {"open": 1}},
        "network-support": {"missed": {"missed": late[True]}},
        "software-support": {"missed": {"missed": late[False]}},
    }


def test_a_period_takes_the_tickets_created_in_it(past: Past) -> None:
    rules = RulesWanted()
    assert past.compare(rules, start=past.young_at).tickets == YOUNG + 1
    assert past.compare(rules, end=past.young_at).tickets == OLD
    assert past.compare(rules, start=past.young_at, end=past.left_at).tickets == YOUNG + 1


def test_the_answer_is_the_same_however_many_processes_give_it(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Comparison] = []
    for count in (1, 2):
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        answers.append(past.compare(wanted(promise(40 * MINUTE))))
    assert answers[0].tickets == 61
    assert answers[0] == answers[1]


def test_rules_that_make_no_sense_are_refused_by_their_key(past: Past) -> None:
    with pytest.raises(InvalidInputError) as refused:
        past.compare(wanted({**promise(GOAL), "calendar": "moon"}))
    assert refused.value.field == "/policies/0/targets/0/calendar"


def test_rules_that_cannot_be_published_are_not_tried(past: Past) -> None:
    with pytest.raises(InvalidInputError, match="starts the only cycle and is the stop") as refused:
        past.compare(wanted({**promise(GOAL), "stop": ["created"]}))
    assert refused.value.field == "/policies/0/targets/0/start/0"


def measured(past: Past, rules: RulesWanted) -> Calibration:
    return asyncio.run(calibrate(past.dsn, rules, past.left_at))


def test_chances_are_learnt_from_the_old_and_tested_on_the_young(past: Past) -> None:
    found = measured(past, RulesWanted())
    split = 43  # the ticket at 70 % of 61; those before it are learnt from
    assert (found.learnt_from, found.tested_on) == (split - 1, 61 - split + 1)
    in_time, late = 16 - (split - 1 - OLD), 9
    assert found.predictions == in_time + 4 * late  # checkpoints they ran past
    chance, half = 15 / 35, 15 / 25  # still running after two hours, of those after ½ and 1
    errors = in_time * chance**2 + late * ((1 - chance) ** 2 + (1 - half) ** 2)
    assert found.brier == pytest.approx(errors / found.predictions, abs=0.01)
    share = 4 * late / found.predictions
    assert found.brier_base_rate == pytest.approx(share * (1 - share))
    assert sum(one.n for one in found.bins) == found.predictions
    assert found.bins[9].breached_share == 1


def test_chances_are_measured_under_other_rules_too(past: Past) -> None:
    found = measured(past, wanted(promise(4 * HOUR)))
    assert found.predictions == 9 * 3  # nobody late; nine ran past a quarter, a half, three
    assert found.brier == pytest.approx(0)


def test_a_long_past_is_read_in_parts(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measured(past, RulesWanted())
    monkeypatch.setattr("services.sla.cli.past._ROWS", 10)
    assert measured(past, RulesWanted()) == whole
    monkeypatch.setattr("services.sla.cli.past._ROWS", 2)
    with pytest.raises(InvalidInputError, match="has more than 2 events"):
        measured(past, RulesWanted())


def test_a_desk_without_tickets_has_nothing_to_learn_from(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async def empty() -> str:
        async with in_process_desk(make_database, tmp_path, services=("sla",)) as desk:
            await desk.settle()
            return desk.dsns["sla"]

    dsn = asyncio.run(empty())
    with pytest.raises(InvalidInputError, match="no tickets to learn from"):
        asyncio.run(calibrate(dsn, RulesWanted(), datetime(2026, 1, 1, tzinfo=UTC)))
    nothing = compare(
        dsn, WhatIfQuestion(RulesWanted(), None, None, datetime(2026, 1, 1, tzinfo=UTC))
    )
    assert nothing == Comparison(0, 0, (), ())
