"""Which promises end with a version of the rules."""

from typing import Any

import msgspec
from support.scenarios import policy, target

from services.sla.domain.clocks.rulebook import PolicyVersion, Rulebook, rulebook
from services.sla.domain.outlook.endings import Ended, ended
from shared.calendar import ROUND_THE_CLOCK, instant_us, round_the_clock
from shared.contracts.promises import Target

AT_US = instant_us("2025-06-02T10:00:00Z")
RANKS = ["P1", "P2", "P3", "P4"]


def book(policies: list[dict[str, Any]]) -> Rulebook:
    versions = [
        PolicyVersion(
            policy_id=one["id"],
            version=one["version"],
            effective_us=instant_us(one["effective_from"]),
            targets=msgspec.convert(one["targets"], tuple[Target, ...]),
        )
        for one in policies
    ]
    return rulebook(versions, {ROUND_THE_CLOCK: round_the_clock()})


def lost(
    before: list[dict[str, Any]], *after: dict[str, Any], others: tuple[dict[str, Any], ...] = ()
) -> list[Ended]:
    old = [policy(*before), *others]
    new = policy(*after, version=2, effective_from="2025-06-02T10:00:00Z")
    return list(ended(book(old), book([*old, new]), AT_US))


def ranked(name: str, *ranks: str, **more: Any) -> dict[str, Any]:
    return {**target(3600), "name": name, "when": {"priority": list(ranks), **more}}


def plain(name: str, **when: Any) -> dict[str, Any]:
    return {**target(3600), "name": name, "when": when}


def test_a_target_that_is_gone_ends_for_every_priority_it_had() -> None:
    before = [plain("resolution"), *(ranked("response", rank) for rank in RANKS)]
    assert lost(before, plain("resolution")) == [Ended("standard", "response", {"priority": RANKS})]


def test_the_same_promises_in_other_words_end_nothing() -> None:
    before = [ranked("response", "P1", "P2"), ranked("response", "P3", "P4")]
    kinds = [ranked("response", *RANKS, kind=kind) for kind in ("incident", "service_request")]
    assert lost(before, *kinds) == []
    assert lost(before, plain("response")) == []


def test_another_goal_is_still_a_promise() -> None:
    assert lost([plain("response")], {**plain("response"), "goal": {"working_days": 3}}) == []


def test_the_priorities_left_out_are_named() -> None:
    assert lost([plain("response")], ranked("response", "P1")) == [
        Ended("standard", "response", {"priority": ["P2", "P3", "P4"]})
    ]


def test_what_no_rule_names_is_null() -> None:
    assert lost([plain("response")], plain("response", site="north")) == [
        Ended("standard", "response", {"site": [None]})
    ]


def test_true_is_not_one() -> None:
    assert lost([plain("response", line=1)], plain("response", line=True)) == [
        Ended("standard", "response", {"line": [1]})
    ]


def test_a_promise_by_date_ends_with_its_date() -> None:
    dated = {**plain("response"), "goal": {"date_field": "wanted"}}
    (found,) = lost([dated], plain("other"))
    assert (found.target, list(found.when)) == ("response", ["wanted"])


def test_another_policy_may_go_on_with_it() -> None:
    other = {**policy(plain("response")), "id": "other"}
    assert lost([plain("response")], plain("resolution"), others=(other,)) == []


def test_a_withdrawn_policy_promises_nothing() -> None:
    assert lost([plain("response")]) == [Ended("standard", "response", {})]
