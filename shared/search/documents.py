"""The table of the text index: what each text is found by, kept apart by the week it was filed in.

Every term of a text is written with its week, as `2912~vpn`. So the index has a list of its own
for each word of each week, and who looks for the newest reads the lists of the newest weeks only,
however many texts have the word.
"""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from shared.runtime.read_model import Facet, Table
from shared.search.terms import counted, fold

WEEK: Final = "~"
"""Stands for the week in terms and queries."""
_WEEK_SECONDS: Final = 7 * 86_400
_OFTEN: Final = 3
_LENGTH_MAX: Final = 250_000
"""Characters of all terms of a text, of 4 bytes at most; PostgreSQL takes a megabyte."""
_BESIDE: Final = 8
"""Characters that a term has beside its text, its week among them."""


class Filing(Facet, frozen=True):
    """When a text was filed, and as whose; `owner` is a term that no text has."""

    filed_at: datetime
    week: int
    owner: str


class Wording(Facet, frozen=True):
    """What the text is found by, in the form of a `tsvector`."""

    words: str


def texts(key: str) -> Table:
    """Return the table of a service's texts; `key` is the id of what a text is of.

    `document` is what is searched. A text whose filing is not known yet is not found.
    """
    return Table(
        "wording",
        {key: UUID},
        (Filing, Wording),
        # Written at once: a list of what is still to be written would be read for every week.
        indexes=("week", "USING gin (document) WITH (fastupdate = off)"),
        generated={
            "document": (
                "tsvector",
                f"replace(owner || words, '{WEEK}', week::text || '{WEEK}')::tsvector",
            )
        },
    )


def filed(at: datetime, owner: str = "") -> Filing:
    """Return when a text was filed, and whose it is if it can be asked for by that."""
    return Filing(at, week_of(at), f"{owner_term(owner)} " if owner else "")


def week_of(at: datetime) -> int:
    """Return the week of an instant, counted from 1970."""
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() // _WEEK_SECONDS)


def owner_term(owner: str) -> str:
    """Return the term by which texts of somebody are found; a word never has such a sign."""
    return _quoted(f"@{owner}")


def term(text: str) -> str:
    """Return a term as it stands in a query."""
    return _quoted(text)


def _quoted(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{WEEK}{plain}'"


def worded(title: str, body: str) -> Wording:
    """Return what a text is found by: weight A in the title, B if the body has it often.

    A term stands there once; where it stands, and how often, is not kept. What is beyond
    the quarter of a million characters of terms is not found.
    """
    of_title = counted(fold(title))
    of_body = counted(fold(body))
    words = [f"{WEEK}{text}:1A" for text in sorted(of_title)]
    left = _LENGTH_MAX - sum(map(len, words))
    for text, count in of_body.items():
        if text in of_title:
            continue
        left -= len(text) + _BESIDE
        if left < 0:
            break
        words.append(f"{WEEK}{text}:1{'B' if count >= _OFTEN else ''}")
    return Wording(" ".join(words))
