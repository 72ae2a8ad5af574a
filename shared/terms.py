"""Words to search by, in English and in Chinese.

PostgreSQL knows no Chinese words. Runs of Chinese characters are therefore cut into overlapping
pairs, each written as ASCII so that every parser and locale takes it for one word; the same is done
to what is searched for. Source: n-gram indexing, as search engines do for CJK text.
"""

import re
from typing import Final

_CJK: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")


def searchable(text: str) -> str:
    """Return text in which every run of Chinese characters is replaced by its pairs."""
    return _CJK.sub(lambda run: f" {_pairs(run.group())} ", text)


def _pairs(run: str) -> str:
    if len(run) == 1:
        return _word(run)
    return " ".join(_word(run[place : place + 2]) for place in range(len(run) - 1))


def _word(characters: str) -> str:
    return "zh" + "".join(f"{ord(character):x}" for character in characters)


def snippet(text: str, query: str, *, width: int = 160) -> str:
    """Return the part of `text` around the first thing that is searched for, on one line."""
    wanted = [word for word in re.split(r"\W+", query) if word]
    wanted += [query[i : i + 2] for i in range(len(query) - 1) if _CJK.fullmatch(query[i : i + 2])]
    lowered = text.lower()
    places = [place for word in wanted if (place := lowered.find(word.lower())) >= 0]
    start = max(0, min(places, default=0) - width // 4)
    cut = " ".join(text[start : start + width].split())
    return f"{'… ' if start else ''}{cut}{' …' if start + width < len(text) else ''}"
