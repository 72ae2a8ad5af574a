import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from textwrap import dedent

import asyncpg
import pytest

from shared.errors import StartupError
from shared.postgres.data_directory import FORMAT, DataDirectory
from shared.postgres.embedded import EmbeddedPostgres
from shared.postgres.postmaster import Postmaster, _inhabitants, read_postmaster

OWNER = dedent("""
    import asyncio, sys
    from pathlib import Path
    import asyncpg
    from shared.postgres.data_directory import DataDirectory
    from shared.postgres.embedded import EmbeddedPostgres

    async def own(data):
        with DataDirectory(data):
            server = EmbeddedPostgres(data)
            await server.start()
            connection = await asyncpg.connect(server.dsn("postgres"))
            await connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            await connection.execute("INSERT INTO kept VALUES (7)")
            print("ready", flush=True)
            await asyncio.Event().wait()

    asyncio.run(own(Path(sys.argv[1])))
""")


@asynccontextmanager
async def started(data: Path) -> AsyncGenerator[EmbeddedPostgres]:
    server = EmbeddedPostgres(data)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def ask(server: EmbeddedPostgres, query: str) -> object:
    connection = await asyncpg.connect(server.dsn("postgres"))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def eventually(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.02)
    pytest.fail("waited 20 s in vain")


