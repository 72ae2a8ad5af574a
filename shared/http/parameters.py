"""Parameters of addresses: names of things are as contracts have them; unknown ones are refused.

A filter with a typo in its name would let everything through, and its caller believe the figures;
so would one that was given twice, and of which only the last counts.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Final, cast, get_args, get_origin

from fastapi import Path
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError
from starlette.requests import Request

from shared.contracts.base import KEY_PATTERN
from shared.contracts.visible import is_blank
from shared.errors import InvalidInputError

_STEPS: Final = frozenset({".", ".."})


def _require_name(text: str) -> str:
    """Return a name that people can read and addresses can hold. Raises: PydanticCustomError."""
    if is_blank(text) or not text.isprintable() or text != text.strip():
        raise PydanticCustomError("name", "must be of visible characters, no blanks around them")
    if not _STEPS.isdisjoint(text.split("/")):
        raise PydanticCustomError("name", "must not be a step through folders")
    return text


KeyInPath = Annotated[
    str,
    Path(min_length=1, max_length=200, pattern=KEY_PATTERN),
    AfterValidator(_require_name),
]
"""The id of a thing that people name, as `Key` in contracts; and one that can be told apart."""


async def refuse_unknown_parameters(request: Request) -> None:
    """FastAPI dependency of every route but probes.

    Raises: InvalidInputError naming the first one that the route does not take, or takes once.
    """
    if not request.scope["query_string"]:
        return
    route = cast("APIRoute", request.scope["route"])
    known = dict(sorted(_parameters(route.dependant)))
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, count in given.items():
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InvalidInputError(
                f"{name!r} is no parameter of this address; {takes}", field=name
            )
        if count > 1 and not known[name]:
            raise InvalidInputError(f"{name} is given {count} times; give it once", field=name)


def _parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    """Yield the parameters of a route, and whether each may be given more than once."""
    for field in dependant.query_params:
        kind = field.field_info.annotation
        yield field.alias, any(get_origin(one) is list for one in (kind, *get_args(kind)))
    for inner in dependant.dependencies:
        yield from _parameters(inner)
