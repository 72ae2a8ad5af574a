"""What routes answer, as their OpenAPI document tells it: read from what they say they return.

Nothing is told twice: success answers are the types of the return annotations, which the type
checker holds routes to; headers and errors follow from what a route takes and who may call it.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

import msgspec
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.responses import Response

from shared.http import problem
from shared.http.access import Access
from shared.http.answers import Made, Tagged

KERNEL_EXAMPLES: Final = Path(__file__).with_name("examples.json")
"""Answers of the routes that every service has, by route and status, as `make docs` writes them.
"""

_SCHEMA: Final = "#/components/schemas/{name}"


def _header(description: str, *, required: bool = False) -> dict[str, Any]:
    return {"description": description, "required": required, "schema": {"type": "string"}}


_EVERY: Final = {
    "X-Correlation-ID": _header("Finds in logs and events what this led to.", required=True)
}
_ETAG: Final = {"ETag": _header("The record's sequence, for If-Match.", required=True)}
_LOCATION: Final = {"Location": _header("Where it is.")}
_BY_PARAMETER: Final = {
    "cursor": {"Link": _header("`next`: the page after this one, if there is one.")},
    "Prefer": {"Preference-Applied": _header("`wait`, if one's own write is shown.")},
}
_RETRY: Final = {"Retry-After": _header("Seconds to wait.", required=True)}
_BY_STATUS: Final = {
    401: {"WWW-Authenticate": _header("How to say who calls.", required=True)},
    429: _RETRY,
    503: _RETRY,
}


class Route(APIRoute):
    """A route that says what it answers by its return annotation: `Answer`, or a kind of it.

    FastAPI is told that there is no model, or it would have one of pydantic's read every answer.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 FastAPI's own
        super().__init__(*arguments, **{**options, "response_model": None})


def router(tag: str, prefix: str = "") -> APIRouter:
    """Return a router of such routes."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=Route)


class _Kind(NamedTuple):
    """One kind of answer of a route: with which statuses, and the type that it shows."""

    of: type[Response]
    statuses: tuple[int, ...]
    shows: Any


def _kinds(route: Route) -> list[_Kind]:
    annotation: Any = route.endpoint.__annotations__["return"]
    union = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else [annotation]
    return [
        _Kind(kind := get_origin(one) or one, getattr(kind, "statuses", ()), _shown(one))
        for one in union
    ]


def _shown(kind: Any) -> Any:  # noqa: ANN401 an annotation
    """Return the type in `Answer[type]`, also of a class that is such an answer; text has none."""
    for one in (kind, *getattr(kind, "__orig_bases__", ())):
        if arguments := get_args(one):
            return arguments[0]
    return str


def describe(
    document: dict[str, Any], routes: Iterable[object], access: Access, examples: Path | None
) -> None:
    """Write into FastAPI's document what those of the routes answer that say so."""
    every = [(route, _kinds(route)) for route in routes if isinstance(route, Route)]
    shown = [kind.shows for _, kinds in every for kind in kinds]
    found, named = msgspec.json.schema_components([*shown, problem.Problem], ref_template=_SCHEMA)
    schemas = iter(found)
    document.setdefault("components", {}).setdefault("schemas", {}).update(named)
    document["components"]["responses"] = dict(_problems())
    known = _read(KERNEL_EXAMPLES) | ({} if examples is None else _read(examples))
    for route, kinds in every:
        path = document["paths"].get(route.path_format, {})
        with_schemas = [(kind, next(schemas)) for kind in kinds]
        for method in route.methods or ():
            operation = path.get(method.lower())
            if operation is not None:
                row = access.rows[f"{method} {route.path}"]
                told = known.get(f"{method} {route.path_format}", {})
                operation["responses"] = {
                    **_refusals(operation, method, is_open=row.is_open),
                    **_successes(operation, with_schemas, told),
                }


def _read(examples: Path) -> dict[str, dict[str, Any]]:
    return msgspec.json.decode(examples.read_bytes(), type=dict[str, dict[str, Any]])


def _successes(
    operation: Mapping[str, Any],
    kinds: list[tuple[_Kind, dict[str, Any]]],
    examples: Mapping[str, Any],
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in sorted({status for kind, _ in kinds for status in kind.statuses}):
        here = [one for one in kinds if status in one[0].statuses]
        schemas = [schema for _, schema in here]
        content = {"schema": schemas[0] if len(here) == 1 else {"anyOf": schemas}}
        if str(status) in examples:
            content["example"] = examples[str(status)]
        headers = _EVERY | _BY_STATUS.get(status, {})
        for parameter in operation.get("parameters", ()):
            headers |= _BY_PARAMETER.get(parameter["name"], {})
        for kind in (Tagged, Made):
            if all(issubclass(one.of, kind) for one, _ in here):
                headers |= _ETAG if kind is Tagged else _LOCATION
        found[str(status)] = {
            "description": _DESCRIPTIONS.get(status, "What was asked for."),
            "headers": headers,
            "content": {str(here[0][0].of.media_type): content},
        }
    return found


_DESCRIPTIONS: Final = {
    201: "It was made.",
    503: "Not now; what is told says why.",
}


def _refusals(operation: Mapping[str, Any], method: str, *, is_open: bool) -> dict[str, Any]:
    """Return the errors that an operation may answer with."""
    statuses = {500, 503}
    if not is_open:
        statuses |= {400, 401, 403, 404, 413, 422}
    if method != "GET":
        statuses |= {409, 429}
    if "requestBody" in operation:
        statuses |= {415}
    if any(parameter["name"] == "If-Match" for parameter in operation.get("parameters", ())):
        statuses |= {412}
    return {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)
    }


def _problems() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every error by its status, with an example of each kind that has it."""
    schema = {"$ref": _SCHEMA.format(name="Problem")}
    for status in sorted({kind.status for kind in problem.ALL}):
        kinds = [kind for kind in problem.ALL if kind.status == status]
        examples = {kind.name: {"value": problem.example(kind)} for kind in kinds}
        yield (
            str(status),
            {
                "description": ", or: ".join(kind.title for kind in kinds),
                "headers": _EVERY | _BY_STATUS.get(status, {}),
                "content": {problem.MEDIA_TYPE: {"schema": schema, "examples": examples}},
            },
        )
