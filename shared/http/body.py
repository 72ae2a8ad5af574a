"""Request bodies: JSON straight into msgspec structs, described in OpenAPI as they are read."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import Meta
from starlette.requests import Request

from shared.contracts.limits import require_within
from shared.errors import (
    DeskError,
    InvalidInputError,
    MalformedInputError,
    UnsupportedMediaTypeError,
)
from shared.faults import NOT_DECODABLE, from_msgspec, given_in, pointer_step
from shared.repeated_keys import has_repeated_key, refuse_repeated_keys

_T = TypeVar("_T")
_W = TypeVar("_W")


@cache
def _decoder(type_: type[Any]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type_)


def media_type(header: str | None) -> tuple[str, str | None]:
    """Return media type and charset of a Content-Type header, both in lower case."""
    kind, *parameters = (header or "").split(";")
    charset = None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    return kind.strip().lower(), charset


def is_json(kind: str) -> bool:
    """Say whether a media type is JSON or built on it."""
    return kind == "application/json" or (kind.startswith("application/") and kind[-5:] == "+json")


def require_utf8(charset: str | None) -> None:
    """Raise UnsupportedMediaTypeError unless text in `charset` can be read as UTF-8."""
    if charset not in {None, "utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaTypeError(
            f"JSON is UTF-8; charset {charset!r} is not read.", field="Content-Type"
        )


async def read_struct(request: Request, type_: type[_T]) -> _T:
    """Read the request's JSON body as `type_`.

    Raises:
        UnsupportedMediaTypeError: the body is not declared as JSON.
        MalformedInputError: it is empty or no JSON.
        InvalidInputError: it does not fit `type_`, or has a key twice; the error names the field.
    """
    return decode_struct(await _read_json(request), type_)


def decode_struct(body: bytes, type_: type[_T]) -> _T:
    """Read JSON bytes as `type_`. Raises: as `read_struct`."""
    value = _decoded(body, type_)
    refuse_nul(body)
    refuse_repeated_keys(body)
    require_within(value)
    return value


async def read_batch(
    request: Request, whole: type[_W], items_of: Callable[[_W], Sequence[msgspec.Raw]]
) -> tuple[_W, Sequence[msgspec.Raw]]:
    """Read the request's JSON body as a batch, and its items as they came, for `read_items`.

    What is wrong with an item is found there, and refuses that item alone. Raises: as
    `read_struct` for what is wrong with the batch itself.
    """
    body = await _read_json(request)
    value = _decoded(body, whole)
    items = items_of(value)
    if has_repeated_key(body) and not any(has_repeated_key(bytes(item)) for item in items):
        refuse_repeated_keys(body)
    return value, items


def read_items(items: Iterable[msgspec.Raw], type_: type[_T]) -> list[_T | DeskError]:
    """Return each item of a batch as `type_`, or why it cannot be; pointers are into the item."""
    return [_item(bytes(item), type_) for item in items]


def _item(content: bytes, type_: type[_T]) -> _T | DeskError:
    try:
        return decode_struct(content, type_)
    except DeskError as error:
        return error


async def _read_json(request: Request) -> bytes:
    declared = request.headers.get("content-type")
    if declared != "application/json":
        kind, charset = media_type(declared)
        if not is_json(kind):
            raise UnsupportedMediaTypeError(
                f"Content-Type must be application/json, not {kind or 'absent'}.",
                field="Content-Type",
            )
        require_utf8(charset)
    return await request.body()


def _decoded(body: bytes, type_: type[_T]) -> _T:
    if not body:
        raise MalformedInputError("The body is empty; JSON was expected.")
    try:
        return _decoder(type_).decode(body)
    except NOT_DECODABLE as error:
        raise from_msgspec(error, given=given_in(body, type_)) from error


def refuse_nul(body: bytes, *, base: str = "") -> None:
    """Raise InvalidInputError if a string in the JSON holds U+0000, which PostgreSQL cannot store.

    `body` must be valid JSON. The cheap search comes first, for it nearly always ends the matter.
    """
    if b"\\u0000" not in body:
        return
    for pointer in _nul_pointers(msgspec.json.decode(body), base):
        raise InvalidInputError(
            f"{pointer or 'The body'} holds the character U+0000.", field=pointer
        )


def _nul_pointers(value: object, pointer: str) -> Iterator[str]:
    if isinstance(value, str):
        if "\0" in value:
            yield pointer
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            yield from _nul_pointers(item, f"{pointer}/{index}")
    elif isinstance(value, dict):
        for name, item in cast("dict[str, object]", value).items():
            if "\0" in name:
                yield pointer
            yield from _nul_pointers(item, f"{pointer}/{pointer_step(name)}")


# --- OpenAPI -----------------------------------------------------------------------------------


def openapi_body(
    type_: type[object],
    example: object,
    *,
    parameters: Sequence[Mapping[str, Any]] = (),
    content_type: str = "application/json",
) -> dict[str, Any]:
    """Return `openapi_extra` for a route that calls `read_struct`.

    `parameters` are the header descriptions of the sibling modules, such as
    `idempotency.OPENAPI_PARAMETER`. Raises ValueError for a type that contains itself.
    """
    content = {content_type: {"schema": inline_schema(type_), "example": _plain(example)}}
    extra: dict[str, Any] = {"requestBody": {"required": True, "content": content}}
    if parameters:
        extra["parameters"] = [dict(parameter) for parameter in parameters]
    return extra


def inline_schema(type_: type[object]) -> dict[str, Any]:
    """Return the JSON Schema of `type_` with every reference resolved in place."""
    (schema,), definitions = msgspec.json.schema_components([type_], ref_template="{name}")
    return _resolved(schema, definitions, ())


def any_of(*types: type[Any]) -> Meta:
    """Return what says of an `Any` that it is one of these, where msgspec has no union of them."""
    return Meta(extra_json_schema={"anyOf": [inline_schema(type_) for type_ in types]})


def _resolved(node: Any, definitions: Mapping[str, Any], above: tuple[str, ...]) -> Any:  # noqa: ANN401 JSON
    if isinstance(node, list):
        return [_resolved(item, definitions, above) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    fields = cast("dict[str, Any]", node)
    name = fields.get("$ref")
    if not isinstance(name, str):
        return {
            key: _resolved(item, definitions, above)
            for key, item in fields.items()
            if key != "discriminator"  # its mapping names components, of which none are left
        }
    if name in above:
        raise ValueError(f"{name} contains itself and cannot be written in place")
    return _resolved(definitions[name], definitions, (*above, name))


def _plain(example: object) -> object:
    return msgspec.to_builtins(example)
