"""How clocks run, by small cases; the worked examples and the oracle check the rest."""

import msgspec
import pytest
from support.scenarios import at, case, event, outcome, policy, target, told

from services.sla.domain.clocks.history import in_order
from services.sla.domain.clocks.rulebook import rulebook
from services.sla.domain.files.reading import calendars_of, facts_of, policy_version
from services.sla.domain.files.scenario import Scenario
from services.sla.domain.scenarios.simulate import published
from shared.calendar import NoWorkingTimeError, instant, microseconds

CREATED = event("09:00", "created", priority="P3")


def ledger(*events, **more):
    return [
        (c.cycle, c.generation, c.outcome, f"{c.started_at:%H:%M}", f"{c.due_at:%H:%M}")
        for c in outcome(*events, **more).clocks
    ]


@pytest.mark.parametrize(
    ("resolved", "verdict"), [("09:59", "met"), ("10:00", "met"), ("10:01", "missed")]
)
def test_a_stop_at_the_very_deadline_is_in_time(resolved: str, verdict: str) -> None:
    assert ledger(CREATED, event(resolved, "resolved")) == [(1, 1, verdict, "09:00", "10:00")]


def test_a_hold_moves_the_deadline_and_a_second_one_replaces_the_reason() -> None:
    events = (
        CREATED,
        event("09:10", "held", reason="vendor"),
        event("09:20", "held", reason="requester"),
        event("09:50", "resumed"),
    )
    only_vendor = target(pause=["held:vendor"])
    assert ledger(*events, targets=[only_vendor]) == [(1, 1, "open", "09:00", "10:10")]
    assert ledger(*events, targets=[target(pause=["held"])])[0][4] == "10:40"


def test_a_stop_and_a_change_at_one_instant_are_judged_by_the_new_definition() -> None:
    targets = [target(when={"priority": "P1"}), target(7200, when={"priority": "P3"})]
    changed = event("10:30", "prioritized", priority="P1")
    assert ledger(CREATED, changed, event("10:30", "resolved"), targets=targets) == [
        (1, 1, "superseded", "09:00", "11:00"),
        (1, 2, "missed", "09:00", "10:00"),
    ]


@pytest.mark.parametrize(
    ("on_change", "started", "due"),
    [
        ("ticket_start", "09:00", "11:00"),
        ("change_time", "10:00", "12:00"),
        ("carry_elapsed", "09:00", "11:30"),
    ],
)
def test_a_clock_that_takes_over_starts_as_its_own_definition_says(
    on_change: str, started: str, due: str
) -> None:
    before = target(7200, when={"priority": "P3"}, pause=["held"])
    after = target(7200, when={"priority": "P1"}, on_change=on_change)
    events = (
        CREATED,
        event("09:10", "held"),
        event("09:40", "resumed"),
        event("10:00", "prioritized", priority="P1"),
    )
    assert ledger(*events, targets=[before, after])[1] == (1, 2, "open", started, due)


def test_a_repeated_cycle_may_open_by_the_fact_that_stops_the_one_before() -> None:
    ping = target(start=["requester_message"], stop=["requester_message"], cycle="repeat")
    said = (
        event("09:30", "commented", author="requester"),
        event("09:45", "commented", author="requester"),
    )
    assert [c[2] for c in ledger(CREATED, *said, targets=[ping])] == ["met", "open"]


def test_nothing_opens_after_a_merge() -> None:
    again = target(start=["created", "reopened"], cycle="repeat")
    events = (CREATED, event("09:30", "merged", into="T-1"), event("09:40", "reopened"))
    assert [c[2] for c in ledger(*events, targets=[again])] == ["merged"]


def test_a_version_for_running_cycles_takes_over_without_any_event() -> None:
    policies = [
        policy(target()),
        policy(
            target(1800),
            version=2,
            effective_from="2025-06-02T09:20:00Z",
            applies_to="running",
        ),
    ]
    found = outcome(CREATED, policies=policies, until="09:40")
    assert [(c.generation, c.outcome, c.policy_version) for c in found.clocks] == [
        (1, "superseded", 1),
        (2, "missed", 2),
    ]
    assert told(found) == ["09:00 started", "09:20 cancelled", "09:00 started", "09:30 breached"]


