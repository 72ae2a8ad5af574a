"""Every read route can be measured as a desk grows: the bench has an example of each."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.inprocess import in_process_desk

from bench.reading import EXAMPLES, KERNEL, without_example


async def test_every_read_route_has_an_example(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path) as desk:
        assert desk.clients.keys() == EXAMPLES.keys()
        for service, client in desk.clients.items():
            document = (await client.get("/openapi.json")).json()
            routes = [path for path, methods in document["paths"].items() if "get" in methods]
            assert without_example(routes, (*EXAMPLES[service], *KERNEL)) == set()
            assert len(routes) > len(KERNEL)


@pytest.mark.parametrize(
    ("routes", "examples", "missing"),
    [
        (["/tickets/{id}"], ["/tickets/{ticket}?at=now"], set()),
        (["/tickets/{id}", "/tickets/new"], ["/tickets/new"], {"/tickets/{id}"}),
        (["/tickets/{id}/links"], ["/tickets/{ticket}"], {"/tickets/{id}/links"}),
    ],
)
def test_an_example_is_of_one_route(
    routes: list[str], examples: list[str], missing: set[str]
) -> None:
    assert without_example(routes, examples) == missing
