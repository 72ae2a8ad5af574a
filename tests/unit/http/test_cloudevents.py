import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from http_desk import Desk
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from shared.contracts.visible import is_blank
from shared.errors import (
    DeskError,
    InvalidInputError,
    MalformedInputError,
    PayloadTooLargeError,
    UnsupportedMediaTypeError,
)
from shared.http.cloudevents import BATCH, STRUCTURED, InboundEvent, parse_cloudevents

EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7",
    "source": "/monitoring/zürich",
    "type": "ticket.reported",
    "subject": "db 1 %",
    "time": "2026-01-05T09:00:00.5+08:00",
    "dataschema": "urn:deskledger:event:ticket.reported:v1",
    "datacontenttype": "application/json; charset=utf-8",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "retries": 3,
    "urgent": True,
    "unset": None,
    "data": {"title": "Disk füll"},
}
READ = InboundEvent(
    id="7",
    source="/monitoring/zürich",
    type="ticket.reported",
    subject="db 1 %",
    time=datetime.fromisoformat("2026-01-05T09:00:00.500000+08:00"),
    dataschema="urn:deskledger:event:ticket.reported:v1",
    data=b'{"title": "Disk f\xc3\xbcll"}',
    extensions={"traceparent": EVENT["traceparent"], "retries": "3", "urgent": "true"},
)


def headers(pairs: Iterable[tuple[str, str]]) -> Headers:
    return Headers(raw=[(name.lower().encode(), value.encode("latin-1")) for name, value in pairs])


def parse(event: object, kind: str = STRUCTURED) -> list[Any]:
    body = event if isinstance(event, bytes) else json.dumps(event, ensure_ascii=False).encode()
    return parse_cloudevents(headers([("Content-Type", kind)]), body)


def binary(body: bytes = b'{"title": "x"}', **changes: str | None) -> list[Any]:
    pairs = {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "7",
        "ce-source": "/m",
        "ce-type": "t",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    return parse_cloudevents(
        headers((name, value) for name, value in pairs.items() if value is not None), body
    )


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in EVENT.items() if key != name}


def test_a_structured_event_is_read_whole() -> None:
    assert parse(EVENT) == [READ]
    assert parse(EVENT, "Application/CloudEvents+JSON; charset=UTF-8") == [READ]


def test_a_batch_is_read_in_order_and_may_be_empty() -> None:
    other = EVENT | {"id": "8"}
    assert [event.id for event in parse([EVENT, other], BATCH)] == ["7", "8"]
    assert parse([], BATCH) == []


@pytest.mark.parametrize("changes", [{}, {"datacontenttype": None}, {"subject": None}])
def test_data_in_base64_is_the_same_data(changes: dict[str, Any]) -> None:
    encoded = base64.b64encode(READ.data).decode()
    (event,) = parse(without("data") | changes | {"data_base64": encoded})
    assert event.data == READ.data


def test_an_event_without_data_has_null() -> None:
    assert parse(without("data"))[0].data == b"null"
    assert binary(b"", **{"Content_Type": None})[0].data == b"null"


@pytest.mark.parametrize(
    ("event", "field"),
    [
        *((without(name), name) for name in ("specversion", "id", "source", "type")),
        *((EVENT | {name: ""}, name) for name in ("id", "source", "type", "subject")),
        *((EVENT | {name: None}, name) for name in ("specversion", "id", "source", "type")),
        *((EVENT | {name: 7}, name) for name in ("id", "time", "subject", "datacontenttype")),
        (EVENT | {"specversion": "0.3"}, "specversion"),
        (EVENT | {"time": "2026-01-05T09:00:00"}, "time"),
        (EVENT | {"time": "2026-01-05 09:00:00Z"}, "time"),
        (EVENT | {"time": "2026-13-05T09:00:00Z"}, "time"),
        (EVENT | {"time": "yesterday"}, "time"),
        (EVENT | {"source": "two words"}, "source"),
        (EVENT | {"dataschema": "<x>"}, "dataschema"),
        (EVENT | {"BadName": "x"}, "BadName"),
        (EVENT | {"bad_name": "x"}, "bad_name"),
        (EVENT | {"": "x"}, ""),
        (EVENT | {"deep": {"a": 1}}, "deep"),
        (EVENT | {"list": [1]}, "list"),
        (EVENT | {"half": 0.5}, "half"),
        (EVENT | {"large": 2**31}, "large"),
        (EVENT | {"subject": "a\nb"}, "subject"),
        (EVENT | {"subject": "a\0b"}, "subject"),
        (EVENT | {"data_base64": "e30="}, "data_base64"),
        (without("data") | {"data_base64": "%%%"}, "data_base64"),
        (without("data") | {"data_base64": 7}, "data_base64"),
        (EVENT | {"data": {"title": "a\0b"}}, "data/title"),
    ],
)
def test_a_bad_attribute_is_named_and_leaves_the_others_of_a_batch_alone(
    event: object, field: str
) -> None:
    with pytest.raises(InvalidInputError) as alone:
        parse(event)
    assert alone.value.field == f"/{field}"
    good, bad = parse([EVENT, event], BATCH)
    assert good == READ
    assert isinstance(bad, InvalidInputError)
    assert bad.field == f"/{field}"


