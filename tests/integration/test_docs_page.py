"""The page of routes works where no other host can be reached."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount
from support.inprocess import in_process_desk

from shared.http.auth import Role


async def test_the_page_of_every_service_is_made_of_its_own_paths(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path) as desk:
        front = Starlette(routes=[Mount(f"/{name}", one.app) for name, one in desk.rooms.items()])
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(front), base_url="http://desk"
        ) as client:
            for service, alone in desk.clients.items():
                for reached, prefix in ((client, f"/{service}"), (alone, "")):
                    page = await reached.get(f"{prefix}/docs")
                    assert page.status_code == 200
                    assert "//" not in re.sub(r"<!--.*?-->", "", page.text), page.text
                    named = re.findall(r"""(?:href|src)="([^"]+)"|url: '([^']+)'""", page.text)
                    paths = [urljoin(f"{prefix}/docs", one or other) for one, other in named]
                    assert len(paths) == 4
                    for path in paths:
                        answer = await reached.get(path)
                        assert answer.status_code == 200, path
                        assert len(answer.content) > 1_000


async def test_answers_are_lines(make_database: Callable[[str], str], tmp_path: Path) -> None:
    async with in_process_desk(make_database, tmp_path, services=["intake"]) as desk:
        client = desk.clients["intake"]
        for path, status in (
            ("/tickets", 200),
            ("/tickets/INC-999999", 404),
            ("/health/live", 200),
        ):
            answer = await client.get(path)
            assert answer.status_code == status
            assert answer.content.count(b"\n") == 1
            assert answer.content.endswith(b"}\n")
            assert int(answer.headers["Content-Length"]) == len(answer.content)
        assert (await client.get("/health/ready")).content.endswith(b"}\n")
        nobody = await client.get("/tickets", headers=desk.bearer("eve", Role.IMPORTER))
        assert nobody.status_code == 403
        assert nobody.content.endswith(b"}\n")
