"""Things in addresses: by their id, or by the number that people read out."""

from typing import Annotated, Final, Protocol
from uuid import UUID

from fastapi import Depends, Path
from msgspec import Meta
from starlette.requests import Request

from shared.contracts.base import KEY_PATTERN
from shared.errors import NotFoundError
from shared.http.auth import Admitted, state_of
from shared.ids import random_id
from shared.postgres.pool import Pool

_LENGTH_MAX: Final = 200
_WORDS: Final = "desk.words"


_MEANT: Final = "the id, or the number that people read out, such as INC-000042"
IdOrNumber = Annotated[
    str, Meta(min_length=1, max_length=_LENGTH_MAX, pattern=KEY_PATTERN, description=_MEANT)
]
"""A field of a body that names a thing."""


class Find(Protocol):
    """Returns the id of what has a number; None where nothing has it.

    Asked before it is known whether the caller may see the thing, and so by everybody.
    """

    async def __call__(self, number: str, /) -> UUID | None:
        """Look it up."""
        ...


def numbered(pool: Pool, table: str, key: str) -> Find:
    """Return what looks numbers up in a table of the read model, by its index on `number`."""

    async def find(number: str) -> UUID | None:
        return await pool.fetchval(
            f"SELECT {key} FROM read.{table} WHERE number = $1 LIMIT 1",  # noqa: S608 names of our own
            number,
        )

    return find


async def id_named(request: Request, text: str) -> UUID:
    """Return the id that a text is, or of what has it as its number; else the id of nothing.

    So all that follows for a number that nothing has, and what is said of it, is as for an unknown
    id, and for a thing that is not for the caller to see. Errors name it by the caller's own word.
    """
    found = _id_in(text)
    return found or _told(request, text, await _look_up(request, text) or random_id())


def in_callers_words(request: Request, sentence: str) -> str:
    """Return a sentence with the caller's own words for the ids they named by number."""
    for found, text in request.scope.get(_WORDS, {}).items():
        sentence = sentence.replace(found, text)
    return sentence


def _told(request: Request, text: str, found: UUID) -> UUID:
    request.scope.setdefault(_WORDS, {})[str(found)] = text
    return found


async def _look_up(request: Request, text: str) -> UUID | None:
    find = state_of(request).find
    return None if find is None else await find(text)


def _id_in(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def _named(
    request: Request,
    caller: Admitted,
    id: Annotated[  # noqa: A002 as in the path
        str,
        Path(min_length=1, max_length=_LENGTH_MAX, pattern=KEY_PATTERN, description=_MEANT),
    ],
) -> UUID:
    """Return the id; who may see everything is told at once that nothing is called so."""
    found = _id_in(id)
    if found is not None:
        return found
    known = await _look_up(request, id)
    if known is None and caller.grant.is_whole:
        raise NotFoundError(f"nothing here has the id or number {id!r}")
    return _told(request, id, known or random_id())


NamedInPath = Annotated[UUID, Depends(_named)]
"""The id of what `{id}` in the path names, by id or by number."""
