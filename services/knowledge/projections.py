"""How events become articles to read and to find."""

from collections.abc import Iterator
from typing import Final

from services.knowledge.tables import ARTICLES, WORDING, Activity, Content, Origin, Progress
from shared.contracts.knowledge import (
    ArticleDrafted,
    ArticlePublished,
    ArticleRetired,
    ArticleRevised,
)
from shared.contracts.registry import Recorded
from shared.runtime.read_model import ReadModel
from shared.search.documents import Filing, Wording, filed, worded

ArticleFacet = Origin | Content | Progress | Activity | Filing | Wording


def project(event: Recorded) -> Iterator[ArticleFacet]:
    """Yield every facet that `event` sets."""
    data = event.data
    match data:
        case ArticleDrafted():
            yield Origin(data.number, data.author_id, data.language, event.time)
            yield filed(event.time)
            yield from _content(data)
            yield Progress("draft", event.time)
        case ArticleRevised():
            yield from _content(data)
            if data.status is not None:
                yield Progress(data.status, event.time)
        case ArticlePublished():
            yield Progress("published", event.time)
        case ArticleRetired():
            yield Progress("retired", event.time)
        case _:
            return
    yield Activity(event.time)


def _content(data: ArticleDrafted | ArticleRevised) -> Iterator[Content | Wording]:
    yield Content(data.title, data.text, list(data.tags))
    yield worded(data.title, data.text)


READ_MODEL: Final = ReadModel((ARTICLES, WORDING), project, version=3)
