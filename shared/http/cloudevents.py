"""CloudEvents 1.0 that other systems post: structured, batched or binary; data must be JSON.

Source: CloudEvents 1.0.2, its JSON event format and its HTTP protocol binding.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request

from shared.contracts.base import ATTRIBUTE_MAX
from shared.contracts.visible import is_blank
from shared.errors import (
    DeskError,
    InvalidInputError,
    MalformedInputError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)
from shared.faults import NOT_DECODABLE, from_msgspec, pointer_step
from shared.http.body import (
    inline_schema,
    is_json,
    media_type,
    refuse_nul,
    require_utf8,
)
from shared.repeated_keys import refuse_repeated_keys

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
EVENTS_MAX: Final = 1_000

_ANY_MODE: Final = "application/cloudevents"
_PREFIX: Final = "ce-"
_NAME: Final = re.compile(r"[a-z0-9]+", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_URI_REFERENCE: Final = re.compile(r'[^\s<>"{}|\\^`]+')
_DATE_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.A
)
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_INTEGER_MAX: Final = 2**31

_envelope: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_batch: Final = msgspec.json.Decoder(list[msgspec.Raw])
_scalar: Final = msgspec.json.Decoder(str | int | bool | None)


@dataclass(frozen=True, slots=True)
class InboundEvent:
    """One event as it came in; `data` is JSON, `null` without data.

    `time` is aware. `extensions` are in CloudEvents' canonical strings, the same in every mode.
    """

    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    dataschema: str | None = None
    data: bytes = b"null"
    extensions: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class _Place:
    """What stands before an attribute's name, so that an error can name the one at fault."""

    prefix: str

    def fault(self, attribute: str, reason: str) -> InvalidInputError:
        return InvalidInputError(
            f"attribute {attribute!r} {reason}.", field=self.pointer(attribute)
        )

    def pointer(self, attribute: str) -> str:
        if attribute == "datacontenttype" and self.prefix == _PREFIX:
            return "Content-Type"
        return self.prefix + pointer_step(attribute)


async def read_cloudevents(
    request: Request, *, events_max: int = EVENTS_MAX
) -> list[InboundEvent | DeskError]:
    """Read the request's events. Raises: as `parse_cloudevents`."""
    return parse_cloudevents(request.headers, await request.body(), events_max=events_max)


def is_batch(headers: Headers) -> bool:
    """Say whether a message is a batch, also of one or none: it is answered with a list."""
    return media_type(headers.get("content-type"))[0] == BATCH


def parse_cloudevents(
    headers: Headers, body: bytes, *, events_max: int = EVENTS_MAX
) -> list[InboundEvent | DeskError]:
    """Read the events of one HTTP message; an empty batch has none.

    Of a batch, an event that cannot be read is an error in its place, which points into that event.

    Raises:
        UnsupportedMediaTypeError: no CloudEvent, or one whose data is not JSON.
        MalformedInputError: the body is not JSON.
        PayloadTooLargeError: a batch of more than `events_max`.
        InvalidInputError: an attribute of a lone event is missing or wrong; named.
    """
    kind, charset = media_type(headers.get("content-type"))
    if kind.startswith(_ANY_MODE):
        require_utf8(charset)
        if kind == STRUCTURED:
            return [_structured(body)]
        if kind == BATCH:
            return _events(body, events_max)
        raise UnsupportedMediaTypeError(
            f"CloudEvents are read as JSON, not as {kind}.", field="Content-Type"
        )
    attributes = _binary_attributes(headers)
    if not attributes:
        raise UnsupportedMediaTypeError(
            f"This is no CloudEvent: Content-Type is neither {STRUCTURED} nor {BATCH}, "
            f"and there are no {_PREFIX}* headers.",
            field="Content-Type",
        )
    return [_binary(attributes, headers.get("content-type"), body)]


# --- The three modes ---------------------------------------------------------------------------


