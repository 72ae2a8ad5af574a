"""Whether people can see a text. One of invisible characters alone names nobody and says nothing.

Source: Unicode's general categories, and its property Default_Ignorable_Code_Point.
"""

import unicodedata
from typing import Final

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"})
"""Controls, formats, spaces; and marks, which need a letter to stand on."""
_BLANKS: Final = frozenset("\u115f\u1160\u2065\u2800\u3164\uffa0\U0001d159")
"""Fillers and blanks that Unicode files under letters, symbols, or nothing yet."""
_IGNORABLE: Final = (range(0xFFF0, 0xFFF9), range(0xE0000, 0xE1000))


def is_blank(text: str) -> bool:
    """Say whether nothing of a text can be seen. An empty one is blank."""
    return not any(map(_is_seen, text))


def _is_seen(character: str) -> bool:
    if "!" <= character <= "~":
        return True
    if unicodedata.category(character) in _UNSEEN or character in _BLANKS:
        return False
    return not any(ord(character) in span for span in _IGNORABLE)
