"""Knowledge's read model: one row per article."""

from datetime import datetime
from typing import Final
from uuid import UUID

from shared.runtime.read_model import Facet, Table
from shared.search.documents import texts


class Origin(Facet, frozen=True):
    """What never changes once the article is drafted."""

    number: str
    author_id: str
    language: str
    drafted_at: datetime


class Content(Facet, frozen=True):
    """What the article says."""

    title: str
    body: str
    tags: list[str]


class Progress(Facet, frozen=True):
    """Where the article is in its life."""

    status: str
    status_since: datetime


class Activity(Facet, frozen=True):
    """The last thing recorded about it; its guard is the article's sequence."""

    updated_at: datetime


ARTICLES: Final = Table(
    "article",
    {"article_id": UUID},
    (Origin, Content, Progress, Activity),
    indexes=("drafted_at, article_id", "number"),
)
WORDING: Final = texts("article_id")