def test_a_breach_is_not_erased_by_a_change_of_definition() -> None:
    targets = [target(when={"priority": "P3"}), target(9000, when={"priority": "P1"})]
    found = outcome(CREATED, event("10:30", "prioritized", priority="P1"), targets=targets)
    first, second = found.clocks
    assert (first.outcome, f"{first.breached_at:%H:%M}") == ("superseded", "10:00")
    assert (second.outcome, second.breached_at) == ("open", None)


@pytest.mark.parametrize(
    ("value", "wanted", "matches"),
    [(1, 1.0, True), (1, True, False), (None, None, True), ("1", 1, False), (0, False, False)],
)
def test_field_values_are_compared_as_json_has_them(
    value: object,
    wanted: object,
    matches: bool,  # noqa: FBT001 a case of the table
) -> None:
    found = outcome(event("09:00", "created", size=value), targets=[target(when={"size": wanted})])
    assert bool(found.clocks) is matches


def test_warnings_come_once_and_none_is_back_dated() -> None:
    rules = [{"percent": 50}, {"before_due_seconds": 600}, {"after_due_seconds": 0}]
    targets = [target(7200, when={"priority": "P3"}), target(when={"priority": "P1"}, warn=rules)]
    events = CREATED, event("09:40", "prioritized", priority="P1")
    found = outcome(*events, targets=targets, until="11:00")
    assert [f"{w.at:%H:%M}" for w in found.warnings] == ["09:50", "10:00"]
    assert told(found)[2:] == ["09:00 started", "09:50 warned", "10:00 warned", "10:00 breached"]


def test_percentages_are_exact_and_rounded_up_to_a_second() -> None:
    found = outcome(CREATED, targets=[target(1000, warn=[{"percent": 33.33}, {"percent": 0.1}])])
    assert [w.at.minute * 60 + w.at.second for w in found.warnings] == [334, 1]


def test_a_late_fact_takes_a_breach_back_and_tells_the_end_anew() -> None:
    found = outcome(
        CREATED,
        event("10:30", "closed"),
        event("09:50", "resolved", known="12:00"),
        until="13:00",
    )
    assert told(found) == [
        *("09:00 started", "10:00 breached", "10:30 missed"),
        *("12:00 breach_retracted", "09:50 met"),
    ]


def test_a_late_hold_moves_a_breach() -> None:
    found = outcome(
        CREATED,
        event("09:10", "held", known="10:30"),
        event("09:20", "resumed", known="10:30"),
        targets=[target(pause=["held"])],
        until="11:00",
    )
    assert told(found) == [
        *("09:00 started", "10:00 breached", "10:30 breach_retracted", "10:10 breached")
    ]


def test_the_order_of_arrival_and_repetition_change_nothing() -> None:
    events = [
        {**event("09:00", "created", priority="P3"), "id": "a"},
        {**event("09:10", "held", reason="vendor"), "id": "b"},
        {**event("09:40", "resumed"), "id": "c"},
        {**event("10:20", "resolved"), "id": "d"},
    ]
    targets = [target(pause=["held"], warn=[{"percent": 50}])]
    expected = outcome(*events, targets=targets)
    assert outcome(*reversed(events), *events, targets=targets) == expected


def taken_over(time: str, due: str | None) -> dict:
    """Return a due time inherited at an instant from a ticket called `other`."""
    data = {"target": "resolution", "from_ticket": "other", "due_at": due and at(due)}
    return {**event(time, "updated"), "type": "sla.due_inherited", "data": data}


@pytest.mark.parametrize(
    ("inherited", "due"),
    [
        (("09:10", "09:30"), "09:30"),
        (("09:10", "12:00"), "10:00"),  # later than its own: changes nothing
        (("09:10", None), "10:00"),
        (("09:00", "08:30"), "09:00"),  # overdue before this ticket was there
    ],
)
def test_an_inherited_due_time_only_ever_comes_earlier(
    inherited: tuple[str, str | None], due: str
) -> None:
    assert ledger(CREATED, taken_over(*inherited))[0][4] == due


