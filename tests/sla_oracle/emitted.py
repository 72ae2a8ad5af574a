"""What was published: at every moment the ledger is made anew and compared with what was said."""

from typing import Any

from .calendar import text
from .clocks import Reading, Rules, ledger
from .facts import Fact

Key = tuple[str, int, int]
ENDS = {"met": "met", "missed": "missed"}


class Publisher:
    """Remembers what was said of each clock."""

    def __init__(self, rules: Rules, facts: list[Fact], until: int) -> None:
        self.rules = rules
        self.facts = facts
        self.until = until
        self.takeovers = rules.takeovers()
        self.places = {name: place for place, name in enumerate(rules.targets)}
        self.said: list[dict[str, Any]] = []
        self.started: set[Key] = set()
        self.breached: dict[Key, int] = {}
        self.ended: dict[Key, tuple[str, int]] = {}
        self.warned: set[tuple[Key, str]] = set()

    def say(self, word: str, key: Key, time: int, rule: dict[str, Any] | None = None) -> None:
        """Publish."""
        target, cycle, generation = key
        said = {"type": f"sla.{word}", "target": target, "cycle": cycle}
        said |= {"generation": generation, "time": text(time)}
        self.said.append(said if rule is None else {**said, "rule": rule})

    def run(self) -> list[dict[str, Any]]:
        """Return everything published, in order."""
        known_rules = {instant for instant in self.takeovers if instant <= self.until}
        for moment in sorted({fact.recorded for fact in self.facts} | known_rules):
            known = [fact for fact in self.facts if fact.recorded < moment]
            self.timers(moment, known, {time for time in self.takeovers if time < moment})
            self.news(moment)
        self.timers(self.until, self.facts, self.takeovers)
        return self.said

    def timers(self, moment: int, known: list[Fact], before: set[int]) -> None:
        """Publish the warnings and breaches due before the moment, as known before it."""
        if not known:
            return
        due = []
        for reading in ledger(self.rules, known, moment, before):
            due += self.timers_of(reading, moment)
        for time, is_breach, place, cycle, generation, _, rule in sorted(due, key=key_of):
            key = (list(self.places)[place], cycle, generation)
            if is_breach:
                self.breached[key] = time
                self.say("breached", key, time)
            else:
                self.warned.add((key, str(rule)))
                self.say("warned", key, time, rule)

    def timers_of(self, reading: Reading, moment: int) -> list[tuple[Any, ...]]:
        """Return the timers of one clock that are due and were not published."""
        key = key_of_clock(reading)
        order = (self.places[key[0]], *key[1:])
        found: list[tuple[Any, ...]] = []
        for place, at, rule in reading.warnings():
            if at < moment and (key, str(rule)) not in self.warned:
                found.append((at, False, *order, place, rule))
        if reading.breached is not None and reading.due < moment and key not in self.breached:
            found.append((reading.due, True, *order, 0, None))
        return found

    def news(self, moment: int) -> None:
        """Publish what the facts recorded at the moment, or its new rules, change."""
        known = [fact for fact in self.facts if fact.recorded <= moment]
        if not known:
            return
        readings = ledger(self.rules, known, moment, self.takeovers)
        now = {key_of_clock(reading): reading for reading in readings}
        everyone = now.keys() | self.started
        for key in sorted(everyone, key=lambda key: (self.places[key[0]], *key[1:])):
            self.news_of(key, now.get(key), moment)
        self.started &= now.keys()
        self.ended = {key: end for key, end in self.ended.items() if key in now}
        self.warned = {(key, rule) for key, rule in self.warned if key in now}

    def news_of(self, key: Key, reading: Reading | None, moment: int) -> None:
        """Publish the news of one clock."""
        breached = reading.breached if reading else None
        if reading and key not in self.started:
            self.started.add(key)
            self.say("started", key, reading.clock.started)
        if reading and reading.clock.ended is None:
            self.ended.pop(key, None)
        if key in self.breached and self.breached[key] != breached:
            del self.breached[key]
            self.say("breach_retracted", key, moment)
        if reading and breached is not None and key not in self.breached:
            self.breached[key] = breached
            self.say("breached", key, breached)
        if reading and reading.clock.ended is not None:
            end = ENDS.get(reading.outcome(), "cancelled"), reading.clock.ended
            if self.ended.get(key) != end:
                self.ended[key] = end
                self.say(end[0], key, end[1])


def key_of(timer: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what sorts timers: all but the rule."""
    return timer[:-1]


def key_of_clock(reading: Reading) -> Key:
    """Return what names a clock."""
    return reading.clock.target, reading.clock.cycle, reading.clock.generation
