"""What the subcommands share: where the desk is, how to talk to it, how to print."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import httpx
import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.errors import DeskError, StartupError, UnavailableError

T = TypeVar("T")
DEFAULT_DATA: Final = Path(".desk")
_PIPE_COLUMNS: Final = 200
_TIMEOUT_SECONDS: Final = 120
_HAS_TERMINAL: Final = sys.stdout is not None and sys.stdout.isatty()  # pyright: ignore[reportUnnecessaryComparison] None if closed
out: Final = Console(width=None if _HAS_TERMINAL else _PIPE_COLUMNS)
err: Final = Console(stderr=True)

Data = Annotated[Path, typer.Option("--data", envvar="DESK_DATA", help="Folder of the desk.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="DESK_URL",
        help="Address of the desk; or of services that run alone: sla=http://HOST:PORT,intake=…",
    ),
]
Token = Annotated[
    str | None, typer.Option("--token", envvar="DESK_TOKEN", help="Bearer token for the desk.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True, slots=True)
class Target:
    """A desk as the command line was told of it."""

    data: Path
    url: str | None = None
    token: str | None = None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command to its end; an error the user can mend becomes one line and exit code 1."""
    try:
        if os.name == "posix":
            import uvloop

            return uvloop.run(work)
        return asyncio.run(work)
    except DeskError as error:
        fail(error.detail)
    except httpx.HTTPError as error:
        fail(f"the desk does not answer: {error}")


def complain(sentence: str) -> None:
    """Print one line to standard error, in the name of the desk."""
    err.print(Text.assemble(("desk: ", "red"), sentence), highlight=False, soft_wrap=True)


def fail(sentence: str) -> NoReturn:
    """Print one line to standard error and end with exit code 1."""
    complain(sentence)
    raise typer.Exit(1)


def shown(instant: str | None) -> str:
    """Return an RFC 3339 instant as tables show it, to the second; nothing for none."""
    return "" if instant is None else f"{instant[:19].replace('T', ' ')}Z"


def table(*names: str) -> Table:
    """Return an empty table with these columns."""
    found = Table(box=None, pad_edge=False)
    for name in names:
        found.add_column(name)
    return found


def print_json(value: object) -> None:
    """Print a value as indented JSON, numbers and text as they are."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


class _Doors(httpx.AsyncHTTPTransport):
    """Sends each request to the address of the service that its path begins with."""

    def __init__(self, addresses: Mapping[str, httpx.URL]) -> None:
        super().__init__()
        self._addresses = addresses

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises: StartupError for a service without an address."""
        name = request.url.path.split("/")[1]
        if name not in self._addresses:
            raise StartupError(f"--url names no address of {name}")
        address = self._addresses[name]
        request.url = request.url.copy_with(
            scheme=address.scheme, host=address.host, port=address.port
        )
        request.headers["Host"] = request.url.netloc.decode()
        return await super().handle_async_request(request)


def _client(url: str, headers: dict[str, str]) -> httpx.AsyncClient:
    """Return a client of one address, or of several, as `--url` has them."""
    if "=" not in url.partition("://")[0]:
        return httpx.AsyncClient(base_url=url, headers=headers, timeout=_TIMEOUT_SECONDS)
    addresses: dict[str, httpx.URL] = {}
    for part in url.split(","):
        name, _, address = part.strip().partition("=")
        if not name.isalpha() or not address.startswith(("http://", "https://")):
            raise StartupError(
                f"--url: {part.strip()!r} is no address of a service, such as"
                " sla=http://127.0.0.1:8083"
            )
        addresses[name] = httpx.URL(address)
    doors = _Doors(addresses)
    return httpx.AsyncClient(
        base_url="http://desk", transport=doors, headers=headers, timeout=_TIMEOUT_SECONDS
    )


@asynccontextmanager
async def desk_client(target: Target) -> AsyncGenerator[httpx.AsyncClient]:
    """Open an HTTP client of the desk, the token in every request.

    Address and token come from the options, else from the data folder of a running desk.
    Raises: StartupError when neither tells; UnavailableError when nobody listens there.
    """
    from shared.clock import SystemClock
    from shared.http.auth import LocalIssuer
    from shared.terminal.folder import cli_token, key_file, read_address, token_file

    address = read_address(target.data)
    url = target.url or (address.url if address else None)
    if url is None:
        raise StartupError(
            f"no desk runs on {target.data}; start one with `desk run` or name it with --url"
        )
    token = target.token
    if token is None and key_file(target.data).exists():
        token = cli_token(LocalIssuer.load_or_create(key_file(target.data)), SystemClock())
    if token is None:
        try:
            token = token_file(target.data).read_text().strip()
        except OSError as error:
            raise StartupError(f"no token: {error}; name one with --token") from error
    headers = {"Authorization": f"Bearer {token}"}
    async with _client(url, headers) as client:
        yield client


def checked(response: httpx.Response) -> Any:  # noqa: ANN401 JSON
    """Return the answer's JSON. Raises: UnavailableError with the problem's own words."""
    if response.is_success:
        return response.json()
    try:
        problem: dict[str, Any] = response.json()
    except ValueError:
        problem = {"detail": response.text[:200]}
    detail, field = str(problem.get("detail")), problem.get("field")
    where = f" ({field})" if field and field not in detail else ""
    raise UnavailableError(f"HTTP {response.status_code}: {detail}{where}")


async def fetched(target: Target, path: str, query: Mapping[str, Any]) -> Any:  # noqa: ANN401 JSON
    """Return what a running desk answers; parameters that are None are left out."""
    parameters = {name: value for name, value in query.items() if value is not None}
    async with desk_client(target) as client:
        return checked(await client.get(path, params=parameters))


async def sent(target: Target, method: str, path: str, body: object) -> Any:  # noqa: ANN401 JSON
    """Send a body to a running desk, and return what it answers."""
    headers = {"Content-Type": "application/json"}
    async with desk_client(target) as client:
        content = msgspec.json.encode(body)
        return checked(await client.request(method, path, content=content, headers=headers))
