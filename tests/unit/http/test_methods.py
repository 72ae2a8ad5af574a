"""Methods and addresses: HEAD where GET is, all methods in Allow, no address of two lines."""

import pytest
from http_desk import Desk

from shared.http.auth import Role


async def test_head_is_answered_as_get_without_a_body(desk: Desk) -> None:
    headers = desk.bearer(Role.REQUESTER)
    got = await desk.client.get("/tickets/journey", headers=headers)
    head = await desk.client.head("/tickets/journey", headers=headers)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == got.headers["content-type"]
    assert (await desk.client.head("/nowhere")).status_code == 404


async def test_allow_names_every_method_of_the_address(desk: Desk) -> None:
    methods: dict[str, set[str]] = {}
    for path, operations in desk.app.openapi()["paths"].items():
        methods[path] = {name.upper() for name in operations}
    assert any(len(names) > 1 for names in methods.values())
    for path, names in methods.items():
        if "{" in path:
            continue
        answer = await desk.client.request("TRACE", path)
        allowed = set(answer.headers["allow"].split(", ")) - {"HEAD"}
        assert answer.status_code == 405
        assert names <= allowed, path
        assert ("HEAD" in answer.headers["allow"]) == ("GET" in names)


@pytest.mark.parametrize("path", ["/tickets/journey%0a", "/tickets/a%0ab", "/%0a"])
async def test_an_address_of_two_lines_is_a_problem(desk: Desk, path: str) -> None:
    answer = await desk.client.get(path, headers=desk.bearer(Role.REQUESTER))
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
