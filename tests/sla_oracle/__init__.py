"""An independent, slow evaluator of SLA scenarios, written from the text of their semantics.

It shares no code with the product. Where both disagree, one of them has misread the text.
"""

from typing import Any

from .calendar import answer, seconds, text
from .clocks import Rules, ledger
from .emitted import Publisher
from .facts import Fact, listed_facts


def parts(scenario: dict[str, Any]) -> tuple[Rules, list[Fact], int]:
    """Return the rules, the facts that count, and where open clocks are read."""
    facts = listed_facts(scenario)
    last = max(fact.time for fact in facts)
    until = seconds(scenario["until"]) if scenario.get("until") else last
    return Rules(scenario), [fact for fact in facts if fact.time <= until], until


def actual(scenario: dict[str, Any]) -> dict[str, Any]:
    """Return what `desk sla simulate --json` must print under `actual`."""
    rules, facts, until = parts(scenario)
    readings = ledger(rules, facts, until, rules.takeovers())
    warnings = []
    for reading in readings:
        clock = reading.clock
        key = {"target": clock.target, "cycle": clock.cycle, "generation": clock.generation}
        warnings += [{**key, "rule": rule, "at": text(at)} for _, at, rule in reading.warnings()]
    known_at = []
    for asked in scenario.get("expect", {}).get("known_at", ()):
        instant = seconds(asked["recorded_at"])
        known = [fact for fact in facts if fact.recorded <= instant]
        rows = [reading.row() for reading in ledger(rules, known, instant, rules.takeovers())]
        known_at.append({"recorded_at": asked["recorded_at"], "clocks": rows})
    questions = scenario.get("arithmetic", ())
    return {
        "clocks": [reading.row() for reading in readings],
        "warnings": warnings,
        "emitted": Publisher(rules, facts, until).run(),
        "known_at": known_at,
        "arithmetic": [answer(asked, rules.calendars[asked["calendar"]]) for asked in questions],
    }
