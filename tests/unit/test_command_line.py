"""The `desk` command as a whole: what it is, and settings that cannot be."""

import subprocess
import sys
from importlib.metadata import version

import pytest


def desk(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from services.cli import main; main()", *arguments],
        env={"PATH": "/usr/bin:/bin", **env},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_says_which_version_it_is() -> None:
    shown = desk("--version")
    assert (shown.returncode, shown.stdout) == (0, f"desk {version('deskledger')}\n")


@pytest.mark.parametrize(
    ("arguments", "env", "named"),
    [
        (("topics", "check"), {"DESK_PARTITIONS": "many"}, "DESK_PARTITIONS"),
        (("serve", "intake"), {"DESK_ROLE": "boss"}, "DESK_ROLE"),
        (("run", "--service", "payroll"), {}, "'payroll'"),
    ],
)
def test_a_setting_or_a_name_that_cannot_be_is_one_line(
    arguments: tuple[str, ...], env: dict[str, str], named: str
) -> None:
    refused = desk(*arguments, **env)
    (line,) = refused.stderr.splitlines()
    assert refused.returncode == 1
    assert named in line
