"""What the OpenAPI documents say, and whether real answers are as they say."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import httpx
import jsonschema_rs
from starlette.routing import Match

from services.host import ROOMS
from shared.http.app import DeskApp
from shared.http.kernel import make_app

SUCCESS = "2"


class Operation(NamedTuple):
    """One operation of a document; `name` is as the access table has it."""

    name: str
    responses: Mapping[str, Any]


@cache
def app_of(service: str) -> DeskApp:
    """Return a service's app that can be described, which needs no database, but not called."""
    stand_in = MagicMock()
    stand_in.journal.writer = service
    return make_app(ROOMS[service](), stand_in, MagicMock())


def document(service: str) -> dict[str, Any]:
    """Return the OpenAPI document of a service."""
    return app_of(service).openapi()


def operations(found: Mapping[str, Any]) -> Iterator[Operation]:
    """Yield every operation of a document."""
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            yield Operation(f"{method.upper()} {path}", operation["responses"])


def resolved(found: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a node is or refers to."""
    while "$ref" in node:
        target: Any = found
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def closed(node: Any) -> Any:
    """Return a schema by which objects have no fields but those named in it."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    inner = {key: closed(item) for key, item in node.items()}
    if isinstance(inner.get("properties"), dict):
        inner.setdefault("additionalProperties", False)
    return inner


def validator(found: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:
    """Return what holds values to a schema of a document, all fields being known."""
    return jsonschema_rs.Draft202012Validator(
        closed({**schema, "components": {"schemas": found["components"]["schemas"]}}),
        validate_formats=True,
    )


class Answers:
    """Holds answers of an app to its document."""

    def __init__(
        self,
        app: DeskApp,
        take: Callable[[str, httpx.Response], None] = lambda _route, _response: None,
    ) -> None:
        """`take` is given the route of each answer, such as `GET /tickets/{id}`, and the answer."""
        self._app = app
        self._take = take
        self._validators: dict[tuple[str, str, str], Any] = {}

    async def __call__(self, response: httpx.Response) -> None:
        """Fail unless the document has such an answer; an event hook of httpx."""
        await response.aread()
        self.check(response)

    def check(self, response: httpx.Response) -> None:
        """Fail unless the document has such an answer."""
        method, path = response.request.method, response.request.url.path
        route = self._route("GET" if method == "HEAD" else method, path)
        methods = self._app.openapi()["paths"].get(route, {})
        operation = methods.get("get" if method == "HEAD" else method.lower())
        if operation is None:
            return
        told = f"{method} {path} answers {response.status_code}"
        status = str(response.status_code)
        assert status in operation["responses"], f"{told}, which the document does not have"
        answer = resolved(self._app.openapi(), operation["responses"][status])
        for name, header in answer["headers"].items():
            assert name in response.headers or not header["required"], f"{told} without {name}"
        kind = response.headers["Content-Type"].partition(";")[0]
        assert kind in answer["content"], f"{told} as {kind}"
        if kind.endswith("json") and method != "HEAD":
            self._hold((route, method, status), answer["content"][kind], response)
        self._take(f"{method} {route}", response)

    def _hold(
        self, key: tuple[str, str, str], content: Mapping[str, Any], response: httpx.Response
    ) -> None:
        if key not in self._validators:
            self._validators[key] = validator(self._app.openapi(), content["schema"])
        value = json.loads(response.content)
        faults = [
            f"{'/'.join(map(str, fault.instance_path))}: {fault.message}"
            for fault in self._validators[key].iter_errors(value)
        ]
        assert not faults, f"{key} answers what its document does not have: {faults}"

    def _route(self, method: str, path: str) -> str:
        scope = {"type": "http", "method": method, "path": path, "root_path": ""}
        for route in self._app.describe.keywords["routes"]:
            if route.matches(scope)[0] is Match.FULL:
                return route.path_format
        return ""
