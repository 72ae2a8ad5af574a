"""Bodies of knowledge's requests."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from shared.contracts.base import Title
from shared.contracts.knowledge import Tags
from shared.http.commands import Body

ArticleText = Annotated[str, Meta(min_length=1, max_length=65_536)]


class NewArticle(Body, frozen=True):
    """What somebody knows."""

    title: Title
    text: ArticleText
    language: Literal["en", "zh"] = "en"
    tags: Tags = ()


class Revision(Body, frozen=True):
    """Title, text and tags as they shall stand."""

    title: Title
    text: ArticleText
    tags: Tags = ()


class Publish(Body, frozen=True):
    """Nothing more to say."""


class Retire(Body, frozen=True):
    """Why the article no longer holds."""

    reason: Annotated[str, Meta(min_length=1, max_length=1000)]


class ArticleAnswer(msgspec.Struct, frozen=True):
    """The article that was drafted."""

    article_id: UUID
    number: str
    sequence: int
