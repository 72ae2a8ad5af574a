"""`desk sla availability` and `desk sla agreement`: what they ask the desk, and what they print."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from services.cli import app
from shared.terminal import common

PERIOD = {
    "from": "2026-03-01T00:00:00Z",
    "to": "2026-04-01T00:00:00Z",
    "agreed_seconds": 2_674_800.0,
    "down_seconds": 10_800.0,
    "share": 0.995962,
    "share_min": 0.999,
    "is_met": False,
    "failures": 1,
    "mtbf_seconds": None,
    "mttrs_seconds": 10_800.0,
}
LINE = {"measure": "mail is up", "share": 0.995962, "band_below": 0.999, "credit_minor": 5_000}
REMEDY = {
    "period_start": "2026-03-01T00:00:00Z",
    "period_end": "2026-04-01T00:00:00Z",
    "revision": 2,
    "kind": "credit",
    "currency": "EUR",
    "total_minor": 5_000,
    "lines": [LINE],
    "computation": ["Sum 5000."],
}
DOCUMENT = {
    "version": 1,
    "customer": "acme",
    "fee_minor": 100_000,
    "currency": "EUR",
    "review_period": "month",
    "review_date": "2026-12-01",
}
FILE = """
id: acme-1
version: 1
customer: acme
provider: desk
valid_from: 2026-01-01T00:00:00Z
review_date: 2026-12-01
review_period: month
zone: Europe/Berlin
currency: EUR
fee_minor: 100000
measures:
  - name: mail is up
    availability: {service: mail}
    bands: [{below: 0.999, credit_share: 0.05}]
"""


class Desk:
    """Answers every request with `body`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.body: Any = {}
        self.status = 200
        self.asked: list[httpx.Request] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(self.status, json=self.body)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = Desk()

    @asynccontextmanager
    async def client(_target: object) -> AsyncGenerator[httpx.AsyncClient]:
        transport = httpx.MockTransport(desk.answer)
        async with httpx.AsyncClient(transport=transport, base_url="http://desk") as found:
            yield found

    monkeypatch.setattr(common, "desk_client", client)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(common.out, "width", 200)
    return desk


@pytest.fixture
def run(desk: Desk) -> Callable[..., Result]:
    def invoke(*words: str, body: Any, code: int = 0) -> Result:
        desk.body = body
        result = CliRunner().invoke(app, ["sla", *words])
        assert result.exit_code == code, result.output
        return result

    return invoke


def test_availability_is_a_line_per_service_and_period(desk: Desk, run: Any) -> None:
    body = {"zone": "UTC", "services": [{"service": "mail", "periods": [PERIOD]}]}
    told = run("availability", "--service", "mail", "--by", "month", body=body).output
    assert dict(desk.asked[0].url.params) == {"service": "mail", "by": "month", "zone": "UTC"}
    assert desk.asked[0].url.path == "/sla/availability"
    for part in ("mail     2026-03  743.00", "3.00", "99.5962%", "99.9000%", "no", "–"):
        assert part in told
    assert msgspec.json.decode(run("availability", "--json", body=body).stdout) == body
    assert "nothing was told" in run("availability", body=body | {"services": []}).output


def test_an_agreement_is_published_from_a_file(desk: Desk, run: Any, tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(FILE)
    told = run("agreement", "publish", str(file), body={"changed": True}).output
    assert told == "published acme-1 version 1\n"
    assert (desk.asked[0].method, desk.asked[0].url.path) == ("PUT", "/sla/agreements/acme-1")
    assert msgspec.json.decode(desk.asked[0].content)["review_date"] == "2026-12-01"
    told = run("agreement", "publish", str(file), body={"changed": False}).output
    assert told == "published before: acme-1 version 1\n"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (FILE.replace("id: acme-1", ""), "/id: the agreement needs an id"),
        (FILE.replace("fee_minor: 100000", "fee_minor: much"), "/fee_minor"),
        (FILE.replace("provider: desk", "provider: desk\ncolour: red"), "colour"),
        ("[]", "must be an agreement"),
    ],
)
def test_a_file_that_is_no_agreement_is_refused(
    desk: Desk, run: Any, tmp_path: Path, text: str, fault: str
) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(text)
    assert fault in run("agreement", "publish", str(file), body={}, code=2).output
    assert desk.asked == []


def test_a_signature_and_a_review_are_sent_and_told(desk: Desk, run: Any) -> None:
    signature = ("--version", "1", "--party", "customer", "--signatory", "Ann")
    told = run("agreement", "sign", "acme-1", *signature, body={"changed": True}).output
    assert told == "signed acme-1 version 1, customer\n"
    assert msgspec.json.decode(desk.asked[0].content) == {
        "version": 1,
        "party": "customer",
        "signatory": "Ann",
    }
    differs = [{"pointer": "/total_minor", "before": 0, "after": 5_000}]
    body = {"changed": True, "remedy": REMEDY, "differs": differs}
    told = run("agreement", "review", "acme-1", "2026-03", body=body).output
    assert desk.asked[1].url.path == "/sla/agreements/acme-1/reviews"
    for part in ("revision 2: told", "/total_minor: 0 -> 5000", "Sum 5000.", "EUR 50.00"):
        assert part in told


def test_agreements_and_reviews_are_listed(desk: Desk, run: Any) -> None:
    version = {"document": DOCUMENT, "signatures": {"customer": {}}, "in_force": False}
    body = {"agreements": [{"agreement_id": "acme-1", "versions": [version]}]}
    told = run("agreement", "list", body=body).output
    for part in ("acme-1", "customer", "no", "EUR 1,000.00 a month"):
        assert part in told
    told = run("agreement", "list", "acme-1", body={"zone": "UTC", "remedies": [REMEDY]}).output
    assert desk.asked[1].url.path == "/sla/agreements/acme-1/remedies"
    for part in ("2026-03", "99.596%", "below 0.999", "EUR 50.00", "total credit"):
        assert part in told


def test_what_the_desk_refuses_is_said_with_its_field(desk: Desk, run: Any) -> None:
    desk.status = 409
    body = {"detail": "the period 2026-03 is not over", "field": "/period"}
    told = run("agreement", "review", "acme-1", "2026-03", body=body, code=1).output
    assert "is not over (/period)" in told
