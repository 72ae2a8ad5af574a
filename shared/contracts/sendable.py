"""What cannot be sent is not written: an event that a log, or any reader, would refuse (R14)."""

from typing import Any, Final, cast

import msgspec

from shared.contracts.base import ATTRIBUTE_MAX, EventData
from shared.contracts.limits import excess
from shared.contracts.registry import UndecodableError, decode_shared
from shared.errors import InvalidInputError
from shared.faults import from_undecodable
from shared.log.port import RECORD_BYTES_MAX

_DATA: Final = "/data"


class UnsendableError(InvalidInputError):
    """An event that is over a limit, that no log takes or no reader believes.

    `field` points into its data; `sequence` is the one it would have had in its stream.
    """

    sequence: int = 0


def require_sendable(data: EventData, value: bytes) -> None:
    """Raise UnsendableError unless `value`, which holds `data`, is within every limit.

    It must be what its contract lets be written, be small enough to be sent, and be readable.
    Reading it is what proves that, and is not wasted: who reads it next finds it decoded.
    """
    if found := excess(data):
        raise UnsendableError(f"{found.pointer}: {found.reason}.", field=found.pointer)
    if len(value) > RECORD_BYTES_MAX:
        field = largest_field(data)
        raise UnsendableError(
            f"{field}: too long. An event may have {RECORD_BYTES_MAX} bytes, and"
            f" {data.TYPE} would have {len(value)}.",
            field=field,
        )
    try:
        recorded = decode_shared(data.TYPE, value)
    except UndecodableError as error:
        told = from_undecodable(error, msgspec.json.encode(data), type(data), "")
        raise UnsendableError(
            f"{data.TYPE} breaks its contract: {told.detail.removeprefix(_DATA)}",
            field=(told.field or "").removeprefix(_DATA) or None,
        ) from error
    if len(value) > ATTRIBUTE_MAX and (found := excess(recorded)):
        raise UnsendableError(f"{data.TYPE}: its {found.pointer[1:]} {found.reason}.")


def largest_field(data: EventData) -> str:
    """Return the JSON pointer of what makes the data large: down to where no part is over half."""
    node: Any = msgspec.to_builtins(data)
    pointer = ""
    while True:
        parts = _parts(node)
        if not parts:
            return pointer
        name, largest = max(parts, key=lambda part: len(msgspec.json.encode(part[1])))
        size = len(msgspec.json.encode(largest))
        if pointer and 2 * size < len(msgspec.json.encode(node)):
            return pointer
        pointer += "/" + name.replace("~", "~0").replace("/", "~1")
        node = largest


def _parts(node: object) -> list[tuple[str, Any]]:
    if isinstance(node, dict):
        return list(cast("dict[str, Any]", node).items())
    if isinstance(node, list | tuple):
        return [(str(place), item) for place, item in enumerate(cast("list[Any]", node))]
    return []
