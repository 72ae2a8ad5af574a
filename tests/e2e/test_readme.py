"""The README's five minutes, as they stand."""

import os
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from support.desk import DeskProcess

from services.sla.domain.rules.defaults import default_policy
from shared.contracts.promises import Target

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    text = (ROOT / "README.md").read_text()
    section = text.split("## Five minutes")[1].split("## How it works")[0]
    blocks = re.findall(r"```console\n(.*?)```", section, re.S)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.mark.timeout(120)
def test_the_five_minutes_of_the_readme_work(tmp_path: Path) -> None:
    with DeskProcess(tmp_path / "desk") as desk:
        bin_folder = Path(os.environ.get("VIRTUAL_ENV", ROOT / ".venv")) / "bin"
        script = "\n".join(["set -euo pipefail", *commands()])
        script = script.replace("http://127.0.0.1:8080", str(desk.client.base_url))
        script = script.replace("curl -sS", "curl -sS --fail-with-body")
        script = script.replace(".venv/bin/", f"{bin_folder}/" if bin_folder.exists() else "")
        done = subprocess.run(
            ["bash", "-c", script],
            env={**os.environ, "DESK_DATA": str(desk.data)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "P1 = high × high in policy default v1" in done.stdout
        assert '"group":"service-desk","agent_id":"bo"' in done.stdout
        assert '"sequence":2,"changed":true' in done.stdout
        assert '"caused_by_type":"ticket.created"' in done.stdout
        assert "promises 'response' no more where priority = P1, P2, P3, P4" in done.stderr
        assert "reporting.ticket" in done.stdout
        assert "DIFFERS" not in done.stdout
        promises = desk.get("/sla/policies/standard")["targets"]
        assert msgspec.convert(promises, tuple[Target, ...]) == default_policy().targets
