"""What the linter looks for in one definition: goal, calendar, fields, warnings, changes."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Final, NamedTuple

from msgspec import UNSET

from services.sla.domain.clocks.facts import FIELDS
from services.sla.domain.files.placed import Placed
from services.sla.domain.files.scenario import CalendarPart
from services.sla.domain.lint.calendars import opened_dates
from services.sla.domain.lint.findings import Finding, error, step, told, warning
from shared.calendar import (
    EARLIEST_US,
    LATEST_US,
    ROUND_THE_CLOCK,
    SEARCH_YEARS_MAX,
    SECOND_US,
    WorkingCalendar,
    microseconds,
)
from shared.contracts.promises import Condition, Goal, Target, Value, WarnRule
from shared.errors import InvalidInputError

RANKS: Final = ("P1", "P2", "P3", "P4")
_DAY_US: Final = 86_400 * SECOND_US
_SEARCH_US: Final = SEARCH_YEARS_MAX * 366 * _DAY_US


class LintContext(NamedTuple):
    """What a definition is judged against: calendars by name, and all definitions of the file.

    `is_whole`: there are no other calendars than these.
    """

    parts: Mapping[str, CalendarPart]
    calendars: Mapping[str, WorkingCalendar]
    definitions: Sequence[Placed]
    is_whole: bool


def check_target(definition: Placed, around: LintContext) -> Iterator[Finding]:
    """Yield what is wrong with one definition, its conditions apart."""
    target, pointer = definition.target, definition.pointer
    yield from _reach(definition, around)
    yield from _day_end(target, pointer)
    yield from _fields(target, pointer)
    yield from _ranks(target, pointer)
    yield from _warnings(target, pointer)
    yield from _changes(definition, around)


# --- Goal and calendar -----------------------------------------------------------------------


def _reach(definition: Placed, around: LintContext) -> Iterator[Finding]:
    target, pointer = definition.target, definition.pointer
    name = target.calendar
    if name not in around.parts and name != ROUND_THE_CLOCK:
        yield _missing(name, f"{pointer}/calendar", is_whole=around.is_whole)
        return
    calendar = around.calendars.get(name)
    from_us = max(microseconds(definition.policy.effective_from), EARLIEST_US)
    if calendar is None:
        return  # the calendar itself has an error
    if from_us >= LATEST_US:
        yield warning(
            "version_never_in_force",
            pointer.partition("/targets")[0] + "/effective_from",
            "Calendars reach to the year 2199, and this version comes later; give it an earlier"
            " instant.",
        )
        return
    starts_us = [from_us, *_special_start(around.parts.get(name), from_us)]
    if not any(_is_reached(calendar, Goal(date_field=name), start_us) for start_us in starts_us):
        yield error(
            "calendar_closed",
            f"{pointer}/calendar",
            f"{name!r} does not open within {SEARCH_YEARS_MAX} years of"
            f" {told(definition.policy.effective_from)}; give it a window, or name another.",
        )
    elif not any(_is_reached(calendar, target.goal, start_us) for start_us in starts_us):
        yield error(
            "goal_unreachable",
            f"{pointer}/goal",
            f"{name!r} does not hold so much within {SEARCH_YEARS_MAX} years of"
            f" {told(definition.policy.effective_from)}; promise less, or open it longer.",
        )


def _missing(name: str, pointer: str, *, is_whole: bool) -> Finding:
    if is_whole:
        words = f"No calendar is called {name!r}; add one to calendars, or name another."
        return error("calendar_missing", pointer, words)
    words = f"No calendar is called {name!r} here; publish it too, unless the desk has it."
    return warning("calendar_missing", pointer, words)


def _special_start(part: CalendarPart | None, from_us: int) -> Iterator[int]:
    """Yield an instant just before the first special day that opens after `from_us`."""
    for day in () if part is None else opened_dates(part):
        before_us = microseconds(datetime.combine(day, time(), UTC)) - _DAY_US
        if from_us < before_us < LATEST_US:
            yield before_us
            return


def _is_reached(calendar: WorkingCalendar, goal: Goal, from_us: int) -> bool:
    try:
        if goal.working_seconds is not UNSET:
            reached_us = calendar.add_us(from_us, goal.working_seconds * SECOND_US)
        elif goal.working_days is not UNSET:
            at = "same_time" if goal.at is UNSET else goal.at
            reached_us = calendar.add_days_us(from_us, goal.working_days, at)
        else:
            reached_us = calendar.next_opening_us(from_us)
    except InvalidInputError:
        return False
    return reached_us - from_us <= _SEARCH_US


def _day_end(target: Target, pointer: str) -> Iterator[Finding]:
    if target.calendar == ROUND_THE_CLOCK and target.goal.at == "end_of_day":
        yield warning(
            "day_end_in_utc",
            f"{pointer}/goal/at",
            f"{ROUND_THE_CLOCK} ends its days at midnight UTC; name a calendar in your own zone, or"
            " leave `at` out.",
        )


# --- Fields ----------------------------------------------------------------------------------


def _fields(target: Target, pointer: str) -> Iterator[Finding]:
    named = [(name, f"/when/{step(name)}") for name in target.when]
    named.extend((name, below) for name, _, below in _field_conditions(target))
    if target.goal.date_field is not UNSET:
        named.append((target.goal.date_field, "/goal/date_field"))
    for name, below in named:
        if name not in FIELDS:
            yield warning(
                "field_unknown",
                pointer + below,
                f"A live ticket has no field {name!r}; name one of {', '.join(FIELDS)}.",
            )


def _ranks(target: Target, pointer: str) -> Iterator[Finding]:
    """Yield priorities that no live ticket has."""
    wanted = target.when.get("priority")
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    named = [(value, "/when/priority") for value in values]
    for name, value, below in _field_conditions(target):
        if name == "priority":
            named.append((value, below))
    for value, below in named:
        if value is not None and value not in RANKS:
            yield warning(
                "priority_unknown",
                pointer + below,
                f"A live ticket never has the priority {told(value)}; name one of"
                f" {', '.join(RANKS)}.",
            )


def _field_conditions(target: Target) -> Iterator[tuple[str, Value, str]]:
    """Yield the fields that conditions name, their values, and where they do."""
    for key in ("start", "stop", "pause"):
        conditions: tuple[Condition, ...] = getattr(target, key)
        for place, condition in enumerate(conditions):
            if isinstance(condition, dict):
                for name, value in condition.items():
                    yield name, value, f"/{key}/{place}"


# --- Warnings and changes --------------------------------------------------------------------


def _warnings(target: Target, pointer: str) -> Iterator[Finding]:
    for place, rule in enumerate(target.warn):
        field = f"{pointer}/warn/{place}"
        if rule in target.warn[:place]:
            yield warning("warning_twice", field, f"{told(rule)} is there twice; remove one.")
        yield from _before_the_start(rule, target.goal, field)


def _before_the_start(rule: WarnRule, goal: Goal, field: str) -> Iterator[Finding]:
    seconds, days = rule.before_due_seconds, rule.before_due_working_days
    if seconds is not UNSET and goal.working_seconds is not UNSET:
        if seconds > goal.working_seconds:
            yield warning(
                "warning_before_start",
                f"{field}/before_due_seconds",
                f"{seconds} seconds are more than the goal, so that it warns at once; write at most"
                f" {goal.working_seconds}.",
            )
    elif days is not UNSET and goal.working_days is not UNSET and days > goal.working_days:
        yield warning(
            "warning_before_start",
            f"{field}/before_due_working_days",
            f"{days} working days are more than the goal, so that it does not warn unless a pause"
            f" moves the due date; write at most {goal.working_days}.",
        )


def _changes(definition: Placed, around: LintContext) -> Iterator[Finding]:
    """Yield rules for taking over that change nothing."""
    target, pointer = definition.target, definition.pointer
    same = [one for one in around.definitions if one.target.name == target.name]
    is_alone = len(same) == 1 and not target.when and target.goal.date_field is UNSET
    if is_alone and target.on_change != "ticket_start":
        yield warning(
            "on_change_without_effect",
            f"{pointer}/on_change",
            f"This is the only definition of {target.name!r} and holds for every ticket, so that it"
            " never takes over; remove on_change.",
        )
    if target.keep_pauses:
        return
    reason = None
    if target.on_change == "change_time":
        reason = "With change_time nothing before the change counts"
    elif not target.pause:
        reason = "The target has no pause"
    elif is_alone:
        reason = f"This is the only definition of {target.name!r} and never takes over"
    if reason is not None:
        yield warning(
            "keep_pauses_without_effect",
            f"{pointer}/keep_pauses",
            f"{reason}, so that keep_pauses changes nothing; remove it.",
        )
