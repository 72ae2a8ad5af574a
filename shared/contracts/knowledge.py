"""Events that knowledge owns: an article's life from draft to retirement."""

from typing import Annotated, ClassVar, Final, Literal
from uuid import UUID

from msgspec import Meta

from shared.contracts.base import EventData, Key, Text, Title

AUTHORS_MAX: Final = 100
Tags = Annotated[tuple[Key, ...], Meta(max_length=50)]


class ArticleData(EventData, frozen=True, kw_only=True):
    """Data of an event in an article's stream."""

    STREAM: ClassVar[str] = "article_id"

    article_id: UUID


class ArticleDrafted(ArticleData, frozen=True, kw_only=True):
    """Somebody wrote down what they know; only the desk sees it."""

    TYPE: ClassVar[str] = "article.drafted"

    number: Key
    author_id: Key
    title: Title
    text: Text
    language: Literal["en", "zh"]
    tags: Tags


class ArticleRevised(ArticleData, frozen=True, kw_only=True):
    """Title, text and tags as they stand from now on, in an article that is what `status` says.

    What nobody else has read is a draft again; a published article shows it at once. `authors` are
    all who wrote since the article was published last. Both are missing in events of before: those
    left an article as it was.
    """

    TYPE: ClassVar[str] = "article.revised"

    revised_by: Key
    title: Title
    text: Text
    tags: Tags
    status: Literal["draft", "published"] | None = None
    authors: Annotated[tuple[Key, ...], Meta(max_length=AUTHORS_MAX)] = ()


class ArticlePublished(ArticleData, frozen=True, kw_only=True):
    """Requesters can find the article."""

    TYPE: ClassVar[str] = "article.published"

    published_by: Key


class ArticleRetired(ArticleData, frozen=True, kw_only=True):
    """The article no longer holds and is not shown; it may be published again."""

    TYPE: ClassVar[str] = "article.retired"

    retired_by: Key
    reason: Text


ArticleEvent = ArticleDrafted | ArticleRevised | ArticlePublished | ArticleRetired