@pytest.mark.parametrize("body", [b"nope", b'{"id": "7"', b'{"id": "\xff"}'])
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedInputError):
        parse(body)
    assert isinstance(only(b"[" + body + b"]"), MalformedInputError)


def only(body: bytes) -> InboundEvent | DeskError:
    """Return what becomes of a batch's one event, whether it or the batch is at fault."""
    try:
        (event,) = parse(body, BATCH)
    except DeskError as error:
        return error
    return event


def test_an_empty_body_is_malformed() -> None:
    for kind in (STRUCTURED, BATCH):
        with pytest.raises(MalformedInputError):
            parse(b"", kind)


@pytest.mark.parametrize("kind", [STRUCTURED, BATCH])
def test_json_without_a_bottom_is_malformed(kind: str) -> None:
    start = b'{"data":' if kind == STRUCTURED else b'[{"data":'
    if kind == BATCH:
        assert isinstance(only(start + b"[" * 100_000), DeskError)
    else:
        with pytest.raises(DeskError):
            parse(start + b"[" * 100_000, kind)
    with pytest.raises(MalformedInputError):
        binary(b"[" * 100_000)


@pytest.mark.parametrize(("kind", "body"), [(STRUCTURED, [EVENT]), (BATCH, EVENT)])
def test_a_batch_is_no_event_and_an_event_no_batch(kind: str, body: object) -> None:
    with pytest.raises(InvalidInputError):
        parse(body, kind)


