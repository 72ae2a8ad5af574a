import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from http_desk import NOON, Desk
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInputError, StaleSequenceError
from shared.http.auth import Role
from shared.http.conditional import etag, parse_if_match
from shared.http.idempotency import parse_key
from shared.http.pagination import decode_cursor, encode_cursor
from shared.http.preferences import parse_wait, wait_until
from shared.ids import keyed_id
from shared.journal.handler import EXISTS, require_sequence


async def create(desk: Desk, *keys: str) -> tuple[int, dict[str, str]]:
    headers: list[tuple[str, str]] = [
        *desk.bearer(Role.REQUESTER).items(),
        ("Content-Type", "application/json"),
        *(("Idempotency-Key", key) for key in keys),
    ]
    answer = await desk.client.post(
        "/tickets",
        content=b'{"title":"x"}',
        headers=[(name.encode(), value.encode("latin-1")) for name, value in headers],
    )
    return answer.status_code, answer.json()


async def test_a_key_names_what_it_creates_and_none_names_a_new_thing(desk: Desk) -> None:
    assert (await create(desk, "order-7"))[1]["id"] == str(keyed_id("ann", "order-7"))
    assert (await create(desk, '"order-7"'))[1]["id"] == str(keyed_id("ann", "order-7"))
    first, second = (await create(desk))[1]["id"], (await create(desk))[1]["id"]
    assert UUID(first) != UUID(second)


@pytest.mark.parametrize("key", ['"open', '""', "x" * 201, '"a"b"', "na\u00efve"])
async def test_a_bad_key_is_422_by_the_headers_name(desk: Desk, key: str) -> None:
    status, body = await create(desk, key)
    assert status == 422
    assert body["field"] == "Idempotency-Key"


async def test_two_keys_are_no_key(desk: Desk) -> None:
    assert (await create(desk, "a", "b"))[0] == 422


PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


@given(st.text(PRINTABLE, min_size=1, max_size=200).filter(str.strip))
def test_a_quoted_key_says_what_was_quoted(key: str) -> None:
    quoted = key.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_key([f'"{quoted}"']) == key


def test_an_etag_comes_back_as_the_sequence() -> None:
    assert parse_if_match(etag(3)) == 3
    assert parse_if_match(f"W/{etag(3)}") == 3
    assert parse_if_match(None) is None
    assert parse_if_match(" * ") == EXISTS


@pytest.mark.parametrize(
    ("expected", "refused_at"),
    [(None, set[int]()), (EXISTS, {0}), (0, {1, 2}), (1, {0, 2}), (2, {0, 1})],
)
def test_a_record_must_be_as_it_was_seen_and_a_star_wants_one_to_be_there(
    expected: int | None, refused_at: set[int]
) -> None:
    for sequence in range(3):
        with pytest.raises(StaleSequenceError) if sequence in refused_at else nullcontext():
            require_sequence(sequence, expected)


@pytest.mark.parametrize(
    "header", ["3", '"x"', '"3", "4"', '"-1"', '"٣"', "", '"' + "9" * 40 + '"']
)
async def test_a_bad_if_match_is_422_by_the_headers_name(desk: Desk, header: str) -> None:
    with pytest.raises(InvalidInputError):
        parse_if_match(header)
    if header.isascii():
        answer = await desk.client.put("/tickets/one", headers={"If-Match": header})
        assert answer.status_code == 422
        assert answer.json()["field"] == "If-Match"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("wait=2", 2),
        ("respond-async, Wait = 3; x=y", 3),
        ('wait="4"', 4),
        ("wait=99", 10),
        ("wait=1, wait=5", 1),
        ("wait=-1", 0),
        ("wait=soon", 0),
        ("waiting=3", 0),
        ("wait=" + "9" * 5000, 0),
    ],
)
def test_a_preference_for_waiting_is_seconds(header: str | None, seconds: float) -> None:
    assert parse_wait(header) == seconds


async def test_waiting_ends_when_the_condition_holds() -> None:
    asked = 0

    async def third_time() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    assert await wait_until(third_time, 5)
    assert asked == 3


async def test_waiting_ends_when_the_time_is_over() -> None:
    async def never() -> bool:
        return False

    started = asyncio.get_running_loop().time()
    assert not await wait_until(never, 0.05)
    assert 0.04 < asyncio.get_running_loop().time() - started < 2


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 2**31 - 1), TEXT)
def test_a_cursor_brings_the_sort_key_back(at: datetime, number: int, text: str) -> None:
    key = (at, number, text)
    assert decode_cursor(encode_cursor(key), tuple[datetime, int, str]) == key


async def test_pages_follow_each_other_by_their_link(desk: Desk) -> None:
    first = await desk.client.get("/tickets/list", params={"limit": 2, "status": "new"})
    target = first.links["next"]["url"]
    query = parse_qs(urlsplit(target).query)
    assert (query["limit"], query["status"]) == (["2"], ["new"])
    second = await desk.client.get(target)
    assert second.json() == {
        "kind": ["new"],
        "limit": 2,
        "after": [NOON.isoformat().replace("+00:00", "Z"), 5],
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cursor", "%%%"),
        ("cursor", "é"),
        ("cursor", "bm9wZQ"),
        ("cursor", encode_cursor(("x", 1))),
        ("cursor", "A" * 2000),
        ("limit", "0"),
        ("limit", "201"),
        ("limit", "many"),
    ],
)
async def test_a_bad_page_is_422_by_the_parameters_name(desk: Desk, name: str, value: str) -> None:
    answer = await desk.client.get("/tickets/list", params={name: value})
    assert answer.status_code == 422
    assert answer.json()["field"] == name
    assert name in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "name", "known"),
    [
        ("/tickets/list?limit=2&statsu=new", "statsu", "cursor, limit, status"),
        ("/tickets/list?kind=new", "kind", "cursor, limit, status"),
        ("/tickets/list?limit=2&Limit=3", "Limit", "cursor, limit, status"),
        ("/tickets/list?=", "", "cursor, limit, status"),
        ("/tickets/admin?limit=2", "limit", "none"),
        ("/tickets/fail/bug?a=b", "a", "none"),
    ],
)
async def test_a_parameter_that_a_route_does_not_take_is_refused_by_its_name(
    desk: Desk, path: str, name: str, known: str
) -> None:
    answer = await desk.client.get(path, headers=desk.bearer(Role.MANAGER))
    assert answer.status_code == 422
    body = answer.json()
    assert (body.get("field", ""), body["detail"]) == (
        name,
        f"{name!r} is no parameter of this address; it takes {known}",
    )


async def test_a_parameter_that_counts_once_may_not_be_given_twice(desk: Desk) -> None:
    answer = await desk.client.get("/tickets/list?limit=2&limit=3&limit=4")
    assert answer.status_code == 422
    assert answer.json()["field"] == "limit"
    assert answer.json()["detail"] == "limit is given 3 times; give it once"
    answer = await desk.client.get("/tickets/list?status=new&status=open&limit=2")
    assert answer.json()["kind"] == ["new", "open"]


async def test_a_probe_may_say_what_it_likes(desk: Desk) -> None:
    for path in ("/health/live", "/health/ready"):
        for method in ("GET", "HEAD"):
            answer = await desk.client.request(method, path, params={"probe": 1})
            assert answer.status_code == 200, (method, path)


async def test_a_command_takes_no_parameter_it_does_not_know_either(desk: Desk) -> None:
    answer = await desk.client.put("/tickets/one", params={"if_match": "3"})
    assert (answer.status_code, answer.json()["field"]) == (422, "if_match")
