"""One address before services that run alone: proxy, Ingress, and what the command line is told."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from support.desk import eventually
from support.inprocess import InProcessDesk, in_process_desk

from services.host import ROOMS, by_name
from shared.errors import StartupError
from shared.http.limits import ServerLimits
from shared.http.server import serve
from shared.telemetry.metrics import MetricRegistry
from shared.terminal.common import Target, desk_client

DEPLOY = Path(__file__).parents[2] / "deploy"
CONFIGURATION = DEPLOY / "front" / "nginx.conf"
INGRESS = DEPLOY / "k8s" / "components" / "ingress" / "ingress.yaml"


def locations() -> str:
    """Return the pattern of what the proxy hands on."""
    (found,) = re.findall(r"location ~ (\S+) \{", CONFIGURATION.read_text())
    return found


async def test_proxy_and_ingress_hand_on_every_route_of_every_service(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    (rule,) = yaml.safe_load(INGRESS.read_text())["spec"]["rules"]
    backends = {path["path"]: path["backend"]["service"]["name"] for path in rule["http"]["paths"]}
    assert backends == {f"/{name}": f"desk-{name}" for name in ROOMS}
    assert {path["pathType"] for path in rule["http"]["paths"]} == {"Prefix"}
    handed_on = re.compile(locations())
    async with in_process_desk(make_database, tmp_path) as desk:
        for name, one in desk.rooms.items():
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(by_name(one)), base_url="http://desk"
            ) as client:
                document = (await client.get(f"/{name}/openapi.json")).json()
                assert document["servers"] == [{"url": f"/{name}"}]
                assert (
                    document["paths"].keys()
                    == (await client.get("/openapi.json")).json()["paths"].keys()
                )
            for path in document["paths"]:
                found = handed_on.match(f"/{name}{path}")
                assert found is not None, path
                assert found[1] == name


@asynccontextmanager
async def served(desk: InProcessDesk) -> AsyncGenerator[Mapping[str, str]]:
    """Serve each service alone, at an address of its own."""
    stop = asyncio.Event()
    metrics = MetricRegistry().for_service("front")
    with ExitStack() as listeners:
        addresses: dict[str, str] = {}
        servers: list[asyncio.Task[None]] = []
        for name, one in desk.rooms.items():
            listener = listeners.enter_context(socket.create_server(("127.0.0.1", 0)))
            addresses[name] = f"http://127.0.0.1:{listener.getsockname()[1]}"
            serving = serve(by_name(one), listener, stop, limits=ServerLimits(), metrics=metrics)
            servers.append(asyncio.create_task(serving))
        try:
            yield addresses
        finally:
            stop.set()
            await asyncio.gather(*servers)


async def test_the_command_line_finds_services_that_run_alone(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path) as desk, served(desk) as addresses:
        token = desk.clients["sla"].headers["Authorization"].removeprefix("Bearer ")
        one = Target(tmp_path, addresses["sla"], token)
        async with desk_client(one) as client:
            assert (await client.get("/sla/rules")).status_code == 200
        all_of_them = ",".join(f"{name}={url}" for name, url in addresses.items())
        async with desk_client(Target(tmp_path, all_of_them, token)) as client:
            for name in ROOMS:
                answer = await client.get(f"/{name}/deliveries", params={"state": "dead"})
                assert answer.status_code == 200, answer.text
        async with desk_client(Target(tmp_path, f"sla={addresses['sla']}", token)) as client:
            with pytest.raises(StartupError, match="names no address of intake"):
                await client.get("/intake/tickets")


@pytest.mark.parametrize("url", ["sla=127.0.0.1:8083", "sla=a,b", "sla=http://x,b"])
async def test_an_address_that_cannot_be_is_named(url: str, tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="is no address of a service"):
        async with desk_client(Target(tmp_path, url, "x")):
            pass


@contextmanager
def nginx(folder: Path, addresses: Mapping[str, str]) -> Generator[str]:
    """Run the proxy as it is configured, but for names and ports, and return its address."""
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("no nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ports = "".join(f"{name} {url.rpartition(':')[2]};" for name, url in addresses.items())
    text = (
        CONFIGURATION.read_text()
        .replace("/tmp/", f"{folder}/")
        .replace("listen 8080", f"listen 127.0.0.1:{port}")
        .replace("http {", f"http {{ map $1 $port {{ {ports} }}")
        .replace("http://$1:8080", "http://127.0.0.1:$port")
    )
    (folder / "nginx.conf").write_text(text)
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with subprocess.Popen(command) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: httpx.get(url).status_code == 404)
            yield url
        finally:
            process.terminate()


async def test_the_proxy_is_one_address(
    make_database: Callable[[str], str], tmp_path: Path
) -> None:
    async with in_process_desk(make_database, tmp_path) as desk, served(desk) as addresses:
        token = desk.clients["sla"].headers["Authorization"].removeprefix("Bearer ")
        with nginx(tmp_path, addresses) as url:
            async with desk_client(Target(tmp_path, url, token)) as client:
                for name in ROOMS:
                    assert (await client.get(f"/{name}/health/live")).status_code == 200
                body = json.dumps({"requester": {"id": "ann"}, "title": "VPN" * 50})
                made = await client.post(
                    "/intake/tickets", content=body, headers={"Content-Type": "application/json"}
                )
                assert made.status_code == 201, made.text
                assert (await client.get(made.headers["Location"])).status_code in (200, 404)
                assert (await client.get("/payroll/x")).status_code == 404
