"""What is wanted of a value, in plain words, whether msgspec or pydantic found the fault.

Both speak Python: `int`, regular expressions, "Input should be". A caller may know none of it.
"""

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from shared.contracts.base import KEY_PATTERN

_INSTANT: Final = "an instant with an offset, such as 2026-01-31T09:00:00Z"
_DATE: Final = "a date such as 2026-01-31"
_UUID: Final = "a UUID such as 0f6c1c3e-3c1f-5a52-9d36-5c3f5b1c9a10"
_TYPES: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "an object",
    "datetime": _INSTANT,
    "date": _DATE,
    "time": "a time such as 09:00:00",
    "uuid": _UUID,
}
PATTERNS: Final[Mapping[str, str]] = {
    KEY_PATTERN: "text on one line, without control characters",
    r"^\d{4}-\d\d-\d\d$": _DATE,
    r"^(\d{4}|-)-\d\d-\d\d$": f"{_DATE}, or --12-25 for one of every year",
    r"^[A-Z]{3}$": "three capital letters, such as EUR",
    r"^([01]\d|2[0-3]):[0-5]\d$": "a time from 00:00 to 23:59",
    r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$": "a time from 00:00 to 24:00",
    r"^[0-9a-f]{64}$": "64 digits of 0-9 and a-f",
}
"""What text of a pattern is. A pattern that is not here is told as it stands."""
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_COUNTED: Final = {
    "str": ("character", "characters"),
    "array": ("entry", "entries"),
    "object": ("entry", "entries"),
}


def one_of(values: Iterable[object]) -> str:
    """Return the words for a choice."""
    return f"must be one of {', '.join(str(value) for value in values)}"


def _bound(sign: str, limit: object) -> str:
    number = f"{limit:g}" if isinstance(limit, float) else str(limit)
    return f"must be {_BOUNDS[sign]} {number.removesuffix('.0')}"


def _length(kind: str, sign: str, count: int) -> str:
    if sign == ">=" and count == 1:
        return "must not be empty"
    bound = "exactly" if sign in {"", "=="} else _BOUNDS[sign]
    one, many = _COUNTED.get(kind, ("entry", "entries"))
    return f"must have {bound} {count} {one if count == 1 else many}"


def _pattern(pattern: str) -> str:
    known = PATTERNS.get(pattern)
    return f"must match the pattern {pattern}" if known is None else f"must be {known}"


def _types(names: str) -> str:
    *most, last = [_TYPES.get(name, name) for name in names.split(" | ")]
    return f"{', '.join(most)} or {last}" if most else last


# --- msgspec -----------------------------------------------------------------------------------

_MSGSPEC: Final[tuple[tuple[str, Callable[[re.Match[str]], str]], ...]] = (
    (r"Expected `(.+)`, got `(.+)`", lambda of: f"must be {_types(of[1])}, not {_types(of[2])}"),
    (r"Expected `(?:int|float|decimal)` (>=|<=|>|<) (.+)", lambda of: _bound(of[1], of[2])),
    (r"Expected `\w+` that's a multiple of (.+)", lambda of: f"must be a multiple of {of[1]}"),
    (
        r"Expected `(str|array|object)` of (?:at least )?length (?:(>=|<=) )?(\d+).*",
        lambda of: _length(of[1], ">=" if " at least " in of[0] else of[2] or "", int(of[3])),
    ),
    (r"Expected `str` matching regex (.+)", lambda of: _pattern(ast.literal_eval(of[1]))),
    (r"Expected `datetime` with .*", lambda _: f"must be {_INSTANT}"),
    (r"Invalid RFC3339 encoded datetime", lambda _: f"must be {_INSTANT}"),
    (r"Invalid RFC3339 encoded date", lambda _: f"must be {_DATE}"),
    (r"Invalid UUID", lambda _: f"must be {_UUID}"),
    (r"Invalid decimal string", lambda _: "must be a number"),
    (r"Invalid (?:enum )?value (.+)", lambda of: f"must not be {of[1]}"),
)


def of_msgspec(complaint: str, allowed: Iterable[object] = ()) -> str:
    """Return what msgspec complains of, without the place; `allowed` are the values of a choice.

    A complaint that a struct's own check words is returned as it is.
    """
    choice = list(allowed)
    if choice:
        got = re.fullmatch(r"Invalid (?:enum )?value (.+)", complaint, re.DOTALL)
        return one_of(choice) + (f", not {got.group(1)}" if got else "")
    for pattern, words in _MSGSPEC:
        if found := re.fullmatch(pattern, complaint, re.DOTALL):
            return words(found)
    return complaint


# --- pydantic ----------------------------------------------------------------------------------


def _choice(expected: str) -> str:
    """Return the words for what pydantic writes as `'a', 'b' or 'c'`."""
    return one_of(re.findall(r"'([^']*)'", expected) or [expected])


_PYDANTIC: Final[tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...]] = (
    ("missing", lambda _: "is required"),
    ("datetime_", lambda _: f"must be {_INSTANT}"),
    ("date_", lambda _: f"must be {_DATE}"),
    ("uuid_", lambda _: f"must be {_UUID}"),
    ("int_", lambda _: "must be a whole number"),
    ("float_", lambda _: "must be a number"),
    ("decimal_", lambda _: "must be a number"),
    ("bool_", lambda _: "must be true or false"),
    ("enum", lambda of: _choice(of["expected"])),
    ("literal_error", lambda of: _choice(of["expected"])),
    ("greater_than_equal", lambda of: _bound(">=", of["ge"])),
    ("less_than_equal", lambda of: _bound("<=", of["le"])),
    ("greater_than", lambda of: _bound(">", of["gt"])),
    ("less_than", lambda of: _bound("<", of["lt"])),
    ("string_too_short", lambda of: _length("str", ">=", of["min_length"])),
    ("string_too_long", lambda of: _length("str", "<=", of["max_length"])),
    ("string_pattern_mismatch", lambda of: _pattern(of["pattern"])),
    ("too_short", lambda of: _length("array", ">=", of["min_length"])),
    ("too_long", lambda of: _length("array", "<=", of["max_length"])),
    ("string_type", lambda _: "must be text"),
    ("list_type", lambda _: "must be a list"),
    ("value_error", lambda of: str(of["error"])),
)


def of_pydantic(fault: Mapping[str, Any]) -> str:
    """Return what pydantic found, an entry of `errors()`."""
    for prefix, words in _PYDANTIC:
        if fault["type"].startswith(prefix):
            return words(fault.get("ctx", {}))
    return fault["msg"]
