"""What a server's pid file says, and whether it is still true.

A process id alone proves nothing: the process may be a zombie, or another one by now.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.errors import StartupError

_PROCESSES: Final = Path("/proc")
_STOP_SECONDS: Final = 20
_POLL_SECONDS: Final = 0.02
_SOCKET_FOLDER_LINE: Final = 4


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A server as its pid file names it. `socket_folder` is None until the server has one."""

    pid: int
    cluster: Path
    socket_folder: Path | None

    def is_alive(self) -> bool:
        """Say whether the process is this cluster's server; a zombie has no command any more.

        To name the cluster is not enough: who reads its log does so too, and must not be ended.
        """
        program, _, settings = _command_of(self.pid).partition(f" -D {self.cluster} ")
        return bool(settings) and Path(program).name == "postgres"


def read_postmaster(cluster: Path) -> Postmaster | None:
    """Return what the cluster's pid file says; None if there is none, or it is not yet written."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
    except (OSError, ValueError, IndexError):
        return None
    folder = lines[_SOCKET_FOLDER_LINE] if len(lines) > _SOCKET_FOLDER_LINE else ""
    return Postmaster(pid, cluster, Path(folder) if folder else None)


async def end_left_over(cluster: Path) -> None:
    """End the server that outlived its desk, if one did, and remove its pid file.

    Raises: StartupError if processes stay in the cluster: a second server would ruin it.
    """
    postmaster = read_postmaster(cluster)
    if postmaster is not None and postmaster.is_alive():
        await _end(postmaster)
    # The backends of a killed server end by themselves, a moment later.
    if not await _comes_true(lambda: not _inhabitants(cluster)):
        raise StartupError(
            f"an earlier PostgreSQL still runs in {cluster}, as {_inhabitants(cluster)}"
        )
    if postmaster is not None and _exists(postmaster.pid):
        # PostgreSQL would take the process that has the id now for a server. A file that names
        # no process it removes itself, once it has seen that no backend uses its memory.
        (cluster / "postmaster.pid").unlink(missing_ok=True)


async def _end(postmaster: Postmaster) -> None:
    for name in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(postmaster.pid, name)
        if await _comes_true(lambda: not postmaster.is_alive()):
            return


async def _comes_true(condition: Callable[[], bool]) -> bool:
    """Wait for the condition, within limits; say whether it came true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _STOP_SECONDS
    while True:
        if condition():
            return True
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)


def _inhabitants(cluster: Path) -> list[int]:
    """Return the server processes that work in the cluster's folder, as far as we may look."""
    found: list[int] = []
    for entry in _PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # ended meanwhile, a zombie, or another user's
            is_here = Path(os.readlink(entry / "cwd")) == cluster
            if is_here and "postgres" in _command_of(int(entry.name)).partition(" ")[0]:
                found.append(int(entry.name))
    return found


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _command_of(pid: int) -> str:
    """Return the command line of a process; empty for a zombie, and for none."""
    if (_PROCESSES / "self").exists():
        try:
            line = (_PROCESSES / str(pid) / "cmdline").read_bytes()
        except OSError:
            return ""
        return line.replace(b"\0", b" ").decode(errors="replace")
    shown = subprocess.run(  # noqa: S603 the command is ours
        [shutil.which("ps") or "/bin/ps", "-p", str(pid), "-o", "command="],
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip()