def owner_of(data: Path) -> subprocess.Popen[str]:
    """Run a desk's database in a process of its own, with one row committed."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(data)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    return owner


def started_program(line: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", "-c", line], cwd=cwd)


def kill(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.communicate()


def postmaster_of(data: Path) -> Postmaster:
    postmaster = read_postmaster(data.resolve() / "postgres")
    assert postmaster is not None
    return postmaster


def processes_in(data: Path) -> list[int]:
    return _inhabitants(data.resolve() / "postgres")


async def test_data_outlive_a_stop(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        await ask(server, "CREATE TABLE kept AS SELECT 7 AS n")
    async with started(tmp_path) as server:
        assert await ask(server, "SELECT n FROM kept") == 7


async def test_nothing_is_left_after_a_stop(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        socket_folder = server._socket_folder
        assert socket_folder is not None
        assert socket_folder.stat().st_mode & 0o777 == 0o700
        assert processes_in(tmp_path)
    assert not socket_folder.exists()
    await eventually(lambda: not processes_in(tmp_path))


async def test_the_server_says_what_it_is(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    with pytest.raises(StartupError, match="not been started"):
        _ = server.version
    with pytest.raises(StartupError, match="not been started"):
        server.dsn("postgres")
    async with started(tmp_path) as server:
        assert server.version == await ask(server, "SHOW server_version")
        assert server.version.startswith("18.")


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("password_encryption", "scram-sha-256"),
        ("logging_collector", "on"),
        ("data_checksums", "on"),
    ],
)
async def test_the_server_is_set_up_for_a_desk(
    shown_settings: dict[str, str], setting: str, value: str
) -> None:
    assert shown_settings[setting] == value


@pytest.fixture
async def shown_settings(tmp_path: Path) -> dict[str, str]:
    async with started(tmp_path) as server:
        connection = await asyncpg.connect(server.dsn("postgres"))
        rows = await connection.fetch("SELECT name, setting FROM pg_settings")
        await connection.close()
    return {row["name"]: row["setting"] for row in rows}


async def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        password = (tmp_path / "postgres-password").read_text()
        wrong = server.dsn("postgres").replace(password, "guessed")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(wrong)


async def test_only_the_owner_can_read_the_password_and_the_data(tmp_path: Path) -> None:
    async with started(tmp_path):
        assert (tmp_path / "postgres-password").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "postgres").stat().st_mode & 0o777 == 0o700


async def test_databases_are_made_once(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        await server.ensure_databases(["intake", "sla"])
        await server.ensure_databases(["intake", "routing"])
        names = "SELECT array_agg(datname ORDER BY datname) FROM pg_database WHERE oid >= 16384"
        assert await ask(server, names) == ["intake", "routing", "sla"]


async def test_a_killed_owner_leaves_no_process_and_keeps_what_was_committed(
    tmp_path: Path,
) -> None:
    owner = owner_of(tmp_path)
    socket_folder = postmaster_of(tmp_path).socket_folder
    assert socket_folder is not None
    kill(owner)
    await eventually(lambda: not processes_in(tmp_path))
    async with started(tmp_path) as server:
        assert await ask(server, "SELECT n FROM kept") == 7
        assert not socket_folder.exists()


async def test_owner_and_server_killed_together_are_recovered_from_at_once(tmp_path: Path) -> None:
    owner = owner_of(tmp_path)
    os.kill(postmaster_of(tmp_path).pid, signal.SIGKILL)
    kill(owner)
    async with started(tmp_path) as server:
        assert await ask(server, "SELECT n FROM kept") == 7


async def test_a_server_that_outlived_its_desk_is_stopped_first(tmp_path: Path) -> None:
    async with started(tmp_path) as left_over:
        await ask(left_over, "CREATE TABLE kept AS SELECT 7 AS n")
        before = postmaster_of(tmp_path).pid
        assert left_over._supervisor is not None
        left_over._supervisor.cancel()  # a desk that is gone does not start its server again
        async with started(tmp_path) as server:
            assert await ask(server, "SELECT n FROM kept") == 7
            assert postmaster_of(tmp_path).pid != before
            await eventually(lambda: not Path(f"/proc/{before}").exists())


async def test_a_start_waits_for_the_last_process_of_a_killed_server(tmp_path: Path) -> None:
    async with started(tmp_path):
        pass
    backend = started_program("exec -a 'postgres: desk' sleep 1", cwd=tmp_path / "postgres")
    try:
        await eventually(lambda: backend.pid in processes_in(tmp_path))
        async with started(tmp_path):
            assert backend.poll() == 0
    finally:
        backend.kill()
        backend.wait()


async def test_someone_who_looks_into_the_folder_is_no_server(tmp_path: Path) -> None:
    async with started(tmp_path):
        pass
    visitor = started_program("sleep 60", cwd=tmp_path / "postgres")
    try:
        async with started(tmp_path):
            assert visitor.poll() is None
    finally:
        visitor.kill()
        visitor.wait()


@pytest.mark.parametrize("program", ["sleep 60", "exec tail -f {cluster}/PG_VERSION {cluster}"])
async def test_a_recycled_process_id_is_not_taken_for_the_server(
    tmp_path: Path, program: str
) -> None:
    async with started(tmp_path):
        pid_file = (tmp_path / "postgres" / "postmaster.pid").read_text()
    bystander = started_program(program.format(cluster=tmp_path / "postgres"))
    try:
        _write_pid_file(tmp_path, pid_file, bystander.pid)
        assert await EmbeddedPostgres.attach(tmp_path) is None
        async with started(tmp_path) as server:
            assert await ask(server, "SELECT 7") == 7
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_a_zombie_is_not_taken_for_the_server(tmp_path: Path) -> None:
    async with started(tmp_path):
        pid_file = (tmp_path / "postgres" / "postmaster.pid").read_text()
    zombie = started_program(f"exec -a 'bin/postgres -D {tmp_path / 'postgres'}' sleep 60")
    try:
        cmdline = Path(f"/proc/{zombie.pid}/cmdline")
        await eventually(lambda: cmdline.read_bytes().startswith(b"bin/postgres"))
        _write_pid_file(tmp_path, pid_file, zombie.pid)
        assert postmaster_of(tmp_path).is_alive()
        zombie.kill()
        await eventually(lambda: cmdline.read_bytes() == b"")
        assert not postmaster_of(tmp_path).is_alive()
        async with started(tmp_path) as server:
            assert await ask(server, "SELECT 7") == 7
    finally:
        zombie.kill()
        zombie.wait()


def _write_pid_file(data: Path, like: str, pid: int) -> None:
    lines = like.splitlines()
    lines[0] = str(pid)
    (data / "postgres" / "postmaster.pid").write_text("\n".join(lines) + "\n")


async def test_another_process_can_use_the_server_and_leaves_it_running(tmp_path: Path) -> None:
    owner = owner_of(tmp_path)
    try:
        guest = await EmbeddedPostgres.attach(tmp_path)
        assert guest is not None
        assert await ask(guest, "SELECT n FROM kept") == 7
        await guest.stop()
        again = await EmbeddedPostgres.attach(tmp_path)
        assert again is not None
        assert await ask(again, "SELECT n FROM kept") == 7
    finally:
        kill(owner)
        async with started(tmp_path):  # cleans up what the kill left
            pass


@pytest.mark.parametrize(("name", "value"), [("PGPORT", "6000"), ("PGSSLMODE", "verify-full")])
async def test_what_the_user_set_for_other_servers_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    async with started(tmp_path):
        monkeypatch.setenv(name, value)
        guest = await EmbeddedPostgres.attach(tmp_path)
        assert guest is not None
        assert await ask(guest, "SELECT 7") == 7
    async with started(tmp_path) as server:
        monkeypatch.delenv(name)
        assert await ask(server, "SELECT 7") == 7


async def test_there_is_nothing_to_attach_to_where_no_desk_runs(tmp_path: Path) -> None:
    assert await EmbeddedPostgres.attach(tmp_path) is None
    async with started(tmp_path):
        pass
    assert await EmbeddedPostgres.attach(tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another user")
async def test_root_runs_the_server_as_another_user_below_a_closed_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    data = closed / "desk"
    with DataDirectory(data):
        async with started(data) as server:
            assert await ask(server, "SELECT 7") == 7
            assert os.stat(f"/proc/{postmaster_of(data).pid}").st_uid != 0
    owners = {path.stat().st_uid for path in (data / "postgres").rglob("*")}
    assert 0 not in owners
    assert closed.stat().st_uid == data.stat().st_uid == 0


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("PG_VERSION", None, "holds no PostgreSQL data"),
        ("PG_VERSION", "17\n", "made by PostgreSQL 17; this desk brings 18"),
    ],
)
async def test_data_the_server_cannot_read_are_refused_and_left_alone(
    tmp_path: Path, name: str, content: str | None, told: str
) -> None:
    async with started(tmp_path):
        pass
    file = tmp_path / "postgres" / name
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(StartupError, match=told):
        await EmbeddedPostgres(tmp_path).start()
    assert (tmp_path / "postgres" / "global" / "pg_control").exists()


async def test_a_server_that_cannot_start_is_told_in_one_line(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, settings={"shared_buffers": "nonsense"})
    with pytest.raises(StartupError, match=r"postgres\.log") as told:
        await server.start()
    assert "\n" not in told.value.detail
    assert not (tmp_path / "postgres-socket").exists()


async def test_a_first_start_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "postgres-new").mkdir()
    (tmp_path / "postgres-new" / "half").touch()
    (tmp_path / "postgres-password").write_text("old")
    async with started(tmp_path) as server:
        assert await ask(server, "SELECT 7") == 7


async def test_a_long_temporary_path_does_not_break_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    async with started(tmp_path) as server:
        assert await ask(server, "SELECT 7") == 7


def test_a_second_desk_on_the_same_data_is_told_so(tmp_path: Path) -> None:
    data = tmp_path / "desk"
    with (
        DataDirectory(data),
        pytest.raises(StartupError, match="another desk runs on folder") as told,
        DataDirectory(data),
    ):
        pass
    assert "\n" not in told.value.detail
    with DataDirectory(data):
        assert data.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (f"{FORMAT + 1}\n", f"has format {FORMAT + 1}, newer than the {FORMAT} known here"),
        ("soon\n", "says 'soon', which is no format number"),
    ],
)
def test_data_of_an_unknown_format_are_refused(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "VERSION").write_text(written)
    with pytest.raises(StartupError, match=told), DataDirectory(tmp_path):
        pass
    (tmp_path / "VERSION").write_text(f"{FORMAT}\n")
    with DataDirectory(tmp_path):
        assert (tmp_path / "VERSION").read_text() == f"{FORMAT}\n"


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "desk", Path("/sys")):
        with pytest.raises(StartupError, match=f"cannot use folder {folder}: ") as told:
            DataDirectory(folder).__enter__()
        assert "\n" not in told.value.detail
