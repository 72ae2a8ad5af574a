"""JSON objects that have a key twice: readers differ in which of the two counts (RFC 8259, 4).

msgspec takes the last and says nothing, so whoever reads what others wrote asks here.
"""

import json
from collections.abc import Iterator
from typing import Any, Final, cast

from shared.errors import InvalidInputError, MalformedInputError
from shared.faults import pointer_step


class _RepeatedError(Exception):
    """There is such an object."""


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, as they stand."""


def _once(pairs: list[tuple[str, Any]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _RepeatedError


# Numbers are of no interest, and Python limits their digits. Both parse in C.
_quick: Final = json.JSONDecoder(object_pairs_hook=_once, parse_int=len, parse_float=len)
_slow: Final = json.JSONDecoder(object_pairs_hook=_Pairs, parse_int=len, parse_float=len)


def has_repeated_key(body: bytes) -> bool:
    """Say whether an object of a valid JSON text has a key twice.

    Raises: MalformedInputError when it is no UTF-8 or nested too deeply.
    """
    try:
        _quick.decode(body.decode())
    except _RepeatedError:
        return True
    except UnicodeDecodeError as error:
        raise MalformedInputError("The body is not UTF-8.") from error
    except RecursionError as error:
        raise MalformedInputError("The JSON is nested too deeply.") from error
    return False


def refuse_repeated_keys(body: bytes, *, base: str = "") -> None:
    """Raise InvalidInputError, naming the key, if an object of a valid JSON text has one twice.

    `base` is the JSON pointer of the text within what was sent. Raises: as `has_repeated_key`.
    """
    if has_repeated_key(body):
        field = next(_repeated(_slow.decode(body.decode()), base))
        raise InvalidInputError(f"{field}: is given more than once.", field=field)


def _repeated(value: object, pointer: str) -> Iterator[str]:
    """Yield the JSON pointers of keys that their object has twice."""
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, item in value:
            below = f"{pointer}/{pointer_step(name)}"
            if name in seen:
                yield below
            seen.add(name)
            yield from _repeated(item, below)
    elif isinstance(value, list):
        for place, item in enumerate(cast("list[object]", value)):
            yield from _repeated(item, f"{pointer}/{place}")