def test_a_batch_has_an_end() -> None:
    body = json.dumps([EVENT] * 3).encode()
    with pytest.raises(PayloadTooLargeError):
        parse_cloudevents(headers([("content-type", BATCH)]), body, events_max=2)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "text/plain", "application/cloudevents+xml", "", f"{BATCH}; charset=gbk"],
)
def test_what_is_no_cloudevent_is_415(kind: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        parse(EVENT, kind)


def test_data_that_is_not_json_is_415() -> None:
    with pytest.raises(UnsupportedMediaTypeError) as caught:
        parse(EVENT | {"datacontenttype": "application/xml", "data": "<a/>"})
    assert caught.value.field == "/datacontenttype"
    with pytest.raises(UnsupportedMediaTypeError):
        binary(b"<a/>", **{"Content_Type": "application/xml"})


def test_binary_headers_are_percent_decoded() -> None:
    (event,) = binary(
        ce_subject="Euro%20%E2%82%AC%20%F0%9F%98%80 100%25",
        ce_source='"/quo\\"ted"'.replace('\\"', "%2F"),
        ce_time="2026-01-05T09:00:00Z",
        ce_traceparent="00-x",
    )
    assert event.subject == "Euro € 😀 100%"
    assert event.source == "/quo/ted"
    assert event.time == datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert event.extensions == {"traceparent": "00-x"}
    assert event.data == b'{"title": "x"}'


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"ce_id": None}, "ce-id"),
        ({"ce_specversion": None}, "ce-specversion"),
        ({"ce_specversion": "0.3"}, "ce-specversion"),
        ({"ce_type": ""}, "ce-type"),
        ({"ce_time": "2026-01-05T09:00:00"}, "ce-time"),
        ({"ce_subject": "100%"}, "ce-subject"),
        ({"ce_subject": "%FF"}, "ce-subject"),
        ({"ce_subject": "%00"}, "ce-subject"),
        ({"ce_subject": "naïve"}, "ce-subject"),
        ({"ce_bad.name": "x"}, "ce-bad.name"),
        ({"ce_data": "x"}, "ce-data"),
        ({"ce_datacontenttype": "application/json"}, "Content-Type"),
    ],
)
def test_a_bad_header_is_named(changes: dict[str, str | None], field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        binary(**changes)
    assert caught.value.field == field


def test_an_attribute_that_comes_twice_is_refused() -> None:
    pairs = [("ce-id", "1"), ("ce-id", "2"), ("content-type", "application/json")]
    with pytest.raises(InvalidInputError, match="more than once"):
        parse_cloudevents(headers(pairs), b"{}")


def test_binary_data_must_be_json_and_say_so() -> None:
    with pytest.raises(MalformedInputError):
        binary(b"{")
    with pytest.raises(UnsupportedMediaTypeError):
        binary(Content_Type=None)


async def test_over_http_the_error_names_the_attribute(desk: Desk) -> None:
    answer = await desk.client.post(
        "/tickets/events", content=json.dumps(without("id")), headers={"Content-Type": STRUCTURED}
    )
    assert (answer.status_code, answer.json()["field"]) == (422, "/id")


# --- Against the official SDK ------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40).filter(
    lambda one: not is_blank(one)
)
events = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0"),
        "id": text,
        "source": st.from_regex(r"/[a-z0-9/:._~-]{1,30}", fullmatch=True),
        "type": text,
    },
    optional={
        "subject": text,
        "time": st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1)),  # noqa: DTZ001 hypothesis wants it naive
        "traceparent": text,
        "datacontenttype": st.just("application/json"),
    },
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
)


# The SDK writes data that is neither object nor array as Python's str, so objects it is.
@given(events, st.dictionaries(text, json_values, max_size=3))
def test_what_the_official_sdk_sends_we_read_as_it_was(
    attributes: dict[str, Any], data: Any
) -> None:
    attributes = {"datacontenttype": "application/json"} | attributes
    event = CloudEvent(attributes, data)
    for message in (sdk.to_structured(event, JSONFormat()), sdk.to_binary(event, JSONFormat())):
        (read,) = parse_cloudevents(headers(message.headers.items()), message.body)
        assert (read.id, read.source, read.type) == (
            attributes["id"],
            attributes["source"],
            attributes["type"],
        )
        assert read.subject == attributes.get("subject")
        assert read.time == attributes.get("time")
        assert read.extensions.get("traceparent") == attributes.get("traceparent")
        assert json.loads(read.data) == data


@given(st.binary(max_size=300), st.sampled_from([STRUCTURED, BATCH, "application/json"]))
def test_whatever_the_bytes_only_desk_errors_come_out(body: bytes, kind: str) -> None:
    with pytest.raises(DeskError):
        parse(body if body.strip() != b"[]" else b"", kind)


@pytest.mark.parametrize("item", [None, 7, "event", [EVENT]])
def test_what_is_no_event_is_refused_in_its_place(item: object) -> None:
    good, bad = parse([EVENT, item], BATCH)
    assert good == READ
    assert isinstance(bad, InvalidInputError)


def test_a_key_given_twice_is_refused() -> None:
    body = json.dumps(EVENT).encode().replace(b'"id": ', b'"id": "6", "id": ')
    with pytest.raises(InvalidInputError, match=r"^/id: is given more than once"):
        parse(body)
    nested = json.dumps(EVENT | {"data": {"a": 1}}).encode().replace(b'"a": 1', b'"a": 1, "a": 2')
    with pytest.raises(InvalidInputError, match=r"^/data/a: is given more than once"):
        parse(nested)
    good, bad = parse(b"[" + json.dumps(EVENT).encode() + b"," + nested + b"]", BATCH)
    assert isinstance(good, InboundEvent)
    assert isinstance(bad, InvalidInputError)
    assert bad.field == "/data/a"
    with pytest.raises(InvalidInputError, match=r"^/a: is given more than once"):
        binary(b'{"a": 1, "a": 2}')
