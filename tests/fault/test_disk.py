"""The disk is full: nothing is acknowledged that is not stored, and room is enough to go on."""

import asyncio
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest
from support.bent_log import measured
from support.desk import DeskProcess, eventually
from support.invariants import check_invariants
from support.load import Load

from shared.postgres.embedded import EmbeddedPostgres

DISK_MB = 256
MB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that is quickly full."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@contextmanager
def no_room(disk: Path) -> Generator[None]:
    """Leave no room on the disk for as long as the context lasts."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(b"\0" * MB):
            continue
    try:
        yield
    finally:
        ballast.unlink()


def is_refused_for_want_of_room(desk: DeskProcess) -> bool:
    body = {"requester": {"id": "ann"}, "title": "One more", "category": "network"}
    answer = desk.post("/intake/tickets", body)
    if answer.is_success:  # there was a little room left in what the database had taken before
        return False
    assert answer.status_code == 503, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    return "disk is full" in answer.json()["detail"]


def readiness(desk: DeskProcess) -> str:
    return desk.client.get("/health/ready").text


async def exhaust_journal(data: Path) -> None:
    """Make the server begin new files of its write-ahead log until it ends for want of room."""
    server = await EmbeddedPostgres.attach(data)
    assert server is not None
    connection = await asyncpg.connect(server.dsn("postgres"))
    try:
        for number in range(50):
            await connection.execute("SELECT pg_switch_wal()")
            await connection.execute("SELECT pg_logical_emit_message(true, 'test', $1)", "x")
            assert number < 49, "the log never filled the disk"
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        connection.terminate()


@pytest.mark.timeout(120)
def test_a_full_disk_refuses_tickets_and_the_desk_goes_on_once_there_is_room(
    small_disk: Path,
) -> None:
    with DeskProcess(small_disk / "desk") as desk:  # its log is on the same disk
        with Load(desk.client, per_second=200) as load:
            load.wait_for(50)
            with no_room(small_disk):
                eventually(lambda: is_refused_for_want_of_room(desk))
                eventually(lambda: "DiskFullError" in readiness(desk))
                assert desk.get("/health/live") == {"status": "live"}
                assert desk.get("/intake/tickets?limit=1"), "reading goes on"
            load.wait_for(50)
        desk.settle()
        assert "DiskFullError" not in readiness(desk)
        check_invariants(desk.data, load.acknowledged)
    measured(f"longest silence {load.silence_seconds_max:.2f} s; answers {dict(load.answers)}")
    assert not load.answers["500"]


@pytest.mark.timeout(120)
def test_a_server_that_ends_for_want_of_room_is_tried_again_until_there_is_some(
    small_disk: Path, tmp_path: Path
) -> None:
    with DeskProcess(small_disk) as desk:
        with Load(desk.client, per_second=50) as load:
            load.wait_for(20)
            with no_room(small_disk):
                asyncio.run(exhaust_journal(small_disk))
                told = tmp_path / "disk.log"
                eventually(lambda: "postgres_does_not_start" in told.read_text(), 40)
                assert desk.client.get("/health/live").status_code == 200
                assert desk.client.get("/health/ready").status_code == 503
            load.wait_for(20)
        desk.settle()
        check_invariants(desk.data, load.acknowledged)
    measured(f"longest silence {load.silence_seconds_max:.2f} s; answers {dict(load.answers)}")
    assert not load.answers["500"]
