"""What ServiceNow calls things, in old versions and new, and what we call them. Pure."""

import re
from collections.abc import Mapping
from typing import Final

from shared.contracts.base import Level, Priority

MISSING: Final = frozenset({"?", "", "-- none --", "null", "(empty)"})
"""How an empty cell is written, in lower case."""
ENDS: Final = frozenset({"resolved", "closed", "cancelled"})
NOT_HOLDS: Final = ENDS | {"new", "in_progress"}
"""States of ours; any other is a hold, called by its reason."""
LEVELS: Final[Mapping[str, Level]] = {
    **{"1": "high", "2": "medium", "3": "low"},
    **{"high": "high", "medium": "medium", "low": "low"},
}
PRIORITIES: Final[Mapping[str, Priority]] = {
    **{"1": "P1", "2": "P2", "3": "P3", "4": "P4", "5": "P4"},
    **{"critical": "P1", "high": "P2", "moderate": "P3", "low": "P4", "planning": "P4"},
}
"""By number or by name; ours end at P4, so that what is planned has the lowest."""
BEYOND: Final = frozenset({"5", "planning"})
"""Priorities that ours have no rank for."""
TRUTHS: Final = {
    **dict.fromkeys(("true", "yes", "1", "wahr", "vrai"), True),
    **dict.fromkeys(("false", "no", "0", "falsch", "faux"), False),
}
"""As spreadsheets write them too."""
CHANNELS: Final = {
    "phone": "phone",
    "ivr": "phone",
    "email": "mail",
    "e mail": "mail",
    "self service": "portal",
    "service portal": "portal",
    "web": "portal",
    "mobile": "portal",
    "chat": "chat",
    "virtual agent": "chat",
    "walk in": "walk_in",
    "direct opening": "walk_in",
    "monitoring": "alert",
    "event": "alert",
    "event management": "alert",
    "alert": "alert",
    "api": "api",
    "integration": "api",
}
_STATES: Final = {
    "new": "new",
    "active": "in_progress",
    "assigned": "in_progress",
    "in progress": "in_progress",
    "work in progress": "in_progress",
    "resolved": "resolved",
    "closed": "closed",
    "closed complete": "closed",
    "canceled": "cancelled",
    "cancelled": "cancelled",
}
_REASONS: Final = {
    "user info": "requester",
    "caller": "requester",
    "customer": "requester",
    "user": "requester",
}
_HELD: Final = frozenset({"on hold", "pending", "hold"})
_AWAITING: Final = re.compile(r"(?:awaiting|pending|on hold)\s*[-–:/(]?\s*([a-z][a-z &/-]*?)\)?")
_NO_REASON: Final = "unspecified"


def plain(text: str) -> str:
    """Return a word of theirs without what differs from version to version: case, hyphens."""
    return " ".join(re.sub(r"(?<=\w)-(?=\w)", " ", text.lower()).split())


def state_of(text: str, hold_reason: str | None) -> str | None:
    """Return our state, a hold by its reason; None if there is no such state."""
    word = plain(text)
    if word in _STATES:
        return _STATES[word]
    if word in _HELD:
        return _NO_REASON if hold_reason is None else _reason(plain(hold_reason))
    awaited = _AWAITING.fullmatch(word)
    return None if awaited is None else _reason(awaited[1])


def _reason(word: str) -> str:
    awaited = _AWAITING.fullmatch(word)
    name = awaited[1] if awaited else word
    known = _REASONS.get(name)
    return known or re.sub(r"[^a-z0-9]+", "_", name).strip("_") or _NO_REASON
