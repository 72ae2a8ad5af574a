"""The folder of an embedded desk: what lies there for those who want to reach it."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from shared.clock import Clock
from shared.http.auth import ALL_SERVICES, LocalIssuer, Role
from shared.postgres.data_directory import DataDirectory
from shared.postgres.embedded import EmbeddedPostgres

_TOKEN_LIFE: Final = timedelta(days=1)


class Address(msgspec.Struct, frozen=True):
    """What other commands need to find a running desk; kept in the data folder."""

    url: str
    kafka: str | None


def token_file(data: Path) -> Path:
    """Return where the command line's token is."""
    return data / "cli-token"


def address_file(data: Path) -> Path:
    """Return where a running desk says how to reach it."""
    return data / "desk.json"


def key_file(data: Path) -> Path:
    """Return where the local issuer's key is."""
    return data / "signing-key.json"


def cli_token(issuer: LocalIssuer, clock: Clock) -> str:
    """Return a token of the command line; whoever has the key can make another when it ends."""
    return issuer.issue(
        "cli",
        [Role.ADMIN, Role.IMPORTER],
        services=[ALL_SERVICES],
        expires_in=_TOKEN_LIFE,
        now=clock.now(),
    )


def write_token(data: Path, issuer: LocalIssuer, clock: Clock) -> None:
    """Put a fresh token of the command line into the data folder."""
    write_private(token_file(data), cli_token(issuer, clock).encode())


@asynccontextmanager
async def attached(data: Path) -> AsyncGenerator[EmbeddedPostgres]:
    """Reach the databases of an embedded desk: the running one's, or started for the while.

    Raises: StartupError when there is no desk in `data`.
    """
    postgres = await EmbeddedPostgres.attach(data)
    if postgres is not None:
        yield postgres
        return
    with DataDirectory(data):
        own = EmbeddedPostgres(data)
        await own.start()
        try:
            yield own
        finally:
            await own.stop()


def read_address(data: Path) -> Address | None:
    """Return how to reach the desk that runs on `data`, if one says so."""
    try:
        return msgspec.json.decode(address_file(data).read_bytes(), type=Address)
    except FileNotFoundError:
        return None


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    beside.replace(path)
