"""The Idempotency-Key header: a key names the thing it creates, so creating twice makes one thing.

Source: IETF draft "The Idempotency-Key HTTP Header Field". The kernel compares the contents; here
a key only becomes an id.
"""

import re
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request

from shared.errors import InvalidInputError
from shared.http.auth import Caller
from shared.ids import keyed_id, random_id
from shared.people import person

HEADER: Final = "Idempotency-Key"
_LENGTH_MAX: Final = 200
_PRINTABLE: Final = re.compile(rf"[ -~]{{1,{_LENGTH_MAX}}}", re.ASCII)
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"', re.ASCII)
_ESCAPE: Final = re.compile(r"\\(.)")

OPENAPI_PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The same key and body give the same answer; another body is refused with 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": _LENGTH_MAX + 2},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}


def parse_key(headers: list[str]) -> str | None:
    """Return the key, the same whether it came quoted or plain; None without one.

    Raises: InvalidInputError when it is repeated, empty, longer than 200 or not printable ASCII.
    """
    if not headers:
        return None
    if len(headers) > 1:
        raise InvalidInputError(f"{HEADER} came {len(headers)} times.", field=HEADER)
    key = headers[0].strip()
    if key.startswith('"'):
        quoted = _QUOTED.fullmatch(key)
        if quoted is None:
            raise InvalidInputError(f"{HEADER} is a string that does not end.", field=HEADER)
        key = _ESCAPE.sub(r"\1", quoted.group(1))
    if not _PRINTABLE.fullmatch(key) or not key.strip():
        raise InvalidInputError(
            f"{HEADER} must be 1 to {_LENGTH_MAX} printable ASCII characters.", field=HEADER
        )
    return key


def creation_id(request: Request, caller: Caller) -> UUID:
    """Return the id of what this request creates: fixed by the caller's key, else a fresh one.

    Keys of different callers never meet. Raises: InvalidInputError as `parse_key`.
    """
    key = parse_key(request.headers.getlist(HEADER))
    return random_id() if key is None else keyed_id(person(caller.subject), key)
