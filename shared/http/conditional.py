"""ETag and If-Match: a stream's sequence is the version a caller has seen. Source: RFC 9110."""

import re
from typing import Any, Final

from starlette.requests import Request

from shared.errors import InvalidInputError
from shared.journal.handler import EXISTS

HEADER: Final = "If-Match"
_TAG: Final = re.compile(r'(?:W/)?"([0-9]{1,10})"', re.ASCII)

OPENAPI_PARAMETER: Final[dict[str, Any]] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The ETag last seen; refused with 412 if the record has moved on since. "
    "`*`: refused if there is none.",
    "schema": {"type": "string"},
    "example": '"3"',
}


def etag(sequence: int) -> str:
    """Return the ETag of a stream at `sequence`."""
    return f'"{sequence}"'


def parse_if_match(header: str | None) -> int | None:
    """Return the sequence the caller has seen, EXISTS for `*`; None if any will do, or none.

    A weak tag is taken too: a proxy that compresses weakens tags, and a sequence names the state,
    not the bytes. Raises: InvalidInputError for anything but one tag of ours.
    """
    if header is None:
        return None
    if header.strip() == "*":
        return EXISTS
    match = _TAG.fullmatch(header.strip())
    if match is None:
        raise InvalidInputError(
            f'{HEADER} must be one ETag as this service gave it, such as "3", or *.', field=HEADER
        )
    return int(match.group(1))


def if_match(request: Request) -> int | None:
    """Return what the request expects, as `parse_if_match` does."""
    return parse_if_match(request.headers.get(HEADER))


def refuse_if_match(request: Request) -> None:
    """Raise InvalidInputError if a request that makes something new names a state of it.

    There is no one record to compare, and to go on as if there were could overwrite what the caller
    wanted to protect.
    """
    if HEADER in request.headers:
        raise InvalidInputError(
            f"{HEADER} means nothing here: this request does not change one record.", field=HEADER
        )
