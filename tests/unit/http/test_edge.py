from typing import Any

import pytest
from fastapi import APIRouter
from http_desk import NOON, Desk
from jsonschema import Draft202012Validator
from starlette.requests import ClientDisconnect
from structlog.testing import capture_logs

from shared.errors import UnavailableError
from shared.http.auth import Role
from shared.http.health import Check, health_router

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_a_journey_goes_on_with_the_callers_ids(desk: Desk) -> None:
    headers = {
        "X-Correlation-ID": "order-7",
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
    } | desk.bearer(Role.REQUESTER)
    answer = await desk.client.get("/tickets/journey", headers=headers)
    body = answer.json()
    assert answer.headers["x-correlation-id"] == body["correlation_id"] == "order-7"
    assert body["trace_id"] == TRACE
    assert body["span_id"] == "b7ad6b7169203331"  # the caller's, while the desk records none
    assert (body["actor"], body["service"]) == ("ann", "intake")


@pytest.mark.parametrize("sent", [None, "", "two words", "x" * 200, "naïve"])
async def test_without_a_usable_correlation_id_the_trace_names_the_journey(
    desk: Desk, sent: str | None
) -> None:
    headers = desk.bearer(Role.REQUESTER)
    if sent is not None:
        headers["X-Correlation-ID"] = sent
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    body = (await desk.client.get("/tickets/journey", headers=encoded)).json()
    assert body["correlation_id"] == body["trace_id"]
    assert len(body["trace_id"]) == 32


async def test_a_request_is_one_line_of_the_log_and_a_mistake_of_ours_one_more(desk: Desk) -> None:
    with capture_logs() as lines:
        await desk.client.get("/tickets/fail/not-found?name=secret")
        await desk.client.get("/health/live")
        await desk.client.get("/tickets/fail/bug")
    found = [(line["log_level"], line["event"], line.get("status")) for line in lines]
    assert found == [
        ("info", "request", 422),
        ("debug", "request", 200),
        ("error", "request failed", None),
        ("info", "request", 500),
    ]
    assert lines[0]["route"] == "/tickets/fail/{name}"
    assert "secret" not in str(lines[0])


async def test_every_answer_forbids_sniffing(desk: Desk) -> None:
    for path in ("/health/live", "/nowhere", "/tickets/fail/bug"):
        answer = await desk.client.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_requests_are_counted_by_template_and_never_by_path(desk: Desk) -> None:
    await desk.client.get("/tickets/fail/not-found")
    await desk.client.get("/made-up/123")
    await desk.client.request("BREW", "/made-up/123")
    text = desk.registry.exposition().decode()
    sample = 'method="GET",route="/tickets/fail/{name}",service="intake",status="404"} 1.0'
    assert sample in text
    assert 'method="GET",route="unmatched",service="intake",status="404"} 1.0' in text
    assert "made-up" not in text
    assert "BREW" not in text


async def test_a_caller_who_leaves_is_no_error_of_ours(desk: Desk) -> None:
    router = APIRouter()

    @router.get("/leave")
    async def leave() -> None:
        raise ClientDisconnect

    desk.app.include_router(router)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/leave",
        "headers": [],
        "query_string": b"",
        "root_path": "",
    }
    await desk.app(scope, receive, send)
    assert sent == []
    assert 'status="499"' in desk.registry.exposition().decode()


async def test_the_openapi_document_is_complete(desk: Desk) -> None:
    document = (await desk.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    create = document["paths"]["/tickets"]["post"]
    assert create["security"] == [{"bearer": []}]
    media = create["requestBody"]["content"]["application/json"]
    Draft202012Validator.check_schema(media["schema"])
    Draft202012Validator(media["schema"]).validate(media["example"])
    assert "$ref" not in str(media["schema"])
    assert [parameter["name"] for parameter in create["parameters"]] == ["Idempotency-Key"]
    error = create["responses"]["default"]["content"]["application/problem+json"]["schema"]
    assert error == {"$ref": "#/components/schemas/Problem"}
    assert "detail" in document["components"]["schemas"]["Problem"]["properties"]
    assert (await desk.client.get("/docs")).status_code == 200


async def test_liveness_is_open(desk: Desk) -> None:
    answer = await desk.client.get("/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "live"})


async def _fine() -> dict[str, Any]:
    return {"lag": 3, "since": NOON}


async def _away() -> None:
    raise UnavailableError("The log is away.")


async def _bug() -> None:
    raise KeyError("secret")


async def test_readiness_shows_each_check_and_tells_no_secret(desk: Desk) -> None:
    checks = [Check("fine", _fine), Check("log", _away), Check("bug", _bug)]
    desk.app.router.routes.clear()
    desk.app.include_router(health_router(checks))
    answer = await desk.client.get("/health/ready")
    assert answer.status_code == 503
    found = answer.json()["checks"]
    assert found["fine"] == {"ok": True, "lag": 3, "since": NOON.isoformat().replace("+00:00", "Z")}
    assert found["log"] == {"ok": False, "detail": "The log is away."}
    assert found["bug"] == {"ok": False, "detail": "KeyError"}


async def test_many_questions_at_once_run_a_check_once(desk: Desk) -> None:
    runs = 0

    async def count() -> None:
        nonlocal runs
        runs += 1

    desk.app.router.routes.clear()
    desk.app.include_router(health_router([Check("count", count)]))
    for _ in range(3):
        assert (await desk.client.get("/health/ready")).status_code == 200
    assert runs == 1


async def test_metrics_need_a_token(desk: Desk) -> None:
    assert (await desk.client.get("/metrics")).status_code == 401
    assert (
        await desk.client.get("/metrics", headers=desk.bearer(Role.REQUESTER))
    ).status_code == 403
    answer = await desk.client.get("/metrics", headers=desk.bearer(Role.AUDITOR))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
