"""Query parameters: one that a route does not know is refused.

A filter with a typo in its name would let everything through, and its caller believe the figures.
"""

from collections.abc import Iterator
from typing import cast

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import Request

from shared.errors import InvalidInputError


async def refuse_unknown_parameters(request: Request) -> None:
    """FastAPI dependency of every route but probes.

    Raises: InvalidInputError naming the first parameter that the route does not take.
    """
    if not request.scope["query_string"]:
        return
    route = cast("APIRoute", request.scope["route"])
    known = sorted(set(_names(route.dependant)))
    for name in request.query_params:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise InvalidInputError(
                f"{name!r} is no parameter of this address; {takes}", field=name
            )


def _names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for inner in dependant.dependencies:
        yield from _names(inner)
