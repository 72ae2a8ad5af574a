"""How events become articles to read and to find."""

from collections.abc import Iterator
from typing import Final

from services.knowledge.tables import ARTICLES, Activity, Content, Origin, Progress
from shared.contracts.knowledge import (
    ArticleDrafted,
    ArticlePublished,
    ArticleRetired,
    ArticleRevised,
)
from shared.contracts.registry import Recorded
from shared.runtime.read_model import ReadModel
from shared.terms import searchable


def project(event: Recorded) -> Iterator[Origin | Content | Progress | Activity]:
    """Yield every facet that `event` sets."""
    data = event.data
    match data:
        case ArticleDrafted():
            yield Origin(data.number, data.author_id, data.language, event.time)
            yield _content(data)
            yield Progress("draft", event.time)
        case ArticleRevised():
            yield _content(data)
        case ArticlePublished():
            yield Progress("published", event.time)
        case ArticleRetired():
            yield Progress("retired", event.time)
        case _:
            return
    yield Activity(event.time)


def _content(data: ArticleDrafted | ArticleRevised) -> Content:
    return Content(
        data.title, data.text, list(data.tags), searchable(data.title), searchable(data.text)
    )


READ_MODEL: Final = ReadModel((ARTICLES,), project, version=1)
