"""Knowledge over HTTP: write, publish, find."""

from datetime import datetime
from functools import partial
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request

from services.knowledge import queries, schemas
from services.knowledge.domain.article import (
    ArticleCommand,
    DraftArticle,
    PublishArticle,
    RetireArticle,
    ReviseArticle,
)
from services.knowledge.handlers import ArticleCommands
from shared.http import idempotency, openapi, preferences
from shared.http.answers import Answer, Made, Tagged, settle
from shared.http.auth import Admitted, Caller
from shared.http.body import openapi_body, read_struct
from shared.http.commands import CommandRoutes, Verb
from shared.http.conditional import refuse_if_match
from shared.http.idempotency import creation_id
from shared.http.named import NamedInPath
from shared.http.pagination import Window, next_headers
from shared.http.words import asked_for
from shared.journal.handler import Intent
from shared.runtime.service import Service
from shared.telemetry.context import lineage

_STAYS: Final = "keep an article published that they revise"
_EXAMPLE: Final = schemas.NewArticle(
    title="VPN drops every few minutes",
    text="Renew the client certificate: Settings, Network, VPN, Renew.",
    tags=("vpn", "certificate"),
)
_VERBS: Final = (
    Verb[ArticleCommand](
        "",
        schemas.Revision,
        schemas.Revision(title=_EXAMPLE.title, text=_EXAMPLE.text, tags=_EXAMPLE.tags),
        lambda body, article, caller: ReviseArticle(
            *(article, caller.subject, body.title, body.text, body.tags),
            may_publish_own=caller.may(_STAYS),
        ),
        "Say it better; a draft again until somebody else publishes it",
        "PUT",
    ),
    Verb[ArticleCommand](
        "publish",
        schemas.Publish,
        schemas.Publish(),
        lambda _, article, caller: PublishArticle(article, caller.subject, caller.grant.is_whole),
        "Let requesters find it, having read what others wrote",
    ),
    Verb[ArticleCommand](
        "retire",
        schemas.Retire,
        schemas.Retire(reason="The old client is gone."),
        lambda body, article, caller: RetireArticle(article, caller.subject, body.reason),
        "Take it out of sight",
    ),
)


class Knowledge:
    """The routes, bound to what they call."""

    def __init__(self, service: Service, articles: ArticleCommands) -> None:
        self._pool = service.pool
        self._clock = service.clock
        self._articles = articles
        self._commands = CommandRoutes[ArticleCommand](
            service.clock.now,
            articles.carry_out,
            _admit,
            partial(queries.article_sequence, service.pool),
        )

    def router(self) -> APIRouter:
        """Return all routes of knowledge."""
        router = openapi.router("knowledge")
        router.post(
            "/articles",
            summary="Write down what you know",
            openapi_extra=openapi_body(
                schemas.NewArticle,
                _EXAMPLE,
                parameters=[idempotency.OPENAPI_PARAMETER, preferences.OPENAPI_PARAMETER],
            ),
        )(self.draft)
        router.get("/articles", summary="Articles, the newest first")(self.list_articles)
        router.get("/articles/{id}", summary="One article")(self.read)
        self._commands.add(router, "/articles/{id}", _VERBS)
        router.get("/search", summary="Find articles by words, English or Chinese")(self.search)
        return router

    async def draft(self, request: Request, caller: Admitted) -> Made[schemas.ArticleAnswer]:
        """Draft an article. 201 with its id and number; 200 if the same came before."""
        refuse_if_match(request)
        body = await read_struct(request, schemas.NewArticle)
        article_id = creation_id(request, caller)
        command = DraftArticle(
            article_id,
            await self._articles.next_number(),
            caller.subject,
            body.title,
            body.text,
            body.language,
            body.tags,
        )
        intent = Intent[ArticleCommand](
            str(article_id), command, self._clock.now(), lineage(), is_new=True
        )
        written, number = await self._articles.draft(intent)
        shown = partial(queries.article_sequence, self._pool, article_id)
        return Made(
            schemas.ArticleAnswer(article_id, number, 1),
            1,
            status=201 if written.events else 200,
            headers={
                "Location": f"{request.url.path}/{article_id}",
                **await settle(request, shown, 1),
            },
        )

    async def read(self, id: NamedInPath, caller: Admitted) -> Tagged[queries.ArticleView]:
        """Return an article with its ETag; requesters see published ones."""
        article = await queries.read_article(
            self._pool, id, published_only=not caller.grant.is_whole
        )
        return Tagged(article, article.sequence)

    async def list_articles(
        self,
        request: Request,
        caller: Admitted,
        window: Window,
        *,
        status: Literal["draft", "published", "retired"] | None = None,
        language: Literal["en", "zh"] | None = None,
        tag: str | None = None,
    ) -> Answer[queries.ArticleList]:
        """Return articles, the newest first; requesters see published ones."""
        wanted = queries.ArticleFilter(
            status=status if caller.grant.is_whole else "published", language=language, tag=tag
        )
        after = window.after(tuple[datetime, UUID])
        found = await queries.list_articles(self._pool, wanted, limit=window.limit, after=after)
        headers = next_headers(
            request, window, found, lambda last: (last.drafted_at, last.article_id)
        )
        return Answer({"articles": found}, headers=headers)

    async def search(
        self,
        caller: Admitted,
        q: Annotated[str, Query(min_length=1, max_length=500)],
        language: Literal["en", "zh"] | None = None,
        limit: Annotated[int, Query(ge=1, le=50)] = 10,
    ) -> Answer[queries.Hits]:
        """Return the articles that fit best; a word in the title counts for more."""
        hits = await queries.search(
            self._pool,
            asked_for(q),
            language=language,
            published_only=not caller.grant.is_whole,
            limit=limit,
        )
        return Answer({"hits": hits})


async def _admit(_caller: Caller, _article_id: UUID) -> None:
    """Whom the table lets may command any article; who wrote it, `decide` knows."""
