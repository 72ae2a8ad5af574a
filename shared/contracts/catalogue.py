"""Writes what is generated from the contracts: JSON Schemas and docs/events.md.

Run as `python -m shared.contracts.catalogue`; a test fails when what is written is out of date.
"""

import json
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from shared.contracts.base import EventData
from shared.contracts.envelope import dataschema_of
from shared.contracts.intake import TicketReported
from shared.contracts.registry import EVENTS

ROOT: Final = Path(__file__).parents[2]
SCHEMAS: Final = Path(__file__).parent / "schemas"
DOCUMENT: Final = ROOT / "docs" / "events.md"
_HEAD: Final = """# Events

Generated from `shared/contracts` by `make docs`; a test keeps it true. Every event is a CloudEvent
1.0 in structured JSON. Its topic is its type, its key the stream's id, its `dataschema` names the
version. The schemas of the data are in `shared/contracts/schemas`, with the limits of all that is
written now (`x-maxBytes`: of a list or map, as JSON). Events written before there was a limit may
be over it: who reads should not check it (ADR 0023).
"""


def schema_name(event: type[EventData]) -> str:
    """Return the file name of an event's schema."""
    return f"{event.TYPE}.v{event.VERSION}.json"


def schema(event: type[EventData]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of an event's data."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": dataschema_of(event.TYPE, event.VERSION),
        **msgspec.json.schema(event),
    }


def files() -> Iterator[tuple[Path, str]]:
    """Yield every generated file with its content."""
    events = [TicketReported, *(event for events in EVENTS.values() for event in events)]
    for event in events:
        text = json.dumps(schema(event), indent=2, ensure_ascii=False) + "\n"
        yield SCHEMAS / schema_name(event), text
    yield DOCUMENT, _document()


def _document() -> str:
    parts = [_HEAD, "\n## Inbound\n", _section(TicketReported, "any system")]
    for writer, events in EVENTS.items():
        parts.append(f"\n## Written by {writer}\n")
        parts += [_section(event, writer) for event in events]
    return "\n".join(part.rstrip("\n") for part in parts) + "\n"


def _section(event: type[EventData], writer: str) -> str:
    lines = [
        f"\n### `{event.TYPE}` v{event.VERSION}\n",
        (getdoc(event) or "").strip(),
        f"\nWriter: {writer}; key: `{event.STREAM or 'free'}`.\n",
        "| field | type | required |",
        "|---|---|---|",
    ]
    (reference,), definitions = msgspec.json.schema_components([event])
    body = definitions[reference["$ref"].rsplit("/", 1)[1]]
    required = set(body.get("required", ()))
    for name, field in body["properties"].items():
        kind = _kind(cast("dict[str, Any]", field))
        lines.append(f"| `{name}` | {kind} | {'yes' if name in required else 'no'} |")
    return "\n".join(lines)


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return field["$ref"].rsplit("/", 1)[1]
    if "anyOf" in field:
        return " or ".join(_kind(part) for part in field["anyOf"])
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"] if value is not None)
    kind = field.get("format") or field.get("type", "any")
    if kind == "array":
        items = cast("dict[str, Any] | None", field.get("items") or None)
        return f"list of {_kind(items)}" if items else "list"
    return str(kind)


def main() -> None:
    """Write all generated files; remove schemas that no event has any more."""
    SCHEMAS.mkdir(exist_ok=True)
    wanted = dict(files())
    for path in SCHEMAS.glob("*.json"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.write_text(text)


if __name__ == "__main__":
    main()
