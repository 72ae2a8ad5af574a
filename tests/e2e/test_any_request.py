"""Whatever is asked of a desk, it answers as its OpenAPI documents say, and never with a 500.

schemathesis makes requests of the documents, sound and unsound ones, as every role. They are the
same in every run; `make fuzz` makes many more, which are others each time.
"""

import os
from datetime import timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.desk import DeskProcess
from support.documented import Answers, app_of, document, operations

from services.embedded import key_file
from services.host import ROOMS
from shared.clock import SystemClock
from shared.http.auth import ALL_SERVICES, LocalIssuer, Role

FUZZ = os.environ.get("FUZZ_EXAMPLES")
EXAMPLES = int(FUZZ or 12)
pytestmark = [
    pytest.mark.timeout(120 + 10 * EXAMPLES),
    pytest.mark.xdist_group("any request"),
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
COMMON = ("/health", "/metrics", "/history", "/quarantine", "/deliveries")
OPERATIONS = [
    f"{service}: {operation.name}"
    for service in ROOMS
    for operation in operations(document(service))
    if service == "intake" or not operation.name.split(" ")[1].startswith(COMMON)
]
"""All of them; those that every service has only once."""


@pytest.fixture(scope="module")
def callers(desk: DeskProcess) -> list[dict[str, str]]:
    """Headers of somebody of each role, the most powerful first."""
    issuer = LocalIssuer.load_or_create(key_file(desk.data))
    now = SystemClock().now()
    week = timedelta(days=7)
    return [
        {"Authorization": f"Bearer {token}"}
        for roles in ([*Role], *([role] for role in Role))
        for token in [issuer.issue("ann", roles, services=[ALL_SERVICES], expires_in=week, now=now)]
    ]


@pytest.fixture(scope="module")
def known(desk: DeskProcess) -> dict[str, dict[str, str]]:
    """Names of things that are there, by the beginning of the address."""
    made = {
        route: desk.post(f"/{service}/{route}", example(service, "POST", f"/{route}")).json()
        for service, route in (("intake", "tickets"), ("knowledge", "articles"))
    }
    for service, path, place in (
        ("routing", "/agents/{agent_id}", "/agents/ann"),
        ("sla", "/agreements/{id}", "/agreements/ann"),
        ("sla", "/outages/{id}", "/outages/ann"),
    ):
        put = desk.client.put(f"/{service}{place}", json=example(service, "PUT", path))
        assert put.is_success, put.text
    desk.settle()
    return {
        "tickets": {"id": made["tickets"]["ticket_id"]},
        "articles": {"id": made["articles"]["article_id"]},
        "agents": {"agent_id": "ann"},
        "agreements": {"id": "ann"},
        "outages": {"id": "ann"},
        "policies": {"id": "standard"},
        "calendars": {"id": "office"},
    }


def example(service: str, method: str, path: str) -> Any:
    """Return the body that a document gives."""
    operation = document(service)["paths"][path][method.lower()]
    return operation["requestBody"]["content"]["application/json"]["example"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_any_request_is_answered_as_documented(
    operation: str,
    desk: DeskProcess,
    callers: list[dict[str, str]],
    known: dict[str, dict[str, Any]],
) -> None:
    service, name = operation.split(": ")
    method, path = name.split(" ")
    root = f"{str(desk.client.base_url).rstrip('/')}/{service}"
    called = schemathesis.openapi.from_dict(document(service))[path][method]
    answers = Answers(app_of(service))
    names = [None, *([there] if (there := known.get(path.split("/")[1])) and "{" in path else [])]
    cases = [
        called.as_strategy(mode, path_parameters=given_names)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        for given_names in names
    ]

    @settings(
        max_examples=EXAMPLES,
        derandomize=not FUZZ,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(cases), caller=st.sampled_from([callers[0], *callers]))
    def ask(case: Any, caller: dict[str, str]) -> None:
        response = case.call_and_validate(base_url=root, headers=caller, checks=CHECKS)
        request = httpx.Request(method, response.request.url.replace(root, "http://desk", 1))
        headers = {name: values[-1] for name, values in response.headers.items()}
        answers.check(
            httpx.Response(
                response.status_code, headers=headers, content=response.content, request=request
            )
        )

    ask()
