"""Every answer stands in the OpenAPI document: its schema, an example of it, its headers."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.documented import document, operations, resolved, validator

from services.host import ROOMS

ANSWERS = [
    f"{service}: {operation.name}: {status}"
    for service in ROOMS
    for operation in operations(document(service))
    for status in operation.responses
]
SUCCESSES = [one for one in ANSWERS if one.rpartition(" ")[2][0] == "2"]
FREE = {
    "Moment.what": "the data of an event, whichever it is",
    "Differs.before": "any part of a document",
    "Differs.after": "any part of a document",
}
"""Fields that hold any JSON, and why."""


def content_of(answer: str) -> tuple[str, str, dict[str, Any]]:
    service, name, status = answer.split(": ")
    found = document(service)
    responses = {one.name: one.responses for one in operations(found)}[name]
    ((kind, content),) = resolved(found, responses[status])["content"].items()
    return service, kind, content


@pytest.mark.parametrize("service", ROOMS)
def test_every_operation_has_an_answer_of_success(service: str) -> None:
    for name, responses in operations(document(service)):
        assert any(status.startswith("2") for status in responses), name


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_answer_says_what_it_is_made_of(answer: str) -> None:
    service, kind, content = content_of(answer)
    schema = resolved(document(service), content["schema"])
    assert {"type", "anyOf"} & schema.keys(), "anything fits its schema"
    is_error = answer[-3] in "45" and not answer.endswith("/ready: 503")
    assert (kind == "application/problem+json") == is_error


@pytest.mark.parametrize("answer", SUCCESSES)
def test_every_answer_has_an_example_that_fits_its_schema(answer: str) -> None:
    service, _, content = content_of(answer)
    assert "example" in content, "no example"
    validator(document(service), content["schema"]).validate(content["example"])


@pytest.mark.parametrize("service", ROOMS)
def test_fields_that_may_hold_anything_are_few_and_known(service: str) -> None:
    schemas = document(service)["components"]["schemas"]
    assert not [name for name in schemas if "." in name], "two types of one name"
    free = {
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, inner in schema.get("properties", {}).items()
        if any(part in ({}, {"type": "object"}) for part in parts(inner))
    }
    assert free <= FREE.keys()


def parts(node: Any) -> Iterator[Any]:
    """Yield a schema and all schemas within it, but not those it refers to."""
    yield node
    if isinstance(node, dict):
        for key, inner in node.items():
            if key in {"anyOf", "prefixItems"}:
                for one in inner:
                    yield from parts(one)
            elif key in {"items", "additionalProperties"} and not isinstance(inner, bool):
                yield from parts(inner)
