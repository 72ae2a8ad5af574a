"""Policies and calendars, checked and prepared: what may apply to a ticket, and when."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import msgspec
from msgspec import UNSET

from shared.calendar import EARLIEST_US, LATEST_US, SECOND_US, WorkingCalendar, instant_us
from shared.contracts.promises import AppliesTo, Condition, Target, Value
from shared.errors import InvalidInputError

Fields = Mapping[str, Value]
"""A ticket's fields by name; what is absent is not set."""

REOPENED: Final = "reopened"
ENDS: Final = ("cancelled", "merged")
STATES: Final = ("held", "resumed", "resolved", "closed", "cancelled", REOPENED)
"""What begins or ends a state that a pause can ask for."""
MESSAGES: Final = ("requester_message", "agent_reply")
"""What rules can ask for of what is said; notes among agents move no clock."""
_SHARED: Final = ("start", "stop", "cycle", "on_reopen")


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """One version of one policy, in force from `effective_us` on.

    `calendars` are the versions of the calendars that it was published with, by name; `pointer`
    leads to it in a file, if it comes from one.
    """

    policy_id: str
    version: int
    effective_us: int
    applies_to: AppliesTo = "new"
    targets: tuple[Target, ...]
    calendars: Mapping[str, int] = {}
    pointer: str = ""


def calendar_version(name: str, version: int | None) -> str:
    """Return the name of one version of a calendar; without a version, the name alone."""
    return name if version is None else f"{name}@{version}"


@dataclass(frozen=True, slots=True)
class ClockConditions:
    """Words and field values, any of which will do."""

    words: frozenset[str]
    fields: tuple[tuple[str, Value], ...]

    @classmethod
    def of(cls, conditions: Iterable[Condition]) -> "ClockConditions":
        """Sort conditions by kind."""
        words: set[str] = set()
        fields: list[tuple[str, Value]] = []
        for condition in conditions:
            if isinstance(condition, str):
                words.add(condition)
            else:
                fields.extend(condition.items())
        return cls(frozenset(words), tuple(fields))


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A target as one version of a policy defines it; of two, each is another definition."""

    policy_id: str
    version: int
    effective_us: int
    target: Target
    calendar: WorkingCalendar
    pause: ClockConditions
    when: tuple[tuple[str, frozenset[tuple[bool, Value]]], ...]
    goal_us: int | None
    days: int | None
    date_field: str | None

    def matches(self, fields: Fields) -> bool:
        """Tell whether a ticket with such fields is promised this; a date not set promises none."""
        for name, values in self.when:
            value = fields.get(name)
            if (isinstance(value, bool), value) not in values:
                return False
        return self.date_field is None or self.date_us(fields) is not None

    def date_us(self, fields: Fields) -> int | None:
        """Return the date promised in the ticket's field, None if it has none."""
        return None if self.date_field is None else read_date(fields.get(self.date_field))


@dataclass(frozen=True, slots=True)
class TargetVersion:
    """What one version of a policy says about one target."""

    effective_us: int
    is_for_running: bool
    definitions: tuple[Definition, ...]


@dataclass(frozen=True, slots=True)
class TargetRules:
    """All that was ever published about one target; its definitions share how its cycles run.

    `words` are the facts and `names` the fields that can move it, beside its `pauses`.
    """

    name: str
    start: ClockConditions
    stop: ClockConditions
    is_repeated: bool
    on_reopen: str
    policies: tuple[tuple[TargetVersion, ...], ...]
    takeovers_us: tuple[int, ...]
    words: frozenset[str]
    names: frozenset[str]
    pauses: frozenset[ClockConditions]

    def matching(self, fields: Fields, opened_us: int, at_us: int) -> Definition | None:
        """Return the definition for a ticket with such fields, of a cycle that opened then.

        Of each policy the version in force at the opening counts, or a later one for running
        cycles that has come into force by `at_us`; of their definitions the first that matches.
        """
        for versions in self.policies:
            for version in reversed(versions):
                effective_us = version.effective_us
                if effective_us <= opened_us or (version.is_for_running and effective_us <= at_us):
                    for definition in version.definitions:
                        if definition.matches(fields):
                            return definition
                    break
        return None


@dataclass(frozen=True)
class Rulebook:
    """The rules of every target, in the order in which they are first named."""

    targets: tuple[TargetRules, ...]
    calendars: Mapping[str, WorkingCalendar]

    @cached_property
    def movers(self) -> tuple[frozenset[str], frozenset[str]]:
        """The words and the fields that may start, stop, change or pause a clock; nothing else."""
        words = frozenset(("created", "inherited")).union(
            *(target.words for target in self.targets)
        )
        names = frozenset[str]().union(*(target.names for target in self.targets))
        for pause in frozenset[ClockConditions]().union(
            *(target.pauses for target in self.targets)
        ):
            if pause.words:
                words |= {*STATES}
            names |= {name for name, _ in pause.fields}
        return words, names

    @cached_property
    def messages(self) -> tuple[str, ...]:
        """What is said that may move a clock."""
        words, _ = self.movers
        return tuple(kind for kind in MESSAGES if kind in words)

    def takeovers_after(self, after_us: int) -> Sequence[int]:
        """Return the instants, past `after_us`, at which versions for running cycles come in."""
        return self._takeovers_us[bisect_right(self._takeovers_us, after_us) :]

    def takeovers_us(self, until_us: int) -> Sequence[int]:
        """Return the instants, up to `until_us`, at which versions for running cycles come in."""
        return self._takeovers_us[: bisect_right(self._takeovers_us, until_us)]

    @cached_property
    def _takeovers_us(self) -> tuple[int, ...]:
        return tuple(sorted({at_us for rules in self.targets for at_us in rules.takeovers_us}))


