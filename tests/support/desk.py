"""A whole desk as a process of its own, the way a user starts it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from shared.postgres.server_user import dying_with_parent

DESK = Path(sys.executable).parent / "desk"
START_SECONDS = 40


class DeskProcess:
    """`desk run` on a data folder. Use as a context; the process is gone afterwards."""

    def __init__(
        self, data: Path, *options: str, env: Mapping[str, str] | None = None, before: str = ":"
    ) -> None:
        """`before` is what a shell does first."""
        self.data = data
        self._before = before
        self._options = options
        self._env = {**os.environ, **(env or {})}
        self._log = data.parent / f"{data.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.client: httpx.Client

    def __enter__(self) -> "DeskProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def start(self) -> float:
        """Start and return after how many seconds the desk was ready."""
        (self.data / "desk.json").unlink(missing_ok=True)
        if self.process is None or self.client.is_closed:
            self.client = httpx.Client(timeout=30)  # who has it goes on with it after a restart
        began = time.monotonic()
        options = ("--data", self.data, "--port", "0", *self._options)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", f'{self._before}; exec "$0" "$@"', DESK, "run", *options],
                stdout=log,
                stderr=log,
                env=self._env,
                preexec_fn=dying_with_parent(signal.SIGTERM),  # noqa: PLW1509 no threads here
            )
        self.wait_until_ready()
        return time.monotonic() - began

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                address = msgspec.json.decode((self.data / "desk.json").read_bytes())
                self.client.base_url = address["url"]
                token = (self.data / "cli-token").read_text()
                self.client.headers["Authorization"] = f"Bearer {token}"
                if self.client.get("/health/ready").status_code == 200:
                    return
            except (FileNotFoundError, httpx.TransportError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"the desk is not ready: {self._log.read_text()[-3000:]}")

    def stop(self, name: signal.Signals = signal.SIGTERM) -> int:
        """End the desk with a signal and return its exit code."""
        assert self.process is not None
        self.process.send_signal(name)
        return self.process.wait(30)

    def wait_for_death(self) -> int:
        """Return the exit code of a desk that dies by itself."""
        assert self.process is not None
        return self.process.wait(30)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str) -> Any:
        response = self.client.get(path)
        assert response.status_code == 200, response.text
        return response.json()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another `desk` command on the same data folder."""
        return subprocess.run(
            [DESK, *arguments, "--data", self.data],
            capture_output=True,
            text=True,
            env=self._env,
            cwd=self.data.parent,
            check=False,
        )

    def settle(self) -> None:
        """Wait until nothing is on its way any more: idle in rounds begun after one another."""
        deadline = time.monotonic() + 90
        idle_since: dict[str, int] = {}
        loops: dict[str, Any] = {}
        while time.monotonic() < deadline:
            checks = self.client.get("/health/ready").json()["checks"]
            loops = {name: check for name, check in checks.items() if "round" in check}
            if len(loops) < 5 or any(c["outbox"] or c["behind"] for c in loops.values()):
                idle_since = {}
            else:
                idle_since = idle_since or {name: c["round"] for name, c in loops.items()}
                if all(c["round"] >= idle_since[name] + 2 for name, c in loops.items()):
                    return
            time.sleep(0.2)
        raise AssertionError(f"the desk does not come to rest: {loops}")


def eventually(condition: Callable[[], Any], seconds: float = 20) -> Any:
    """Return the first true thing that `condition` gives; a failed assertion is not yet true."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := condition():
                return result
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
