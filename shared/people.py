"""Who is who: ids are exact, but mail addresses of ASCII letters have no case (ADR 0028)."""

import re
from typing import Final

_MAIL_ADDRESS: Final = re.compile(r"[^@\s]+@[^@\s]+")


def person(name: str) -> str:
    """Return what identifies the person of an id: two ids with the same are one person."""
    return name.lower() if name.isascii() and _MAIL_ADDRESS.fullmatch(name) else name


def is_same(name: str | None, other: str) -> bool:
    """Say whether two ids are those of one person; nobody is no one."""
    return name is not None and person(name) == person(other)