def test_a_pause_moves_an_inherited_due_time_from_the_merge_on() -> None:
    held = (event("09:05", "held"), event("09:25", "resumed"))
    found = ledger(CREATED, *held, taken_over("09:15", "09:40"), targets=[target(pause=["held"])])
    assert found[0][4] == "09:50"


def test_the_newest_word_of_one_giver_counts() -> None:
    assert ledger(CREATED, taken_over("09:10", "09:30"), taken_over("09:10", None))[0][4] == "10:00"


def test_a_cycle_that_starts_later_inherits_nothing() -> None:
    again = target(start=["created", "reopened"], cycle="repeat", on_reopen="ignore")
    events = (taken_over("09:10", "09:20"), event("09:15", "resolved"), event("09:30", "reopened"))
    assert [clock[4] for clock in ledger(CREATED, *events, targets=[again])] == ["09:20", "10:30"]


def test_an_inherited_due_time_does_not_pass_while_a_pause_lasts() -> None:
    """What was due on a Saturday is due later if the pause lasts into Monday."""
    taken = {"target": "resolution", "from_ticket": "T-2", "due_at": "2025-06-07T20:00:00Z"}
    events = (
        event("2025-06-06T10:00:00Z", "created"),
        event("2025-06-06T12:00:00Z", "held"),
        {"time": "2025-06-07T12:00:00Z", "type": "sla.due_inherited", "data": taken},
        event("2025-06-08T12:00:00Z", "updated", fields={}),
        event("2025-06-10T06:00:00Z", "updated", fields={}),
    )
    targets = [target(36000, pause=["held"], calendar="office")]
    assert told(outcome(*events, targets=targets)) == ["10:00 started"]
    resumed = outcome(*events, event("2025-06-10T06:30:00Z", "resumed"), targets=targets)
    assert [f"{c.due_at:%a %H:%M}" for c in resumed.clocks] == ["Mon 15:00"]
    assert resumed.clocks[0].outcome == "missed"


def test_a_breach_that_a_lasting_pause_moves_is_taken_back_before_it_is_said_again() -> None:
    """Working days end after closing here; the pause since then moves that as days go by."""
    days = ("2025-06-10T04:00:00Z", "2025-06-11T04:00:00Z", "2025-06-12T04:00:00Z")
    found = outcome(
        event("2025-06-06T20:00:00Z", "created"),
        event("2025-06-09T16:00:00Z", "held"),
        *(event(day, "updated", fields={}) for day in days),
        targets=[target(pause=["held"], calendar="office", goal={"working_days": 1})],
    )
    assert told(found)[:4] == [
        *("20:00 started", "15:00 breached", "04:00 breach_retracted", "15:00 breached")
    ]


def test_a_pause_whose_reason_a_late_fact_changes_is_told_anew() -> None:
    events = (
        CREATED,
        event("09:10", "assigned", group="vendor", agent="v"),
        event("09:10", "held", known="09:30", reason="vendor"),
    )
    vendor = target(pause=["held:vendor", {"group": "vendor"}])
    scenario = msgspec.convert(case(*events, targets=[vendor]), Scenario)
    book = rulebook(
        [policy_version(part) for part in scenario.policies], calendars_of(scenario.calendars)
    )
    said = published(in_order(facts_of(scenario)), book, microseconds(scenario.events[-1].time))
    pauses = [(one.reason, f"{instant(one.time_us):%H:%M}") for one in said if one.reason]
    assert pauses == [("group = vendor", "09:10"), ("vendor", "09:10")]


def test_a_goal_that_its_calendar_cannot_reach_is_named_whole() -> None:
    fair = {"id": "fair", "zone": "UTC", "weekly": {}}
    fair["special_days"] = {"2025-06-02": [["09:00", "10:00"]]}
    far = policy(target(7200, calendar="fair"))
    with pytest.raises(NoWorkingTimeError, match=r"'resolution' of policy .* calendar 'fair'"):
        outcome(CREATED, policies=[far], calendars=[fair])
