"""Answers encoded with msgspec: what a route says it returns is what its OpenAPI document says."""

from collections.abc import Awaitable, Callable, Mapping
from typing import ClassVar, Final, Generic, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from shared.errors import DeskError
from shared.http.conditional import etag
from shared.http.lines import JsonLine
from shared.http.preferences import parse_wait, wait_until
from shared.http.problem import kind_of

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
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


class Answer(JsonLine, Generic[_T_co]):
    """A value as JSON. Nothing reads it again here: the type checker holds routes to their types.

    `statuses` are those that such an answer can have.
    """

    statuses: ClassVar[tuple[int, ...]] = (200,)

    def __init__(
        self, value: _T_co, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(_encoder.encode(value), status, headers)


class Created(Answer[_T_co]):
    """A value that was made by the request."""

    statuses = (201,)

    def __init__(self, value: _T_co) -> None:
        super().__init__(value, 201)


class Text(Response):
    """Text that is no JSON."""

    statuses: ClassVar[tuple[int, ...]] = (200,)
    media_type = "text/plain"


class Tagged(Answer[_T_co]):
    """A value that shows one stream, or what became of it; its sequence is the ETag."""

    def __init__(
        self,
        value: _T_co,
        sequence: int,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(value, status, {**(headers or {}), "ETag": etag(sequence)})


class Made(Tagged[_T_co]):
    """What a request made: 201; or had made when it came before: 200."""

    statuses = (201, 200)


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
