"""Knowledge's commands: from what a caller wants to events in the journal."""

from typing import Final

from services.knowledge.domain.article import (
    Article,
    ArticleCommand,
    DraftArticle,
    decide,
    evolve,
    number_of,
)
from shared.journal.handler import CommandHandler, Decider, Intent, Written
from shared.journal.snapshots import Compaction
from shared.runtime.numbers import Numbers
from shared.runtime.service import Service

DECIDER: Final = Decider[ArticleCommand, Article](
    Article(), decide, evolve, Compaction[ArticleCommand]()
)


class ArticleCommands:
    """Writes articles."""

    def __init__(self, service: Service) -> None:
        self._handler = CommandHandler(DECIDER, service.committer, service.pool)
        self._numbers = Numbers(service.pool)

    async def next_number(self) -> str:
        """Return a number no article has."""
        return number_of((await self._numbers.take())[0])

    async def draft(self, intent: Intent[ArticleCommand]) -> tuple[Written, str]:
        """Draft an article; return what was written and the article's number.

        Raises: ReusedIdError when the id was used for another article.
        """
        written = await self._handler.handle(intent)
        if written.events and isinstance(intent.command, DraftArticle):
            return written, intent.command.number
        article, _ = await self._handler.state(intent.stream_id)
        return written, article.drafted.number if article.drafted is not None else ""

    async def carry_out(self, intent: Intent[ArticleCommand]) -> Written:
        """Carry out a command on an article that exists; the errors are the domain's."""
        return await self._handler.handle(intent)