def _events(body: bytes, events_max: int) -> list[InboundEvent | DeskError]:
    events: list[msgspec.Raw] = _decode(_batch, body)
    if len(events) > events_max:
        raise PayloadTooLargeError(f"{len(events)} events; a batch may have {events_max}.")
    return [_one_of_batch(bytes(event)) for event in events]


def _one_of_batch(body: bytes) -> InboundEvent | DeskError:
    try:
        return _structured(body)
    except DeskError as error:
        return error


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:  # noqa: ANN401 the decoder's type
    if not body:
        raise MalformedInputError("The body is empty; a CloudEvent was expected.")
    try:
        return decoder.decode(body)
    except NOT_DECODABLE as error:
        raise from_msgspec(error) from error


def _structured(body: bytes) -> InboundEvent:
    place = _Place("/")
    envelope: dict[str, msgspec.Raw] = _decode(_envelope, body)
    refuse_repeated_keys(body)
    data = envelope.pop("data", None)
    encoded = envelope.pop("data_base64", None)
    attributes: dict[str, str] = {}
    for name, raw in envelope.items():
        value = _canonical(name, raw, place)
        if value is not None:
            attributes[name] = value
    if encoded is not None and bytes(encoded) != b"null":
        if data is not None:
            raise place.fault("data_base64", "cannot stand beside 'data'")
        content = _from_base64(encoded, place)
        return _event(attributes, content, place, "data_base64")
    return _event(attributes, b"null" if data is None else bytes(data), place, "data")


def _canonical(name: str, raw: msgspec.Raw, place: _Place) -> str | None:
    try:
        value = _scalar.decode(raw)
    except msgspec.ValidationError as error:
        raise place.fault(name, "must be a string, a boolean or an integer") from error
    except NOT_DECODABLE as error:
        raise from_msgspec(error, base=place.pointer(name)) from error
    if value is None or isinstance(value, str):
        return value
    if name in _CORE or name == "datacontenttype":
        raise place.fault(name, "must be a string")
    if isinstance(value, bool):
        return "true" if value else "false"
    if not -_INTEGER_MAX <= value < _INTEGER_MAX:
        raise place.fault(name, "must be an integer of 32 bits")
    return str(value)


def _from_base64(raw: msgspec.Raw, place: _Place) -> bytes:
    try:
        return base64.b64decode(msgspec.json.decode(raw, type=str), validate=True)
    except (binascii.Error, ValueError) as error:
        raise place.fault("data_base64", "is not base64") from error


def _binary_attributes(headers: Headers) -> dict[str, str]:
    place = _Place(_PREFIX)
    attributes: dict[str, str] = {}
    for header, value in headers.items():
        if not header.startswith(_PREFIX):
            continue
        name = header.removeprefix(_PREFIX)
        if name in attributes:
            raise place.fault(name, "came more than once")
        if name in {"data", "data_base64", "datacontenttype"}:
            raise place.fault(name, "cannot be a header")
        attributes[name] = _decode_header(name, value, place)
    return attributes


def _decode_header(name: str, value: str, place: _Place) -> str:
    """Undo quotes and percent-encoding. Source: HTTP protocol binding, 3.1.3.2."""
    if not value.isascii():
        raise place.fault(name, "must be percent-encoded where it is not ASCII")
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    if _BROKEN_ESCAPE.search(value):
        raise place.fault(name, "has a broken percent-encoding")
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError as error:
        raise place.fault(name, "is not UTF-8 when percent-decoded") from error


def _binary(attributes: dict[str, str], content_type: str | None, body: bytes) -> InboundEvent:
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    elif body:
        raise UnsupportedMediaTypeError(
            "The data's Content-Type is missing; application/json is read.", field="Content-Type"
        )
    return _event(attributes, body or b"null", _Place(_PREFIX), "")


# --- One event ---------------------------------------------------------------------------------


_CORE: Final = frozenset({"specversion", "id", "source", "type", "subject", "time", "dataschema"})


