"""The project's own conformance files, read where they lie beside the project."""

import json
import re
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from jsonschema import Draft7Validator
from starlette.datastructures import Headers

from shared.errors import InvalidInputError, UnsupportedMediaTypeError
from shared.http.cloudevents import STRUCTURED, InboundEvent, parse_cloudevents

VECTORS = Path(__file__).parents[4] / "shared/data/cloudevents-vectors/cloudevents-vectors.zip"
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not VECTORS.exists(), reason="the CloudEvents vectors are not here"),
]


def read(name: str) -> str:
    with zipfile.ZipFile(VECTORS) as archive:
        return archive.read(name).decode()


def parse_http(message: str) -> tuple[Headers, bytes]:
    head, _, body = message.partition("\n\n")
    lines = [line.partition(":") for line in head.splitlines()[1:]]
    return Headers({name: value.strip() for name, _, value in lines}), body.encode()


def scenarios() -> Iterator[tuple[str, str, dict[str, str], Any]]:
    feature = re.sub(r"(?m)^    ", "", read("conformance/features/http-protocol-binding.feature"))
    for part in feature.split("Scenario Outline:")[1:]:
        request, expected_json = re.findall(r'(?s)    """\n(.*?)\n    """', part)
        rows = re.findall(r"\|\s*(\S+)\s*\|\s*(.*?)\s*\|", part)
        examples = re.findall(r"(?m)^\| ([^|]+?)\s*\|$", part.split("Examples:")[1])
        for kind in examples[1:]:
            attributes = {name: value for name, value in rows if name != "key"}
            message = re.sub(r"(?m)^    ", "", request).replace("<contentType>", kind)
            wanted = {
                name: value.replace("<contentType>", kind) for name, value in attributes.items()
            }
            yield kind, message, wanted, json.loads(expected_json)


def test_the_scenarios_of_the_http_binding() -> None:
    count = 0
    for kind, message, wanted, data in scenarios():
        (event,) = parse_cloudevents(*parse_http(message))
        assert event.id == wanted["id"], kind
        assert event.type == wanted["type"]
        assert event.source == wanted["source"]
        assert event.time == msgspec.convert(wanted["time"], type=type(event.time))
        assert json.loads(event.data) == data
        count += 1
    assert count == 4


def documents(name: str) -> list[dict[str, Any]]:
    return [found for found in yaml.load_all(read(name), yaml.BaseLoader) if found]


def both_modes(document: dict[str, Any]) -> Iterator[tuple[Headers, bytes]]:
    attributes = dict(document["ContextAttributes"])
    attributes |= attributes.pop("Extensions", {})
    kind = attributes.get("datacontenttype", "application/json")
    is_json = "json" in kind
    data = json.loads(document["Data"]) if is_json else document["Data"]
    structured = {**attributes, "data": data}
    yield Headers({"content-type": STRUCTURED}), json.dumps(structured).encode()
    headers = {
        f"ce-{name}": sdk._encode_header_value(value)
        for name, value in attributes.items()
        if name != "datacontenttype"
    }
    yield Headers(headers | {"content-type": kind}), document["Data"].encode()


def test_the_minimal_events_are_read_where_their_data_is_json_and_else_refused() -> None:
    accepted = refused = 0
    for document in documents("conformance/yaml/v1.0/v1_minimum.yaml"):
        for headers, body in both_modes(document):
            if "json" not in document["ContextAttributes"]["datacontenttype"]:
                with pytest.raises(UnsupportedMediaTypeError):
                    parse_cloudevents(headers, body)
                refused += 1
                continue
            (event,) = parse_cloudevents(headers, body)
            assert event.id == document["ContextAttributes"]["id"]
            assert json.loads(event.data) == json.loads(document["Data"])
            accepted += 1
    assert (accepted, refused) == (6, 6)


def test_events_of_version_0_3_are_refused_by_their_specversion() -> None:
    for document in documents("conformance/yaml/v0.3/v03_minimum.yaml"):
        for headers, body in both_modes(document):
            with pytest.raises(InvalidInputError) as caught:
                parse_cloudevents(headers, body)
            assert "specversion" in (caught.value.field or "")


def test_extensions_are_the_same_in_both_modes_and_a_missing_source_is_named() -> None:
    for name in ("sample1_b", "sample2_b", "sample7_b", "sample8_b"):
        for document in documents(f"conformance/pkg/diff/testdata/{name}.yaml"):
            document["ContextAttributes"]["Extensions"] = {
                key: value.strip()
                for key, value in document["ContextAttributes"]["Extensions"].items()
            }
            found: list[InboundEvent] = []
            for headers, body in both_modes(document):
                if "source" not in document["ContextAttributes"]:
                    with pytest.raises(InvalidInputError, match="source"):
                        parse_cloudevents(headers, body)
                    continue
                (event,) = parse_cloudevents(headers, body)
                found.append(event)
            for first, second in pairwise(found):
                assert first.extensions == second.extensions
                assert len(first.extensions) == 2
                assert json.loads(first.data) == json.loads(second.data)


def examples_of_the_json_format() -> list[Any]:
    blocks = re.findall(r"(?s)```JSON\n(.*?)```", read("spec/cloudevents/formats/json-format.md"))
    found = [json.loads(block) for block in blocks if '"specversion"' in block]
    return [event for event in found if isinstance(event, dict)]


def test_the_examples_of_the_json_format_agree_with_its_schema_and_the_sdk() -> None:
    validator = Draft7Validator(json.loads(read("spec/cloudevents/formats/cloudevents.json")))
    accepted = 0
    for example in examples_of_the_json_format():
        validator.validate(example)
        body = json.dumps(example).encode()
        kind = example.get("datacontenttype", "application/json")
        if kind != "application/json":
            with pytest.raises((UnsupportedMediaTypeError, InvalidInputError)):
                parse_cloudevents(Headers({"content-type": STRUCTURED}), body)
            continue
        (event,) = parse_cloudevents(Headers({"content-type": STRUCTURED}), body)
        # The SDK refuses an optional attribute that is null, which the format allows.
        unset = {name: value for name, value in example.items() if value is not None}
        theirs = JSONFormat().read(CloudEvent, json.dumps(unset))
        assert (event.id, event.source, event.type) == (
            theirs.get_id(),
            theirs.get_source(),
            theirs.get_type(),
        )
        if "time" in example:  # without one the SDK makes one up
            assert event.time == theirs.get_time()
        if "data" in example:
            assert json.loads(event.data) == example["data"] == theirs.get_data()
        accepted += 1
    assert accepted >= 4
