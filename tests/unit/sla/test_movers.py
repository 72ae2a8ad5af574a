"""A fact that rules do not ask for changes no clock, so nobody need judge its ticket again."""

from collections import Counter
from typing import get_args

import msgspec
from sla_oracle.differential import made

from services.sla.domain.clocks.history import FactType, in_order, may_move
from services.sla.domain.clocks.ledger import judge
from services.sla.domain.clocks.rulebook import Rulebook, rulebook
from services.sla.domain.files.reading import calendars_of, facts_of, policy_version
from services.sla.domain.files.scenario import Scenario

SEEDS = range(400)
SOME = 10
ALWAYS = {"created", "inherited", "reopened", "cancelled", "merged"}


def rules_of(case: Scenario) -> Rulebook:
    return rulebook([policy_version(part) for part in case.policies], calendars_of(case.calendars))


def test_without_what_no_rule_asks_for_the_ledger_is_the_same_at_every_instant() -> None:
    left: Counter[FactType] = Counter()
    for seed in SEEDS:
        case = msgspec.convert(made(seed), Scenario)
        rules, facts = rules_of(case), in_order(facts_of(case))
        moving = [one for one in facts if may_move(one, rules)]
        left.update(one.type for one in facts if not may_move(one, rules))
        for at_us in sorted({one.time_us for one in facts}.union(rules.takeovers_us(2**62))):
            assert judge(moving, rules, at_us) == judge(facts, rules, at_us), seed
    rare = {kind for kind in get_args(FactType) if left[kind] < SOME} - ALWAYS
    assert not rare, left
