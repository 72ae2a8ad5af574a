"""Due times that pass from ticket to ticket, without a desk."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.scenarios import case, event, target

from services.sla.domain.clocks.clock import caps_of
from services.sla.domain.clocks.history import Fact, in_order
from services.sla.domain.clocks.inheritance import Bequest, inherited, passed_on, told_heir
from services.sla.domain.clocks.ledger import judge
from services.sla.domain.clocks.rulebook import Rulebook, rulebook
from services.sla.domain.files.reading import calendars_of, facts_of, policy_version
from services.sla.domain.files.scenario import Scenario
from shared.calendar import instant, microseconds
from shared.contracts.registry import Recorded
from shared.contracts.sla import SlaDueInherited

HOUR = 3600
WHOLE, PART, LAST = (UUID(int=number) for number in (1, 2, 3))


def at_us(time: str) -> int:
    return microseconds(datetime.fromisoformat(f"2025-06-02T{time}:00").replace(tzinfo=UTC))


def rules_and_facts(*events: dict[str, Any]) -> tuple[Rulebook, list[Fact]]:
    targets = [
        target(HOUR, when={"priority": "P1"}, calendar="24x7", pause=["held"]),
        target(8 * HOUR, calendar="24x7", pause=["held"]),
    ]
    scenario = msgspec.convert(case(*events, targets=targets), Scenario)
    parts = [policy_version(part) for part in scenario.policies]
    return rulebook(parts, calendars_of(scenario.calendars)), in_order(facts_of(scenario))


RULES, URGENT = rules_and_facts(event("09:00", "created", priority="P1"))
_, USUAL = rules_and_facts(event("09:00", "created", priority="P3"))


def due(facts: Sequence[Fact], taken: Sequence[Fact]) -> str:
    (clock,) = judge(in_order([*facts, *taken]), RULES, at_us("09:40"))
    return f"{instant(clock.due_us):%H:%M}"


def heard(event: SlaDueInherited, at: int, sequence: int) -> Recorded:
    return Recorded(
        writer="sla",
        stream_id=event.stream_id,
        sequence=sequence,
        event_id=UUID(int=sequence),
        time=instant(at),
        recorded_at=instant(at),
        data=event,
        actor="sla",
        correlation_id="test",
        causation_id=None,
        history=False,
        value=b"",
    )


def test_a_due_time_reaches_the_end_of_a_chain_whoever_is_asked_first() -> None:
    early, late = at_us("09:10"), at_us("09:20")
    for giver, heir, last in ((WHOLE, PART, LAST), (LAST, PART, WHOLE)):
        given = {str(giver): [Bequest(heir, early)], str(heir): [Bequest(last, late)]}
        facts = {str(giver): URGENT, str(heir): USUAL}
        taken = passed_on(given, facts, RULES)
        assert {name: due(USUAL, one) for name, one in taken.items()} == {
            str(heir): "10:00",
            str(last): "10:00",
        }


def test_tickets_that_hand_over_to_each_other_come_to_an_end() -> None:
    given = {
        str(WHOLE): [Bequest(PART, at_us("09:10"))],
        str(PART): [Bequest(WHOLE, at_us("09:20"))],
    }
    taken = passed_on(given, {str(WHOLE): URGENT, str(PART): USUAL}, RULES)
    assert due(USUAL, taken[str(PART)]) == due(URGENT, taken[str(WHOLE)]) == "10:00"


@pytest.mark.parametrize("number", [0, 1])
def test_what_one_giver_hands_over_twice_is_told_once_each(number: int) -> None:
    handed = [Bequest(PART, at_us("09:10")), Bequest(PART, at_us("09:30"))]
    dues = [{"resolution": at_us("10:00")}, {"resolution": at_us("10:15")}]
    journal: list[Recorded] = []
    for bequest, due_us in zip(handed, dues, strict=True):
        for said in inherited(WHOLE, bequest, due_us, told_heir(journal)):
            journal.append(heard(said, bequest.at_us, len(journal) + 1))
    assert len(journal) == 2
    assert list(inherited(WHOLE, handed[number], dues[number], told_heir(journal))) == []


def test_a_giver_that_was_paused_between_its_two_handovers_buys_no_time() -> None:
    _, paused = rules_and_facts(
        event("09:00", "created", priority="P1"),
        event("09:12", "held"),
        event("09:27", "resumed"),
    )
    given = {str(WHOLE): [Bequest(PART, at_us("09:10")), Bequest(PART, at_us("09:30"))]}
    taken = passed_on(given, {str(WHOLE): paused}, RULES)[str(PART)]
    dues = [f"{instant(cap.due_us):%H:%M}" for cap in caps_of(taken)["resolution"]]
    assert dues == ["10:00", "10:15"]
    assert due(USUAL, taken) == "10:00"
