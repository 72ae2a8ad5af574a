"""What msgspec could not take, as an error that names the key at fault and says what is wanted."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, cast

import msgspec
from msgspec import inspect

from shared.contracts.registry import UndecodableError
from shared.errors import DeskError, InvalidInputError, MalformedInputError
from shared.wording import of_msgspec

_AT: Final = re.compile(r"(?s)(.*) - at `(.*)`")
_KEY_AT: Final = re.compile(r"(?s)(.*) - at `key` in `(.*)`")
_OBJECT_FIELD: Final = re.compile(
    r"(?s)Object (missing required|contains unknown) field `(.*?)`(?: - at `(\$[^`]*)`)?"
)
_BELOW: Final = re.compile(r"(?s)((?:/[^/: ]+)+): (.*)")
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_ANY: Final = "..."
_STAR: Final = "*"
_ATTRIBUTES: Final = {
    "unknown_type": "/type",
    "dataschema": "/dataschema",
    "newer_version": "/dataschema",
}
_SEARCH_BYTES_MAX: Final = 4_000_000


NOT_DECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on bytes that do not fit, for `from_msgspec`."""


class Given(NamedTuple):
    """Plain values that were to become a shape. Whoever looks for the key at fault empties maps."""

    value: Any
    shape: Any
    size_bytes: int = 0


def given_in(body: bytes, shape: Any) -> Given | None:  # noqa: ANN401 any type
    """Return what a body that was to become a shape holds, if it is JSON to its end."""
    try:
        return Given(msgspec.json.decode(body), shape, len(body))
    except NOT_DECODABLE:
        return None


def pointer_step(name: str) -> str:
    """Return one step of a JSON pointer, escaped. Source: RFC 6901, 3."""
    return name.replace("~", "~0").replace("/", "~1")


def from_msgspec(error: Exception, *, base: str = "", given: Given | None = None) -> DeskError:
    """Return what to tell the caller about bytes that msgspec could not take.

    `base` is the JSON pointer of the decoded part within the body. Msgspec names no key of a map:
    it is looked for in what was `given`; else the pointer has `*` in its place.
    """
    if isinstance(error, msgspec.ValidationError):
        return _from_validation(str(error), base, given)
    if isinstance(error, UnicodeDecodeError):
        return MalformedInputError("The body is not UTF-8.", field=base or None)
    if isinstance(error, RecursionError):
        return MalformedInputError("The JSON is nested too deeply.", field=base or None)
    return MalformedInputError(f"The body is not valid JSON: {error}.", field=base or None)


def from_undecodable(error: UndecodableError, data: bytes, shape: Any, base: str) -> DeskError:  # noqa: ANN401 any type
    """Return what to tell the caller about an event whose data, of a shape, could not be taken.

    `base` is the event's JSON pointer within the body.
    """
    cause = error.__cause__
    if isinstance(cause, msgspec.ValidationError):
        given = Given(msgspec.json.decode(data), shape, len(data))
        return from_msgspec(cause, base=f"{base}/data", given=given)
    field = f"{base}{_ATTRIBUTES.get(error.reason, '/data')}"
    return InvalidInputError(f"{field}: {error.detail}.", field=field)


def _from_validation(message: str, base: str, given: Given | None) -> InvalidInputError:
    if match := _OBJECT_FIELD.fullmatch(message):
        fault, name, path = match.groups()
        steps = _named(_steps(path or "$"), message, given)
        field = f"{base}{_pointer([*steps, name])}"
        if fault == "missing required":
            return InvalidInputError(f"{field} is required.", field=field)
        return InvalidInputError(f"{field} is not a field of this body.", field=field)
    is_key = _KEY_AT.fullmatch(message)
    match = is_key or _AT.fullmatch(message)
    complaint, path = match.groups() if match else (message, "$")
    found = _steps(path) + ([_ANY] if is_key else [])
    steps = _named(found, message, given)
    below = _BELOW.fullmatch(complaint)  # a struct's own check names what is wrong inside it
    pointer, reason = below.groups() if below else ("", complaint)
    allowed = [] if given is None or below else _allowed(given.shape, found, is_key=bool(is_key))
    field = base + _pointer(steps) + pointer
    return InvalidInputError(f"{field or 'The body'}: {of_msgspec(reason, allowed)}.", field=field)


