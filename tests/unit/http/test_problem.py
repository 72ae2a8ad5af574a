from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import pytest
from http_desk import Desk, Report
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import DeskError, InvalidInputError
from shared.faults import from_msgspec
from shared.http.auth import Role
from shared.http.body import decode_struct

MIB = 1024 * 1024


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:deskledger:problem:")
    assert body["instance"] == answer.request.url.path
    assert body["correlation_id"] == answer.headers["x-correlation-id"]
    assert body["title"]
    assert body["detail"]
    return body


async def post(desk: Desk, content: bytes, **headers: str) -> httpx.Response:
    return await desk.client.post(
        "/tickets",
        content=content,
        headers={"Content-Type": "application/json"} | desk.bearer(Role.REQUESTER) | headers,
    )


@pytest.mark.parametrize(
    ("name", "status", "retry_after"),
    [
        ("not-found", 404, None),
        ("illegal-transition", 409, None),
        ("reused-id", 409, None),
        ("stale-sequence", 412, None),
        ("too-busy", 429, "7"),
        ("unavailable", 503, "2"),
        ("forbidden", 403, None),
    ],
)
async def test_an_error_of_the_domain_has_its_number_and_type(
    desk: Desk, name: str, status: int, retry_after: str | None
) -> None:
    answer = await desk.client.get(f"/tickets/fail/{name}")
    assert problem(answer, status)["type"] == f"urn:deskledger:problem:{name}"
    assert answer.headers.get("retry-after") == retry_after


@pytest.mark.parametrize(
    "name", ["refused", "pool-timeout", "starting", "full", "crowded", "gone", "pool-closed"]
)
async def test_a_database_that_is_away_is_503_and_tells_no_address(desk: Desk, name: str) -> None:
    answer = await desk.client.get(f"/tickets/fail/{name}")
    assert "5432" not in problem(answer, 503)["detail"]
    assert answer.headers["retry-after"]


@pytest.mark.parametrize("name", ["bug", "misuse"])
async def test_a_mistake_of_ours_is_500_without_internals(desk: Desk, name: str) -> None:
    answer = await desk.client.get(f"/tickets/fail/{name}")
    problem(answer, 500)
    assert "secret" not in answer.text
    assert "operation" not in answer.text


async def test_an_unknown_path_is_404_and_a_wrong_method_405_with_allow(desk: Desk) -> None:
    problem(await desk.client.get("/nowhere"), 404)
    answer = await desk.client.delete("/tickets/list")
    assert "DELETE" in problem(answer, 405)["detail"]
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("content", "status", "field"),
    [
        (b"", 400, None),
        (b"not json", 400, None),
        (b'{"title":', 400, None),
        (b'{"title":"\xff"}', 400, None),
        (b'{"title":"x","tags":' + b"[" * 100_000, 422, "/tags/0"),
        (b"[1]", 422, None),
        (b"{}", 422, "/title"),
        (b'{"title":3}', 422, "/title"),
        (b'{"title":""}', 422, "/title"),
        (b'{"title":"x","requester":{}}', 422, "/requester/id"),
        (b'{"title":"x","requester":{"id":4}}', 422, "/requester/id"),
        (b'{"title":"x","requester":{"id":"a","a/b":1}}', 422, "/requester/a~1b"),
        (b'{"title":"x","tags":["a",2]}', 422, "/tags/1"),
        (b'{"title":"x","colour":"red"}', 422, "/colour"),
        (b'{"title":"x","occurred_at":"2026-01-05T09:00:00"}', 422, "/occurred_at"),
        (b'{"title":"a\\u0000b"}', 422, "/title"),
        (b'{"title":"x","tags":["a","\\u0000"]}', 422, "/tags/1"),
    ],
)
async def test_a_bad_body_is_refused_by_the_name_of_its_field(
    desk: Desk, content: bytes, status: int, field: str | None
) -> None:
    body = problem(await post(desk, content), status)
    assert body.get("field") == field
    assert (field or "") in body["detail"]


async def test_an_escaped_backslash_before_u0000_is_no_nul(desk: Desk) -> None:
    assert (await post(desk, rb'{"title":"\\u0000"}')).status_code == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/json; charset=gbk"])