def _event(
    attributes: dict[str, str], data: bytes, place: _Place, data_member: str
) -> InboundEvent:
    for name, value in attributes.items():
        _require_sound(name, value, place)
    for name in ("specversion", "id", "source", "type"):
        if name not in attributes:
            raise place.fault(name, "is required")
    if attributes["specversion"] != "1.0":
        raise place.fault("specversion", f"is {attributes['specversion']!r}; '1.0' is read")
    for name in ("source", "dataschema"):
        if name in attributes and not _URI_REFERENCE.fullmatch(attributes[name]):
            raise place.fault(name, "is no URI")
    _require_json(attributes.get("datacontenttype"), data, place, data_member)
    return InboundEvent(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=attributes.get("subject"),
        time=_time(attributes.get("time"), place),
        dataschema=attributes.get("dataschema"),
        data=data,
        extensions={
            name: value
            for name, value in attributes.items()
            if name not in _CORE and name != "datacontenttype"
        },
    )


def _require_sound(name: str, value: str, place: _Place) -> None:
    if not _NAME.fullmatch(name):
        raise place.fault(name, "is misnamed: names are of a-z and 0-9")
    if _CONTROL.search(value):
        raise place.fault(name, "holds a control character")
    if len(value) > ATTRIBUTE_MAX:
        raise place.fault(name, f"must have at most {ATTRIBUTE_MAX} characters")
    if (name in _CORE or name == "datacontenttype") and is_blank(value):
        raise place.fault(name, "must not be empty or blank")


def _time(text: str | None, place: _Place) -> datetime | None:
    if text is None:
        return None
    if _DATE_TIME.fullmatch(text):
        try:
            return msgspec.convert(text, datetime)
        except msgspec.ValidationError as error:
            raise place.fault("time", "is no instant that exists") from error
    raise place.fault("time", "must be RFC 3339 with an offset, such as 2026-01-05T09:00:00+08:00")


def _require_json(content_type: str | None, data: bytes, place: _Place, member: str) -> None:
    if content_type is not None:
        kind, charset = media_type(content_type)
        if not is_json(kind) and kind != "text/json":
            raise UnsupportedMediaTypeError(
                f"Data of type {kind!r} is not read; application/json is.",
                field=place.pointer("datacontenttype"),
            )
        require_utf8(charset)
    base = f"{place.prefix}{member}" if member else ""
    try:
        msgspec.json.decode(data)
    except NOT_DECODABLE as error:
        raise from_msgspec(error, base=base) from error
    refuse_nul(data, base=base)
    if member != "data":  # which stood in the body, where it was looked at
        refuse_repeated_keys(data, base=base)


# --- OpenAPI -----------------------------------------------------------------------------------


def openapi_cloudevents(data_type: type[object], example: Mapping[str, Any]) -> dict[str, Any]:
    """Return `openapi_extra` for a route that reads CloudEvents with data of `data_type`.

    `example` is one event in structured mode.
    """
    text = {"type": "string", "minLength": 1, "maxLength": ATTRIBUTE_MAX}
    event: dict[str, Any] = {
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": text,
            "source": text,
            "type": text,
            "subject": text,
            "time": {"type": "string", "format": "date-time"},
            "dataschema": text,
            "datacontenttype": text,
            "data": inline_schema(data_type),
        },
        "additionalProperties": {
            "type": ["string", "integer", "boolean", "null"],
            "maxLength": ATTRIBUTE_MAX,
        },
    }
    content = {
        STRUCTURED: {"schema": event, "example": dict(example)},
        BATCH: {
            "schema": {"type": "array", "items": event, "maxItems": EVENTS_MAX},
            "example": [dict(example)],
        },
        "application/json": {
            "schema": inline_schema(data_type),
            "example": example.get("data"),
        },
    }
    description = "One event, a batch, or (binary mode) the data alone with ce-* headers."
    return {
        "requestBody": {"required": True, "description": description, "content": content},
    }
