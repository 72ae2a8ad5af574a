"""Commands as routes: POST /things/{id}/verb with a small body, If-Match, Prefer: wait."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request

from shared.http import conditional, preferences
from shared.http.answers import Made, Tagged, settle
from shared.http.auth import Admitted, Caller
from shared.http.body import openapi_body, read_struct
from shared.http.named import NamedInPath, id_named
from shared.journal.handler import Intent, Written
from shared.telemetry.context import lineage

C = TypeVar("C")


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every request body has in common: a field we do not know is an error."""


class CommandAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a command came to; `changed` is false for an honest retry.

    `id` is the stream on which it was recorded, which may be another than the one in the path.
    """

    id: UUID
    sequence: int
    changed: bool


@dataclass(frozen=True)
class Verb(Generic[C]):
    """A command as a route: last path segment, body, and how both become the command.

    `command` is given the body, the id in the path and the caller. An empty `name` with
    another `method` is a command on the thing itself, such as PATCH. `names` are fields of the body
    that name another thing by id or number; the command is given its id.
    """

    name: str
    body: type[Any]
    example: Any
    command: Callable[[Any, UUID, Caller], C]
    summary: str
    method: str = "POST"
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class CommandRoutes(Generic[C]):
    """What the routes of one kind of thing call.

    `admit` raises where the caller may not touch the thing; `shown` tells up to which sequence the
    read model knows it.
    """

    now: Callable[[], Any]
    carry_out: Callable[[Intent[C]], Awaitable[Written]]
    admit: Callable[[Caller, UUID], Awaitable[object]]
    shown: Callable[[UUID], Awaitable[int]]

    def add(self, router: APIRouter, path: str, verbs: Sequence[Verb[C]]) -> None:
        """Add a route under `path` (which ends in `{id}`) for every verb."""
        for verb in verbs:
            router.add_api_route(
                f"{path}/{verb.name}".rstrip("/"),
                self._route(verb),
                methods=[verb.method],
                summary=verb.summary,
                name=f"{verb.name or verb.method.lower()} {path.split('/')[1]}",
                openapi_extra=openapi_body(
                    verb.body,
                    verb.example,
                    parameters=[conditional.OPENAPI_PARAMETER, preferences.OPENAPI_PARAMETER],
                ),
            )

    def _route(self, verb: Verb[C]) -> Callable[..., Awaitable[Tagged[CommandAnswer]]]:
        async def route(
            request: Request,
            id: NamedInPath,  # noqa: A002 the path says {id}
            caller: Admitted,
        ) -> Tagged[CommandAnswer]:
            body = await read_struct(request, verb.body)
            await self.admit(caller, id)
            for name in verb.names:
                found = await id_named(request, getattr(body, name))
                body = msgspec.structs.replace(body, **{name: str(found)})
            return await self.run(request, id, verb.command(body, id, caller))

        return route

    async def run(self, request: Request, stream_id: UUID, command: C) -> Tagged[CommandAnswer]:
        """Carry out a command of the request and answer with the stream's new sequence."""
        done, headers = await self._carry_out(request, stream_id, command)
        return Tagged(done, done.sequence, headers=headers)

    async def make(self, request: Request, stream_id: UUID, command: C) -> Made[CommandAnswer]:
        """Carry out a command that makes something, as `run`: 201, or 200 if it was there."""
        done, headers = await self._carry_out(request, stream_id, command)
        return Made(done, done.sequence, 201 if done.changed else 200, headers)

    async def _carry_out(
        self, request: Request, stream_id: UUID, command: C
    ) -> tuple[CommandAnswer, Mapping[str, str]]:
        expected = conditional.if_match(request)
        intent = Intent(str(stream_id), command, self.now(), lineage(), expected)
        written = await self.carry_out(intent)
        done = CommandAnswer(
            id=UUID(written.stream_id), sequence=written.sequence, changed=bool(written.events)
        )

        async def shown() -> int:
            return await self.shown(done.id)

        return done, await settle(request, shown, written.sequence)