def _steps(path: str) -> list[str]:
    return [name or index for name, index in _STEP.findall(path)]


def _pointer(steps: Sequence[str]) -> str:
    return "".join(f"/{_STAR if step == _ANY else pointer_step(step)}" for step in steps)


def _named(steps: Sequence[str], message: str, given: Given | None) -> list[str]:
    """Return the steps with the keys of maps in them.

    A map loses its keys but one, until the same complaint comes again. Where that would take long,
    the keys stay unknown.
    """
    named = list(steps)
    if given is None or _ANY not in named:
        return named
    complaint = _complaint(given)  # its words are not always those of the decoder, its place is
    if complaint is None or complaint.rpartition(" - at ")[2] != message.rpartition(" - at ")[2]:
        return named
    at = given.value
    for place, step in enumerate(named):
        if step != _ANY:
            at = at[int(step) if isinstance(at, list) else step]
            continue
        found = cast("dict[str, Any]", at)
        if len(found) * given.size_bytes > _SEARCH_BYTES_MAX:
            return named
        key = _key_at_fault(found, complaint, given)
        if key is None:
            return named
        named[place], at = key, found[key]
    return named


def _key_at_fault(found: dict[str, Any], complaint: str, given: Given) -> str | None:
    for key, content in list(found.items()):
        found.clear()
        found[key] = content
        if _complaint(given) == complaint:
            return key
    return None


def _complaint(given: Given) -> str | None:
    try:
        msgspec.convert(given.value, given.shape)
    except msgspec.ValidationError as error:
        return str(error)
    except RecursionError:
        return None
    return None


# --- Choices -----------------------------------------------------------------------------------


def _allowed(shape: Any, steps: Sequence[str], *, is_key: bool) -> list[object]:  # noqa: ANN401 any type
    """Return the values of the choice at the end of the steps; none if it takes others too."""
    types = [_info(shape)]
    for place, step in enumerate(steps):
        parts = [part for one in types for part in _parts(one)]
        if is_key and place == len(steps) - 1:
            types = [part.key_type for part in parts if isinstance(part, inspect.DictType)]
        else:
            types = [below for part in parts for below in _below(part, step)]
    found: dict[object, None] = {}
    for part in (part for one in types for part in _parts(one)):
        match part:
            case inspect.LiteralType():
                found.update(dict.fromkeys(part.values))
            case inspect.EnumType():
                found.update(dict.fromkeys(member.value for member in part.cls))
            case inspect.NoneType():
                found["null"] = None
            case _:
                return []
    return list(found) if found.keys() != {"null"} else []


@cache
def _info(shape: Any) -> inspect.Type:  # noqa: ANN401 any type
    return inspect.type_info(shape)


def _parts(type_: inspect.Type) -> Iterator[inspect.Type]:
    match type_:
        case inspect.Metadata():
            yield from _parts(type_.type)
        case inspect.UnionType():
            for one in type_.types:
                yield from _parts(one)
        case _:
            yield type_


def _below(type_: inspect.Type, step: str) -> Iterator[inspect.Type]:
    """Yield what a type has at a step; a tagged struct has its tag there."""
    match type_:
        case inspect.StructType():
            if step == type_.tag_field:
                yield inspect.LiteralType((type_.tag,))
            yield from (field.type for field in type_.fields if field.encode_name == step)
        case inspect.DictType():
            yield type_.value_type
        case inspect.VarTupleType() | inspect.ListType() | inspect.SetType():
            yield type_.item_type
        case inspect.TupleType():
            yield type_.item_types[int(step)]
        case _:
            return
