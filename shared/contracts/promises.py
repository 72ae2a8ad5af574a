"""What a policy says: targets, their goals, and when their clocks start, stop, pause and warn.

The same shape in `sla.policy_published`, in the file that publishes it, and in a scenario.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.contracts.base import INTEGER_MAX, Key, at_most

ClockKind = Literal["sla", "ola", "uc"]
DayEnd = Literal["same_time", "end_of_day"]
FieldName = Annotated[str, at_most(characters=200)]
Word = Annotated[str, at_most(characters=1_000)]
Number = Annotated[int, at_most(number=INTEGER_MAX, least=-INTEGER_MAX)]
Value = Word | Number | float | bool | None
"""The value of a ticket's field; null is not set."""

_SECONDS_MAX = 10_000_000_000
_DAYS_MAX = 100_000

FieldIs = Annotated[dict[FieldName, Value], at_most(entries=1)]
"""One field and the value it takes, or has."""
Condition = Word | FieldIs
"""A fact of the ticket, or a field that takes a value. `Target` checks which words there are, since
msgspec 0.22 frees the type of a union wrongly that has both a pattern and a map."""
Conditions = Annotated[tuple[Condition, ...], Meta(min_length=1, max_length=100)]

FACTS: Final = (
    *("created", "assigned", "started", "requester_message", "agent_reply"),
    *("held", "resumed", "resolved", "closed", "reopened"),
)
STATES: Final = ("held", "resolved", "closed")
HELD_FOR: Final = "held:"


class Goal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is promised, in exactly one of three ways.

    `working_seconds` of unpaused working time; `working_days`, ending `at` the same time of day or
    at the end of it; or the instant in the ticket's field `date_field`.
    """

    working_seconds: Annotated[int, Meta(ge=1, le=_SECONDS_MAX)] | UnsetType = UNSET
    working_days: Annotated[int, Meta(ge=1, le=_DAYS_MAX)] | UnsetType = UNSET
    at: DayEnd | UnsetType = UNSET
    date_field: Annotated[FieldName, Meta(min_length=1)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Refuse none, and more than one."""
        given = (self.working_seconds, self.working_days, self.date_field)
        if given.count(UNSET) != len(given) - 1:
            raise ValueError("give one of working_seconds, working_days, date_field")
        if self.at is not UNSET and self.working_days is UNSET:
            raise ValueError("at belongs to working_days")


class WarnRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When to warn, in exactly one of four ways; seconds are working time."""

    percent: (
        Annotated[int, Meta(gt=0, le=1000)] | Annotated[float, Meta(gt=0, le=1000)] | (UnsetType)
    ) = UNSET
    before_due_seconds: Annotated[int, Meta(ge=0, le=_SECONDS_MAX)] | UnsetType = UNSET
    before_due_working_days: Annotated[int, Meta(ge=1, le=_DAYS_MAX)] | UnsetType = UNSET
    after_due_seconds: Annotated[int, Meta(ge=0, le=_SECONDS_MAX)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Refuse none, and more than one."""
        given = msgspec.structs.astuple(self)
        if given.count(UNSET) != len(given) - 1:
            names = ", ".join(self.__struct_fields__)
            raise ValueError(f"give one of {names}")


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The definition of a target: which tickets it is for, what is promised, what moves its clock.

    Clocks are counted per `name`; definitions of one name share `start`, `stop`, `cycle` and
    `on_reopen`. The words are explained in docs/sla.md.
    """

    name: Key
    kind: ClockKind
    calendar: Key = "24x7"
    when: Annotated[
        dict[FieldName, Value | Annotated[tuple[Value, ...], Meta(min_length=1, max_length=1_000)]],
        Meta(max_length=100),
    ] = {}
    goal: Goal
    start: Conditions
    stop: Conditions
    pause: Annotated[tuple[Condition, ...], Meta(max_length=100)] = ()
    cycle: Literal["once", "repeat"] = "once"
    on_reopen: Literal["continue", "new_cycle", "ignore"] = "continue"
    on_change: Literal["ticket_start", "change_time", "carry_elapsed"] = "ticket_start"
    keep_pauses: bool = True
    warn: Annotated[tuple[WarnRule, ...], Meta(max_length=100)] = ()

    def __post_init__(self) -> None:
        """Refuse words that are no condition, and a condition on no field or on several."""
        for name, words in (("start", FACTS), ("stop", FACTS), ("pause", STATES)):
            conditions: tuple[Condition, ...] = getattr(self, name)
            for place, condition in enumerate(conditions):
                if isinstance(condition, dict):
                    if len(condition) != 1:
                        raise ValueError(f"/{name}/{place}: name one field")
                elif condition not in words and not _is_held_for(condition):
                    known = ", ".join((*words, "held:<reason>"))
                    raise ValueError(
                        f"/{name}/{place}: {condition!r} is none of {known}, nor a field"
                    )


def _is_held_for(condition: str) -> bool:
    return condition.startswith(HELD_FOR) and len(condition) > len(HELD_FOR)


AppliesTo = Literal["new", "running"]
Targets = Annotated[tuple[Target, ...], at_most(items=200, bytes=600_000)]
