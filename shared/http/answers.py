"""Answers encoded with msgspec, and the headers they have in common."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shared.errors import DeskError
from shared.http.conditional import etag
from shared.http.lines import JsonLine
from shared.http.preferences import parse_wait, wait_until
from shared.http.problem import kind_of

_T = TypeVar("_T")
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


class ItemError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why one item of a batch was refused, in the words of a problem of its own.

    `field` is a JSON pointer into that item.
    """

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


def item_error(error: DeskError) -> ItemError:
    """Return an error as it stands in a batch's results."""
    kind = kind_of(error)
    return ItemError(
        type=kind.urn,
        title=kind.title,
        status=kind.status,
        detail=error.detail,
        field=error.field or None,
    )


def tried(make: Callable[[], _T]) -> _T | DeskError:
    """Return what is made of one item of a batch, or why it cannot be, which leaves the others."""
    try:
        return make()
    except DeskError as error:
        return error


def answer(
    value: object,
    *,
    status: int = 200,
    sequence: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return `value` as JSON; `sequence`, where the answer shows one stream, as its ETag."""
    every = dict(headers or {})
    if sequence is not None:
        every["ETag"] = etag(sequence)
    return JsonLine(_encoder.encode(value), status, every)


async def settle(
    request: Request, shown: Callable[[], Awaitable[int]], sequence: int
) -> Mapping[str, str]:
    """Wait, if the caller prefers it, until the read model shows `sequence`; say so (RFC 7240)."""
    seconds = parse_wait(request.headers.get("prefer"))
    if not seconds:
        return {}

    async def is_shown() -> bool:
        return await shown() >= sequence

    if not await wait_until(is_shown, seconds):
        return {}
    return {"Preference-Applied": f"wait={seconds:g}"}
