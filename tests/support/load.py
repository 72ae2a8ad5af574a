"""Tickets reported over HTTP at a steady rate, each until somebody acknowledges it."""

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any

import httpx


class Load:
    """Reports tickets from a thread of its own while a test does its worst.

    Each report has an Idempotency-Key and is repeated until the desk says that the ticket exists,
    so that after `stop` every report is one acknowledged ticket. `client` gives the desk's present
    address and token; it may change while the load runs.
    """

    def __init__(self, client: httpx.Client, *, per_second: float, name: str = "load") -> None:
        self._client = client
        self._name = name
        self._wait_seconds = 1 / per_second
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.acknowledged: set[str] = set()
        self.answers: Counter[str] = Counter()
        self.silence_seconds_max = 0.0
        self.slowest_seconds = 0.0

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Let the last report be acknowledged, then end. Fails if none is for a minute."""
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), f"the last report is not acknowledged: {self.answers}"

    def wait_for(self, count: int, seconds: float = 30) -> None:
        """Wait until so many more tickets have been acknowledged."""
        wanted, deadline = len(self.acknowledged) + count, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            assert time.monotonic() < deadline, f"no {count} tickets in {seconds} s: {self.answers}"
            time.sleep(0.02)

    def _run(self) -> None:
        number, heard = 0, time.monotonic()
        while not self._stopping.is_set():
            while (ticket := self._report(number)) is None:
                time.sleep(0.02)
            self.acknowledged.add(ticket)
            self.silence_seconds_max = max(self.silence_seconds_max, time.monotonic() - heard)
            heard = time.monotonic()
            number += 1
            self._stopping.wait(self._wait_seconds)

    def _report(self, number: int) -> str | None:
        body: dict[str, Any] = {
            "requester": {"id": f"{self._name}-{number % 97}"},
            "title": f"Report {number}",
            "category": "network",
        }
        began = time.monotonic()
        try:
            answer = self._client.post(
                "/intake/tickets",
                json=body,
                headers={"Idempotency-Key": f"{self._name}-{number}"},
                timeout=10,
            )
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: closed between two starts
            self.answers[type(error).__name__] += 1
            return None
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
        self.answers[str(answer.status_code)] += 1
        return answer.json()["ticket_id"] if answer.is_success else None
