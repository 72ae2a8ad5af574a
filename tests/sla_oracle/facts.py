"""The history replayed: facts in total order, and the ticket's state after each instant."""

from dataclasses import dataclass, field, replace
from typing import Any

from .calendar import seconds

Condition = str | dict[str, Any]
FROM_ROUTING = ("ticket.prioritized", "ticket.assigned")
NOT_HELD = object()


def same(one: Any, other: Any) -> bool:
    """Tell whether two values of a field are the same: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other


@dataclass(frozen=True)
class Fact:
    """One fact; `position` is where the file lists it first."""

    time: int
    recorded: int
    position: int
    type: str
    data: dict[str, Any]

    def order(self) -> tuple[int, bool, int]:
        """Return what sorts facts: time, intake before routing, the writer's own sequence."""
        return self.time, self.type in FROM_ROUTING, self.position

    def fields(self) -> dict[str, Any]:
        """Return the ticket fields that the fact sets."""
        if self.type == "ticket.updated":
            return self.data["fields"]
        return self.data if self.type in ("ticket.created", *FROM_ROUTING) else {}

    def fires(self, condition: Condition) -> bool:
        """Tell whether the fact is what `condition` names; field conditions are not facts."""
        word = self.type.removeprefix("ticket.")
        if condition == "requester_message":
            return word == "commented" and self.data["author"] == "requester"
        if condition == "agent_reply":
            is_agent = word == "commented" and self.data["author"] == "agent"
            return is_agent and self.data.get("public", True)
        if isinstance(condition, str) and condition.startswith("held:"):
            return word == "held" and self.data.get("reason") == condition.removeprefix("held:")
        return condition == word


@dataclass
class Instant:
    """Everything that is true after one instant, and what happened at it."""

    time: int
    facts: list[Fact] = field(default_factory=list)
    fields: dict[str, Any] = field(default_factory=dict)
    fields_before: dict[str, Any] = field(default_factory=dict)
    held: Any = NOT_HELD
    resolved: bool = False
    closed: bool = False

    def took(self, condition: Condition) -> bool:
        """Tell whether a field took the value of `condition` at this instant."""
        if isinstance(condition, str):
            return False
        return all(
            same(self.fields.get(name), value) and not same(self.fields_before.get(name), value)
            for name, value in condition.items()
        )

    def pauses(self, conditions: list[Condition]) -> bool:
        """Tell whether any of a definition's pauses holds."""
        return any(self.in_state(condition) for condition in conditions)

    def in_state(self, condition: Condition) -> bool:
        """Tell whether one pause holds."""
        if not isinstance(condition, str):
            return all(same(self.fields.get(name), value) for name, value in condition.items())
        if condition == "held":
            return self.held is not NOT_HELD
        if condition.startswith("held:"):
            return self.held == condition.removeprefix("held:")
        return self.resolved if condition == "resolved" else self.closed


def listed_facts(scenario: dict[str, Any]) -> list[Fact]:
    """Return the facts in total order; a repeated id is one, known since its earliest record."""
    facts: dict[str, Fact] = {}
    for position, event in enumerate(scenario["events"]):
        time = seconds(event["time"])
        recorded = seconds(event["recorded_at"]) if event.get("recorded_at") else time
        identity = event.get("id", f"at position {position}")
        fact = Fact(time, recorded, position, event["type"], event.get("data", {}))
        known = facts.setdefault(identity, fact)
        facts[identity] = replace(known, recorded=min(recorded, known.recorded))
    return sorted(facts.values(), key=Fact.order)


def replay(facts: list[Fact], moments: set[int]) -> list[Instant]:
    """Return the instants in order: those of the facts, and `moments` at which rules change."""
    instants: list[Instant] = []
    now = Instant(time=-(10**12))
    for time in sorted({fact.time for fact in facts} | moments):
        happened = [fact for fact in facts if fact.time == time]
        now = Instant(
            time=time,
            facts=happened,
            fields=dict(now.fields),
            fields_before=now.fields,
            held=now.held,
            resolved=now.resolved,
            closed=now.closed,
        )
        for fact in happened:
            now.fields.update(fact.fields())
            act(now, fact)
        instants.append(now)
    return instants


def act(now: Instant, fact: Fact) -> None:
    """Change the states that pauses look at."""
    word = fact.type.removeprefix("ticket.")
    if word == "held":
        now.held = fact.data.get("reason")
    if word in ("resumed", "resolved", "closed", "cancelled"):
        now.held = NOT_HELD
    if word == "resolved":
        now.resolved = True
    if word == "closed":
        now.closed = True
    if word == "reopened":
        now.resolved = now.closed = False
