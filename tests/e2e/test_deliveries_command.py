"""`desk deliveries`: a dead letter is seen, sent again, and given up."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.desk import DeskProcess, eventually


class _Receiver(BaseHTTPRequestHandler):
    status = 410
    seen: list[str] = []  # noqa: RUF012 emptied by the fixture

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        _Receiver.seen.append(self.headers["Desk-Delivery"])
        self.send_response(_Receiver.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    _Receiver.status, _Receiver.seen = 410, []
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    thread.join()
    server.server_close()


def said(desk: DeskProcess, *arguments: str) -> Any:
    answer = desk.run("deliveries", *arguments)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def resolved(desk: DeskProcess, number: int) -> None:
    body = {"requester": {"id": "ann"}, "title": f"Report {number}"}
    ticket = desk.post("/intake/tickets", body, **{"Idempotency-Key": f"k{number}"}).json()
    path = f"/intake/tickets/{ticket['ticket_id']}/resolve"
    assert desk.post(path, {"resolution": "done"}).is_success


@pytest.mark.timeout(120)
def test_a_dead_letter_is_seen_sent_again_and_given_up(receiver: str, tmp_path: Path) -> None:
    with DeskProcess(tmp_path / "desk", env={"INTAKE_NOTIFY_URL": receiver}) as desk:
        for number in range(2):
            resolved(desk, number)
        dead = eventually(
            lambda: len(found := said(desk, "list", "--json")["intake"]) == 2 and found
        )
        one, other = (entry["id"] for entry in dead)
        assert said(desk, "show", "intake", one)["last_error"] == "HTTP 410"
        assert "ticket.resolved" in said(desk, "show", "intake", one)["body"]
        assert "HTTP 410" in desk.run("deliveries", "list").stdout

        _Receiver.status = 200
        assert said(desk, "discard", "intake", other, "--json") == {"discarded": 1}
        assert said(desk, "redrive", "intake", "--to", receiver, "--json") == {"redriven": 1}
        eventually(lambda: _Receiver.seen.count(one) == 2)
        eventually(lambda: len(said(desk, "list", "--state", "sent", "--json")["intake"]) == 1)
        assert _Receiver.seen.count(other) == 1
        again = desk.run("deliveries", "redrive", "intake", one)
        assert (again.returncode, "no dead delivery" in again.stderr) == (1, True)
        assert desk.run("deliveries", "redrive", "intake").returncode == 1