async def test_a_body_that_is_not_json_by_its_type_is_415(desk: Desk, kind: str) -> None:
    body = problem(await post(desk, b'{"title":"x"}', **{"Content-Type": kind}), 415)
    assert body["field"] == "Content-Type"


async def test_every_kind_of_json_type_is_read(desk: Desk) -> None:
    for kind in ("application/json; charset=UTF-8", "application/vnd.desk+json"):
        answer = await post(desk, b'{"title":"x"}', **{"Content-Type": kind})
        assert answer.status_code == 201


async def test_pydantic_faults_are_listed_with_pointers(desk: Desk) -> None:
    answer = await desk.client.post("/tickets/pydantic", json={"urgency": "high"})
    body = problem(answer, 422)
    assert body["field"] == "/title"
    assert "/title" in body["detail"]
    assert [fault["pointer"] for fault in body["errors"]] == ["/title", "/urgency"]


async def test_pydantic_routes_call_broken_json_malformed(desk: Desk) -> None:
    answer = await desk.client.post(
        "/tickets/pydantic", content=b"{", headers={"Content-Type": "application/json"}
    )
    problem(answer, 400)


async def test_a_10_mb_body_is_refused_and_the_connection_lives_on(desk: Desk) -> None:
    answer = await post(desk, b'{"title":"' + b"x" * 10 * MIB + b'"}')
    problem(answer, 413)
    assert "connection" not in answer.headers


async def chunks(count: int, sent: list[int]) -> AsyncIterator[bytes]:
    for number in range(count):
        sent.append(number)
        yield b" " * 64 * 1024


@pytest.mark.parametrize("path", ["/tickets", "/tickets/pydantic"])
async def test_a_streamed_body_is_counted_and_refused_after_its_end(desk: Desk, path: str) -> None:
    sent: list[int] = []
    headers = {"Content-Type": "application/json"} | desk.bearer(Role.REQUESTER)
    answer = await desk.client.post(path, content=chunks(160, sent), headers=headers)
    problem(answer, 413)
    assert len(sent) == 160


@pytest.mark.parametrize(
    ("limit", "expect", "read"), [(MIB, {}, 17), (9 * MIB, {"Expect": "x"}, 0)]
)
async def test_a_body_too_large_to_throw_away_closes_the_connection(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, limit: int, expect: dict[str, str], read: int
) -> None:
    monkeypatch.setattr("shared.http.edge._DRAIN_BYTES_MAX", limit)
    sent: list[int] = []
    headers = {"Content-Length": str(10 * MIB)} | desk.bearer(Role.REQUESTER) | expect
    answer = await desk.client.post("/tickets", content=chunks(160, sent), headers=headers)
    problem(answer, 413)
    assert answer.headers["connection"] == "close"
    assert read <= len(sent) <= read + 2


async def test_a_batch_may_be_larger_but_not_without_end(desk: Desk) -> None:
    headers = {"Content-Type": "application/json"} | desk.bearer(Role.REQUESTER)
    for size, status in ((2 * MIB, 201), (9 * MIB, 413)):
        answer = await desk.client.post(
            "/tickets:batch", content=b'{"title":"x"}' + b" " * size, headers=headers
        )
        assert answer.status_code == status


async def test_a_length_of_absurd_digits_is_too_large(desk: Desk) -> None:
    answer = await post(desk, b"{}", **{"Content-Length": "9" * 5000})
    problem(answer, 413)


def test_a_pointer_starts_at_the_base() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'{"title":1}', type=Report)
    error = from_msgspec(caught.value, base="/3/data")
    assert isinstance(error, InvalidInputError)
    assert error.field == "/3/data/title"


def test_the_key_of_a_map_is_a_star() -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(b'{"a":{"b":1}}', type=dict[str, dict[str, str]])
    assert from_msgspec(caught.value).field == "/*/*"


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ).map(msgspec.json.encode)
)
def test_whatever_the_bytes_only_desk_errors_come_out(body: bytes) -> None:
    with suppress(DeskError):
        assert decode_struct(body, Report).title
