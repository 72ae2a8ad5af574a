"""Writes docs/settings.md from the settings themselves, as `python -m services.settings_page`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from services.host import ROOMS
from services.intake.settings import IntakeSettings
from services.reporting.settings import ReportingSettings
from services.settings import DeskSettings
from services.sla.settings import SlaSettings

DOCUMENT: Final = Path(__file__).parents[1] / "docs" / "settings.md"
SETTINGS: Final[tuple[type[BaseSettings], ...]] = (
    DeskSettings,
    IntakeSettings,
    SlaSettings,
    ReportingSettings,
)
_HEAD: Final = """# Settings

Generated from the settings by `make docs`; a test keeps it true. All come from the environment;
`desk run` needs none of them.
"""
_DATABASES: Final = """
## Databases

| variable | meaning |
|---|---|
"""
_COMMANDS: Final = """
## What commands are told

| variable | meaning | option |
|---|---|---|
| `DESK_DATA` | folder of the desk, else `.desk` | `--data` |
| `DESK_URL` | address of a desk that runs elsewhere, or one for each service | `--url` |
| `DESK_TOKEN` | bearer token for it, else the one in the folder | `--token` |

Traces are set by `OTEL_…`: [tracing.md](tracing.md).
"""


def document() -> str:
    """Return the page."""
    databases = "".join(
        f"| `{name.upper()}_DATABASE_URL` | PostgreSQL of {name}; `desk serve {name}` and `desk"
        f" migrate {name}` need it |\n"
        for name in ROOMS
    )
    tables = ["\n".join(_table(kind)) for kind in SETTINGS]
    return _HEAD + "".join(tables) + _DATABASES + databases + _COMMANDS


def _table(kind: type[BaseSettings]) -> Iterator[str]:
    prefix = kind.model_config.get("env_prefix", "")
    whose = prefix.rstrip("_").lower()
    yield f"\n## {'Every service' if kind is DeskSettings else whose.capitalize()}\n"
    yield "| variable | meaning | default |"
    yield "|---|---|---|"
    for name, field in kind.model_fields.items():
        meaning = field.description or ""
        yield f"| `{prefix}{name.upper()}` | {meaning} | {_default(field)} |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the host's name"
    value = field.default
    if value is None or value == "":
        return ""
    if isinstance(value, frozenset):
        return f"`{','.join(sorted(value))}`"  # pyright: ignore[reportUnknownArgumentType] of words
    return f"`{value}`"


if __name__ == "__main__":
    DOCUMENT.write_text(document())