def rulebook(
    policies: Sequence[PolicyVersion], calendars: Mapping[str, WorkingCalendar]
) -> Rulebook:
    """Prepare policies; of several, the one named first is asked first.

    Raises: InvalidInputError with the pointer (`/policies/<place>…`) of what cannot be: a version
    twice or before its predecessor, a calendar that is not there, or definitions of one target
    that differ in how its cycles run.
    """
    histories: dict[str, list[tuple[PolicyVersion, list[Definition]]]] = {}
    first: dict[str, tuple[Target, str]] = {}
    for place, policy in enumerate(policies):
        base = policy.pointer or f"/policies/{place}"
        definitions: list[Definition] = []
        for number, target in enumerate(policy.targets):
            pointer = f"{base}/targets/{number}"
            _require_alike(target, pointer, *first.setdefault(target.name, (target, pointer)))
            definitions.append(_definition(policy, target, calendars, pointer))
        versions = histories.setdefault(policy.policy_id, [])
        _require_later(policy, base, [version for version, _ in versions])
        versions.append((policy, definitions))
    ordered = [sorted(versions, key=lambda v: v[0].version) for versions in histories.values()]
    return Rulebook(tuple(_rules(target, ordered) for target, _ in first.values()), calendars)


def _rules(
    target: Target, histories: Iterable[list[tuple[PolicyVersion, list[Definition]]]]
) -> TargetRules:
    policies = tuple(
        tuple(
            TargetVersion(
                policy.effective_us,
                policy.applies_to == "running",
                tuple(one for one in definitions if one.target.name == target.name),
            )
            for policy, definitions in versions
        )
        for versions in histories
    )
    takeovers = {v.effective_us for versions in policies for v in versions if v.is_for_running}
    start, stop = ClockConditions.of(target.start), ClockConditions.of(target.stop)
    definitions = [d for versions in policies for version in versions for d in version.definitions]
    named = {name for d in definitions for name in (*(name for name, _ in d.when), d.date_field)}
    return TargetRules(
        target.name,
        start,
        stop,
        target.cycle == "repeat",
        target.on_reopen,
        policies,
        tuple(sorted(takeovers)),
        start.words | stop.words | {*ENDS, REOPENED},
        frozenset(name for name, _ in (*start.fields, *stop.fields)).union(
            name for name in named if name is not None
        ),
        frozenset(definition.pause for definition in definitions),
    )


def _definition(
    policy: PolicyVersion, target: Target, calendars: Mapping[str, WorkingCalendar], pointer: str
) -> Definition:
    pinned = policy.calendars.get(target.calendar)
    calendar = calendars.get(calendar_version(target.calendar, pinned))
    if calendar is None:
        field = f"{pointer}/calendar"
        raise InvalidInputError(f"{field}: no calendar is called {target.calendar!r}", field=field)
    goal = target.goal
    return Definition(
        policy.policy_id,
        policy.version,
        policy.effective_us,
        target,
        calendar,
        ClockConditions.of(target.pause),
        tuple((name, _any_of(wanted)) for name, wanted in target.when.items()),
        None if goal.working_seconds is UNSET else goal.working_seconds * SECOND_US,
        None if goal.working_days is UNSET else goal.working_days,
        None if goal.date_field is UNSET else goal.date_field,
    )


def _any_of(wanted: Value | tuple[Value, ...]) -> frozenset[tuple[bool, Value]]:
    """Return the values to look among; true is not 1."""
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    return frozenset((isinstance(value, bool), value) for value in values)


def _require_alike(target: Target, pointer: str, first: Target, first_pointer: str) -> None:
    for name in _SHARED:
        if getattr(target, name) != getattr(first, name):
            field = f"{pointer}/{name}"
            raise InvalidInputError(
                f"{field}: target {target.name!r} has another {name} at {first_pointer}",
                field=field,
            )


def _require_later(policy: PolicyVersion, pointer: str, others: Iterable[PolicyVersion]) -> None:
    for other in others:
        if other.version == policy.version:
            field = f"{pointer}/version"
            raise InvalidInputError(
                f"{field}: version {policy.version} of {policy.policy_id!r} is there twice",
                field=field,
            )
        if (other.version < policy.version) != (other.effective_us < policy.effective_us):
            field = f"{pointer}/effective_from"
            raise InvalidInputError(
                f"{field}: version {policy.version} of {policy.policy_id!r} must come into force"
                f" {'after' if other.version < policy.version else 'before'}"
                f" version {other.version}",
                field=field,
            )


@lru_cache(maxsize=10_000)
def read_date(value: Value) -> int | None:
    """Return an instant that a ticket's field names, None if it names none that calendars reach."""
    if not isinstance(value, str):
        return None
    try:
        at_us = instant_us(value)
    except ValueError:
        return None
    return at_us if EARLIEST_US <= at_us < LATEST_US else None
