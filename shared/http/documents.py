"""Whole documents as routes: PUT /things/{id}; the same again changes nothing."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypedDict, TypeVar

from fastapi import APIRouter, Request

from shared.http import conditional, preferences
from shared.http.answers import Tagged, settle
from shared.http.auth import Admitted, Caller
from shared.http.body import openapi_body, read_struct
from shared.http.parameters import KeyInPath
from shared.journal.handler import Written

C = TypeVar("C")


class DocumentAnswer(TypedDict):
    """What became of a document that was put; `changed` is false where it is as it was."""

    id: str
    sequence: int
    changed: bool


@dataclass(frozen=True)
class Document(Generic[C]):
    """A kind of document: where it is put, its body, and how body and id become the command.

    The path has `{id}` in it. `example` goes into the description of the route.
    """

    path: str
    body: type[Any]
    example: Any
    command: Callable[[Any, str], C]
    summary: str
    method: str = "PUT"


@dataclass(frozen=True)
class DocumentRoutes(Generic[C]):
    """What the routes call.

    `carry_out` is given the command, the sequence that the caller has seen, if any, and the
    caller; `shown` tells up to which sequence the read model knows the stream of such a command.
    """

    carry_out: Callable[[C, int | None, Caller], Awaitable[Written]]
    shown: Callable[[C], Awaitable[int]]

    def add(self, router: APIRouter, documents: Sequence[Document[C]]) -> None:
        """Add a route for every kind of document."""
        parameters = [conditional.OPENAPI_PARAMETER, preferences.OPENAPI_PARAMETER]
        for document in documents:
            router.add_api_route(
                document.path,
                self._route(document),
                methods=[document.method],
                summary=document.summary,
                name=f"{document.method.lower()} {document.path}",
                openapi_extra=openapi_body(document.body, document.example, parameters=parameters),
            )

    def _route(self, document: Document[C]) -> Callable[..., Awaitable[Tagged[DocumentAnswer]]]:
        async def route(
            request: Request,
            id: KeyInPath,  # noqa: A002 as in the path
            caller: Admitted,
        ) -> Tagged[DocumentAnswer]:
            command = document.command(await read_struct(request, document.body), id)
            expected = conditional.if_match(request)
            written = await self.carry_out(command, expected, caller)

            async def shown() -> int:
                return await self.shown(command)

            return Tagged(
                {"id": id, "sequence": written.sequence, "changed": bool(written.events)},
                written.sequence,
                headers=await settle(request, shown, written.sequence),
            )

        return route
