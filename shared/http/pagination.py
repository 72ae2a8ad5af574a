"""Cursor pagination: a page continues after the last row seen, whatever came in meanwhile."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, TypeVar, cast

import msgspec
from fastapi import Depends, Query
from starlette.requests import Request

from shared.contracts.storable import unstorable
from shared.errors import InvalidInputError

LIMIT_MAX: Final = 200
LIMIT_DEFAULT: Final = 50
_CURSOR_LENGTH_MAX: Final = 1_000
_SEQUENCE_MAX: Final = 2_147_483_647

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which rows a caller asks for: at most `limit`, after the one `cursor` names."""

    limit: int = LIMIT_DEFAULT
    cursor: str | None = None

    def after(self, type_: type[_T]) -> _T | None:
        """Return the sort key of the last row seen, a tuple of `type_`; None on the first page.

        Raises: InvalidInputError naming `cursor` when it was not made here for this list.
        """
        return None if self.cursor is None else decode_cursor(self.cursor, type_)


def page(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="rows at most")] = LIMIT_DEFAULT,
    cursor: Annotated[
        str | None,
        Query(max_length=_CURSOR_LENGTH_MAX, description="from the Link header of the page before"),
    ] = None,
) -> Page:
    """FastAPI dependency: `Window`."""
    return Page(limit, cursor)


Window = Annotated[Page, Depends(page)]
"""The page that a request asks for."""


def encode_cursor(key: tuple[object, ...]) -> str:
    """Return the cursor for the row with this sort key; opaque, not secret, not signed."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def decode_cursor(cursor: str, type_: type[_T]) -> _T:
    """Return the sort key in `cursor`. Raises: InvalidInputError naming `cursor`."""
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        key = msgspec.json.decode(base64.b64decode(padded, b"-_", validate=True), type=type_)
    except (binascii.Error, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidInputError("The cursor is not one of this list.", field="cursor") from error
    if not all(map(_is_sound, cast("tuple[object, ...]", key))):
        raise InvalidInputError("The cursor is not one of this list.", field="cursor")
    return key


def _is_sound(part: object) -> bool:
    """Say whether a database can hold a part of a key: sequences, instants in UTC, texts."""
    match part:
        case int():
            return 0 <= part <= _SEQUENCE_MAX
        case datetime():
            return part.tzinfo is not None and unstorable(part) is None
        case _:
            return unstorable(part) is None


def next_link(request: Request, key: tuple[object, ...]) -> str:
    """Return the `Link` header value that leads to the rows after `key`. Source: RFC 8288.

    The reference is relative, so that no proxy's host name has to be known.
    """
    url = request.url.include_query_params(cursor=encode_cursor(key))
    return f'<{url.path}?{url.query}>; rel="next"'


def next_headers(
    request: Request, window: Page, rows: Sequence[_T], key: Callable[[_T], tuple[object, ...]]
) -> dict[str, str]:
    """Return the header that leads on from a full page; none from one that is not."""
    return {"Link": next_link(request, key(rows[-1]))} if len(rows) == window.limit else {}
