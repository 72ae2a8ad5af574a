"""Where in a text the things are that were looked for."""

from typing import Final

import msgspec

from shared.search.terms import SearchTerms, fold, terms

_READ_MAX: Final = 20_000
"""Characters of a text that are looked through for marks."""
_WIDTH: Final = 160


class Highlight(msgspec.Struct, frozen=True):
    """A part of a field and where in it the words are.

    `marks` are pairs of first and behind last place, in Unicode characters of `text`, in order.
    """

    field: str
    text: str
    marks: list[tuple[int, int]]


def highlight(field: str, text: str, asked: SearchTerms) -> Highlight | None:
    """Return the part of a text around the first thing that is looked for; None if it has none.

    What stands beyond the first 20,000 characters is found but not shown.
    """
    spans = _spans(text, asked)
    if not spans:
        return None
    start = 0 if len(text) <= _WIDTH else max(0, spans[0][0] - _WIDTH // 4)
    end = min(len(text), start + _WIDTH)
    marks = [(first - start, min(after, end) - start) for first, after in spans if first < end]
    return Highlight(field, text[start:end], marks)


def snippet(text: str, asked: SearchTerms) -> str:
    """Return the part of `text` around the first thing that is looked for, on one line."""
    spans = _spans(text, asked)
    start = max(0, spans[0][0] - _WIDTH // 4) if spans else 0
    cut = " ".join(text[start : start + _WIDTH].split())
    return f"{'… ' if start else ''}{cut}{' …' if start + _WIDTH < len(text) else ''}"


def _spans(text: str, asked: SearchTerms) -> list[tuple[int, int]]:
    """Return where the things are, in order, joined if they touch; none far behind the first."""
    read = text[:_READ_MAX]
    folded = fold(read)
    found: list[tuple[int, int]] = []
    for term in terms(folded, asked.marked):
        if found and term.start > found[0][0] + _WIDTH:
            break
        found.append((term.start, term.end))
    spans: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        else:
            spans.append((start, end))
    return spans if len(folded) == len(read) else _unfolded(read, spans)


def _unfolded(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans of a text whose characters were folded to more, or fewer, of them."""
    origin: list[int] = []
    for place, width in enumerate(len(fold(character)) for character in text):
        origin += [place] * width
    return [(origin[start], origin[end - 1] + 1) for start, end in spans]
