"""Whom the embedded server runs as, and how it is tied to the life of its desk.

PostgreSQL refuses to run as root. A desk that root starts therefore steps down, and lends the
server the one capability that it needs to reach its files through folders only root may enter.
"""

import ctypes
import os
import pwd
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from shared.errors import StartupError

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_CAP_DAC_OVERRIDE: Final = 1 << 1  # linux/capability.h


def server_user() -> pwd.struct_passwd | None:
    """Return whom the server runs as; None for the desk's own user, who is not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StartupError("root cannot run PostgreSQL, and there is no user `postgres` or `nobody`")


def as_server_user(command: Sequence[str]) -> list[str]:
    """Return the command that runs `command` as the server's user.

    The order to die with the parent is given again, as a change of user clears it.
    """
    user = server_user()
    if user is None:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise StartupError("root needs `setpriv` (util-linux) to run PostgreSQL as another user")
    lent = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"] if _may_lend() else []
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


def give_to_server_user(path: Path) -> None:
    """Make the server's user the owner of `path`."""
    user = server_user()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def dying_with_parent(signal_number: signal.Signals) -> Callable[[], None] | None:
    """Return what a child runs before its program, so that it is signalled when its parent dies.

    The kernel watches the thread that starts the child: call from one that lasts. None where the
    system has no such thing; the next start then ends what was left.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # found now: after the fork no lock may be taken
    parent = os.getpid()

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal_number))
        if os.getppid() != parent:  # it died before the kernel was told
            os._exit(1)

    return tie


def _may_lend() -> bool:
    """Say whether root can enter any folder here; a container may have taken that away."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    permitted = int(next(x for x in status.splitlines() if x.startswith("CapPrm")).split()[1], 16)
    return bool(permitted & _CAP_DAC_OVERRIDE)
