"""An article's life: what may follow what. Pure; time and ids arrive in the command."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal
from uuid import UUID

import msgspec

from shared.contracts.knowledge import (
    AUTHORS_MAX,
    ArticleDrafted,
    ArticleEvent,
    ArticlePublished,
    ArticleRetired,
    ArticleRevised,
)
from shared.errors import (
    ForbiddenError,
    IllegalTransitionError,
    NotFoundError,
    ReusedIdError,
)
from shared.people import person


class ArticleStatus(StrEnum):
    """Where an article is in its life; UNKNOWN before it is drafted."""

    UNKNOWN = "unknown"
    DRAFT = "draft"
    PUBLISHED = "published"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class DraftArticle:
    """Write down what one knows."""

    article_id: UUID
    number: str
    author_id: str
    title: str
    text: str
    language: Literal["en", "zh"]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReviseArticle:
    """Say it better. `may_publish_own`: needs nobody else to read it; so of publishing."""

    article_id: UUID
    revised_by: str
    title: str
    text: str
    tags: tuple[str, ...]
    may_publish_own: bool = False


@dataclass(frozen=True, slots=True)
class PublishArticle:
    """Let requesters find it."""

    article_id: UUID
    published_by: str
    may_publish_own: bool = False


@dataclass(frozen=True, slots=True)
class RetireArticle:
    """Take it out of sight: it no longer holds."""

    article_id: UUID
    retired_by: str
    reason: str


ArticleCommand = DraftArticle | ReviseArticle | PublishArticle | RetireArticle
_ALLOWED: Final[Mapping[type[ArticleCommand], frozenset[ArticleStatus]]] = {
    ReviseArticle: frozenset({ArticleStatus.DRAFT, ArticleStatus.PUBLISHED}),
    PublishArticle: frozenset({ArticleStatus.DRAFT, ArticleStatus.RETIRED}),
    RetireArticle: frozenset({ArticleStatus.PUBLISHED}),
}


@dataclass(frozen=True, slots=True)
class Article:
    """Only what `decide` needs; `content` is title, text and tags as they stand.

    `authors` are all who wrote since the publication before, by what identifies a person; once it
    is published, they are those of what is shown.
    """

    status: ArticleStatus = ArticleStatus.UNKNOWN
    drafted: ArticleDrafted | None = None
    content: tuple[str, str, tuple[str, ...]] | None = None
    authors: frozenset[str] = frozenset()


def number_of(number: int) -> str:
    """Return the number people read out, such as KB-000001."""
    return f"KB-{number:06d}"


def decide(command: ArticleCommand, article: Article) -> list[ArticleEvent]:
    """Return the new facts; an empty list is an honest retry, nothing to add.

    Raises:
        NotFoundError: the article does not exist.
        ReusedIdError: the id was used with other content.
        IllegalTransitionError: the article's status forbids the command.
        ForbiddenError: it is for somebody else than who wrote the article.
    """
    if isinstance(command, DraftArticle):
        return _draft(command, article)
    if article.status is ArticleStatus.UNKNOWN:
        raise NotFoundError(f"no article {command.article_id}")
    _require_reader(command, article)
    if _stands(command, article):
        return []
    if article.status not in _ALLOWED[type(command)]:
        asked = type(command).__name__.removesuffix("Article").lower()
        raise IllegalTransitionError(f"cannot {asked} an article that is {article.status}")
    match command:
        case ReviseArticle():
            return [_revised(command, article)]
        case PublishArticle(article_id, published_by):
            return [ArticlePublished(article_id=article_id, published_by=published_by)]
        case RetireArticle(article_id, retired_by, reason):
            return [ArticleRetired(article_id=article_id, retired_by=retired_by, reason=reason)]


def evolve(article: Article, event: ArticleEvent, _at: datetime) -> Article:
    """Fold one fact. Total: a recorded event is never refused."""
    match event:
        case ArticleDrafted():
            content = (event.title, event.text, event.tags)
            author = person(event.author_id)
            return Article(ArticleStatus.DRAFT, event, content, frozenset({author}))
        case ArticleRevised():
            content = (event.title, event.text, event.tags)
            drafted_by = article.drafted and article.drafted.author_id
            names = event.authors or (drafted_by or event.revised_by, event.revised_by)
            status = article.status if event.status is None else ArticleStatus(event.status)
            return replace(
                article, status=status, content=content, authors=frozenset(map(person, names))
            )
        case ArticlePublished():
            return replace(article, status=ArticleStatus.PUBLISHED)
        case ArticleRetired():
            return replace(article, status=ArticleStatus.RETIRED)


def _draft(command: DraftArticle, article: Article) -> list[ArticleEvent]:
    event = ArticleDrafted(
        article_id=command.article_id,
        number=command.number,
        author_id=command.author_id,
        title=command.title,
        text=command.text,
        language=command.language,
        tags=command.tags,
    )
    if article.drafted is None:
        return [event]
    repeated = msgspec.structs.replace(event, number=article.drafted.number)
    for name in event.__struct_fields__:
        if getattr(repeated, name) != getattr(article.drafted, name):
            raise ReusedIdError(
                f"article {command.article_id} was drafted with another {name}", field=f"/{name}"
            )
    return []


def _require_reader(command: ArticleCommand, article: Article) -> None:
    match command:
        case PublishArticle(_, who, may_publish_own):
            if person(who) in article.authors and not may_publish_own:
                raise ForbiddenError("this is for somebody else than who wrote the article")
        case _:
            return


def _revised(command: ReviseArticle, article: Article) -> ArticleRevised:
    is_published = article.status is ArticleStatus.PUBLISHED
    before = frozenset[str]() if is_published else article.authors
    authors = sorted(before | {person(command.revised_by)})
    if len(authors) > AUTHORS_MAX:
        raise IllegalTransitionError(f"{AUTHORS_MAX} wrote on this article; publish it first")
    stays = command.may_publish_own and is_published
    return ArticleRevised(
        article_id=command.article_id,
        revised_by=command.revised_by,
        title=command.title,
        text=command.text,
        tags=command.tags,
        status="published" if stays else "draft",
        authors=tuple(authors),
    )


def _stands(command: ReviseArticle | PublishArticle | RetireArticle, article: Article) -> bool:
    match command:
        case ReviseArticle():
            is_shown = article.status in _ALLOWED[ReviseArticle]
            return is_shown and article.content == (command.title, command.text, command.tags)
        case PublishArticle():
            return article.status is ArticleStatus.PUBLISHED
        case RetireArticle():
            return article.status is ArticleStatus.RETIRED
