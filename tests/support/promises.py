"""Promises as tests publish them."""

from typing import Any


def promise(seconds: int, *, warn_percent: int | None = None) -> dict[str, Any]:
    """Return a target for every ticket: solved within so many seconds of any day."""
    return {
        "name": "resolution",
        "kind": "sla",
        "goal": {"working_seconds": seconds},
        "start": ["created"],
        "stop": ["resolved", "closed"],
        "pause": ["held"],
        "warn": [] if warn_percent is None else [{"percent": warn_percent}],
    }
