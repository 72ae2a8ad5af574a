"""Whole documents as routes: PUT /things/{id}; the same again changes nothing."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Depends, Path, Request, Response

from shared.contracts.base import EventData
from shared.http import conditional, preferences
from shared.http.answers import answer, settle
from shared.http.auth import Principal, Role, requires
from shared.http.body import openapi_body, read_struct
from shared.journal.handler import Written

D = TypeVar("D", bound=EventData)


@dataclass(frozen=True)
class Document(Generic[D]):
    """A kind of document: where it is put, its body, and how body and id become the event.

    The path has `{id}` in it. `example` goes into the description of the route.
    """

    path: str
    body: type[Any]
    example: Any
    event: Callable[[Any, str], D]
    roles: tuple[Role, ...]
    summary: str


@dataclass(frozen=True)
class DocumentRoutes(Generic[D]):
    """What the routes call.

    `record` is given the event and the sequence that the caller has seen, if any; `shown` tells up
    to which sequence the read model knows the event's stream.
    """

    record: Callable[[D, int | None], Awaitable[Written]]
    shown: Callable[[D], Awaitable[int]]

    def add(self, router: APIRouter, documents: Sequence[Document[D]]) -> None:
        """Add a route for every kind of document."""
        parameters = [conditional.OPENAPI_PARAMETER, preferences.OPENAPI_PARAMETER]
        for document in documents:
            router.put(
                document.path,
                summary=document.summary,
                name=f"put {document.path.split('/')[1]}",
                openapi_extra=openapi_body(document.body, document.example, parameters=parameters),
            )(self._route(document))

    def _route(self, document: Document[D]) -> Callable[..., Awaitable[Response]]:
        async def route(
            request: Request,
            id: Annotated[str, Path(min_length=1, max_length=200)],  # noqa: A002 as in the path
            _: Annotated[Principal, Depends(requires(*document.roles))],
        ) -> Response:
            event = document.event(await read_struct(request, document.body), id)
            expected = conditional.parse_if_match(request.headers.get(conditional.HEADER))
            written = await self.record(event, expected)

            async def shown() -> int:
                return await self.shown(event)

            return answer(
                {"id": id, "sequence": written.sequence, "changed": bool(written.events)},
                sequence=written.sequence,
                headers=await settle(request, shown, written.sequence),
            )

        return route
