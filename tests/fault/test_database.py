"""PostgreSQL ends, or ends its sessions, under load: the desk waits, comes back, loses nothing."""

import os
import signal
from pathlib import Path

import pytest
from support.desk import DeskProcess, eventually
from support.invariants import check_invariants
from support.load import Load

from shared.postgres.postmaster import read_postmaster


def postmaster(data: Path) -> int:
    """Return the process id of the desk's database server, once it has one."""
    found = eventually(lambda: read_postmaster(data / "postgres"))
    return found.pid


@pytest.mark.parametrize("name", ["SIGINT", "SIGQUIT", "SIGKILL"])
@pytest.mark.timeout(120)
def test_a_database_server_that_ends_is_started_again_and_nothing_is_lost(
    name: str, tmp_path: Path
) -> None:
    with DeskProcess(tmp_path / "desk") as desk:
        with Load(desk.client, per_second=100) as load:
            for _ in range(2):
                load.wait_for(20)
                before = postmaster(desk.data)
                os.kill(before, signal.Signals[name])
                eventually(lambda ended=before: postmaster(desk.data) != ended)
                load.wait_for(20)
        assert desk.process is not None
        assert desk.process.poll() is None, "the desk itself lived on"
        desk.settle()
        check_invariants(desk.data, load.acknowledged)
    print(f"longest silence {load.silence_seconds_max:.2f} s; answers {dict(load.answers)}")
    assert load.silence_seconds_max < 15
    assert not load.answers["500"], "an outage is not a mistake of ours"
