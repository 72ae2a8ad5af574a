"""What a new version of the rules would change for clocks that run."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from support.scenarios import case, event, policy, target

from services.sla.domain.clocks.history import in_order
from services.sla.domain.clocks.rulebook import Rulebook, rulebook
from services.sla.domain.files.reading import calendars_of, facts_of, policy_version
from services.sla.domain.files.scenario import Scenario
from services.sla.domain.outlook.preview import CLOCKS_MAX, ChangedClocks, ClockChange, changes
from shared.calendar import microseconds

TEN = datetime(2025, 6, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
FACTS = [event("09:00", "created", site="north")]


def shaped(*events: dict[str, Any], policies: list[dict[str, Any]]) -> Scenario:
    return msgspec.convert(case(*(events or FACTS), policies=policies), Scenario)


def rules(scenario: Scenario) -> Rulebook:
    parts = [policy_version(part) for part in scenario.policies]
    return rulebook(parts, calendars_of(scenario.calendars))


def found(
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
    *events: dict[str, Any],
    at: datetime = TEN,
) -> list[ClockChange]:
    """Return what changes for a ticket, created at nine, when the policies become others."""
    known, wanted = shaped(*events, policies=before), shaped(*events, policies=after)
    facts = in_order(facts_of(known))
    return list(changes("t", facts, rules(known), rules(wanted), microseconds(at)))


def version(*targets: dict[str, Any], applies_to: str = "running", at: str = "10:00") -> Any:
    return policy(*targets, version=2, applies_to=applies_to, effective_from=f"2025-06-02T{at}:00Z")


TWO_HOURS, THREE_HOURS = target(7200), target(3 * 3600)
BEFORE = [policy(TWO_HOURS)]
DUE_BEFORE, DUE_AFTER = TEN + HOUR, TEN + 2 * HOUR


def test_the_same_rules_change_nothing() -> None:
    assert found(BEFORE, BEFORE) == []


def test_a_version_for_running_clocks_moves_them() -> None:
    assert found(BEFORE, [*BEFORE, version(THREE_HOURS)]) == [
        ClockChange("t", "resolution", DUE_BEFORE, DUE_AFTER)
    ]


@pytest.mark.parametrize(
    "added",
    [
        version(THREE_HOURS, applies_to="new"),
        version(THREE_HOURS, at="10:01"),
        version(target(3 * 3600, when={"site": "south"}), TWO_HOURS, applies_to="new"),
    ],
    ids=["for new tickets", "not yet in force", "for other tickets"],
)
def test_a_version_that_does_not_take_over_changes_no_clock(added: Any) -> None:
    assert found(BEFORE, [*BEFORE, added]) == []


def test_a_clock_that_has_ended_stays_as_it_is() -> None:
    resolved = event("09:30", "resolved")
    assert found(BEFORE, [*BEFORE, version(THREE_HOURS)], *FACTS, resolved) == []


def test_a_target_no_longer_promised_loses_its_clock() -> None:
    other = version(target(when={"site": "south"}))
    assert found(BEFORE, [*BEFORE, other]) == [ClockChange("t", "resolution", DUE_BEFORE, None)]


def test_a_target_newly_promised_gets_a_clock() -> None:
    reply = target(7200, name="reply", stop=["agent_reply"])
    assert found(BEFORE, [*BEFORE, version(TWO_HOURS, reply)]) == [
        ClockChange("t", "reply", None, DUE_BEFORE),
        ClockChange("t", "resolution", DUE_BEFORE, DUE_BEFORE),
    ]


def test_a_target_that_only_warns_otherwise_is_another_promise() -> None:
    warned = target(7200, warn=[{"percent": 50}])
    (change,) = found(BEFORE, [*BEFORE, version(warned)])
    assert (change.due_before, change.due_after) == (DUE_BEFORE, DUE_BEFORE)


def test_all_are_counted_and_the_first_are_named() -> None:
    seen = ChangedClocks()
    one = ClockChange("t", "resolution", DUE_BEFORE, None)
    for _ in range(CLOCKS_MAX + 1):
        seen.add([one])
    seen.add([])
    assert (seen.tickets, seen.changed, len(seen.clocks)) == (
        CLOCKS_MAX + 2,
        CLOCKS_MAX + 1,
        CLOCKS_MAX,
    )
    assert ChangedClocks().clocks == []
