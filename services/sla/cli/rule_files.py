"""Calendars and policies from a file given to a subcommand."""

from pathlib import Path
from typing import Any, cast

from services.sla.domain.rules.publishing import RulesWanted
from shared.terminal.documents import read_document, refuse, shaped


def read_rules(file: Path) -> RulesWanted:
    """Return the calendars and policies of a file; a whole scenario has them too.

    Ends with exit code 2 if the file has none, or they are misshaped.
    """
    document = read_document(file)
    if not isinstance(document, dict):
        refuse(f"{file}: must be an object with calendars and policies; a list is not taken here")
    found = with_calendar(cast("dict[str, Any]", document))
    if "events" in found:
        found = {name: found[name] for name in ("calendars", "policies") if name in found}
    return shaped(found, RulesWanted)


def with_calendar(document: dict[str, Any]) -> dict[str, Any]:
    """Return a lone calendar, as `desk sla calendar` writes it, as a file that has it."""
    return {"calendars": [document]} if "zone" in document else document
