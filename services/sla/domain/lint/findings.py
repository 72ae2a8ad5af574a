"""What the linter can find, and how it says so."""

from typing import Literal

import msgspec

Severity = Literal["error", "warning"]
Code = Literal[
    # calendars
    "calendar_twice",
    "zone_unknown",
    "holiday_no_date",
    "holiday_twice",
    "special_day_no_date",
    "special_day_is_holiday",
    "windows_overlap",
    "calendar_never_opens",
    "calendar_ends",
    "calendar_unused",
    # versions
    "version_twice",
    "effective_from_not_rising",
    "version_never_in_force",
    # definitions of one name, beside each other
    "definitions_differ",
    "definition_shadowed",
    "definition_never_matches",
    "priority_gap",
    # one definition
    "calendar_missing",
    "calendar_closed",
    "goal_unreachable",
    "day_end_in_utc",
    "start_is_stop",
    "start_without_effect",
    "stop_never_comes",
    "pause_excludes_start",
    "pause_is_always",
    "condition_twice",
    "field_unknown",
    "priority_unknown",
    "warning_before_start",
    "warning_twice",
    "on_change_without_effect",
    "keep_pauses_without_effect",
]


class Finding(msgspec.Struct, frozen=True):
    """Something to mend (an error), or to look at (a warning).

    `pointer` leads to it in the file (RFC 6901); `message` says what it is and what to do.
    """

    severity: Severity
    code: Code
    pointer: str
    message: str


def error(code: Code, pointer: str, message: str) -> Finding:
    """Return what cannot have been meant, or cannot be published."""
    return Finding("error", code, pointer, message)


def warning(code: Code, pointer: str, message: str) -> Finding:
    """Return what may have been meant otherwise."""
    return Finding("warning", code, pointer, message)


def step(name: str) -> str:
    """Return one step of a JSON pointer, escaped. Source: RFC 6901, 3."""
    return name.replace("~", "~0").replace("/", "~1")


def told(value: object) -> str:
    """Return a value as the file has it."""
    return msgspec.json.encode(value).decode()
