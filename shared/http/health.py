"""Liveness, readiness and metrics.

Alive is who answers; ready is who can do the work. A service names its checks, such as "my loops
run and my position moves"; each raises when it fails.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NotRequired, TypedDict, cast

from fastapi import APIRouter

from shared.errors import DeskError
from shared.http import openapi
from shared.http.answers import Answer, Text
from shared.http.auth import Admitted
from shared.telemetry.metrics import MetricRegistry

_CHECK_TIMEOUT_SECONDS: Final = 2.0
_MEMORY_SECONDS: Final = 0.25


class Live(TypedDict):
    """That the process answers."""

    status: Literal["live"]


class Checked(TypedDict):
    """Whether a condition holds, why not, and facts about it.

    Of a service's loops these are events still to be sent, how far behind the log its read model
    is, in which round of measuring that was found, and which loops wait for weather to pass.
    """

    ok: bool
    detail: NotRequired[str]
    outbox: NotRequired[int]
    behind: NotRequired[int]
    round: NotRequired[int]
    degraded: NotRequired[list[str]]


class ReadinessAnswer(TypedDict):
    """Whether the service can do its work, and every condition of that."""

    status: Literal["ready", "not_ready"]
    checks: Mapping[str, Checked]


class Ready(Answer[ReadinessAnswer]):
    """Ready, or not: 503, and when to ask again."""

    statuses = (200, 503)


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of readiness.

    `probe` returns facts to show (public: anyone may read readiness), or raises. What it raises is
    shown only if it is a DeskError; of any other error only the class is.
    """

    name: str
    probe: Callable[[], Awaitable[Mapping[str, Any] | None]]


class Readiness:
    """Runs checks side by side; a result serves all who ask within a quarter of a second.

    The endpoint is open, so asking it often must not load the database.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        """Run nothing yet."""
        self._checks = tuple(checks)
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._results: dict[str, Checked] = {}

    async def results(self) -> Mapping[str, Checked]:
        """Return, per check, `ok` and what it told. Never raises."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            if loop.time() - self._checked_at >= _MEMORY_SECONDS:
                found = await asyncio.gather(*(_run(check) for check in self._checks))
                self._results = {
                    check.name: result for check, result in zip(self._checks, found, strict=True)
                }
                self._checked_at = loop.time()
        return self._results


async def _run(check: Check) -> Checked:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_SECONDS):
            return cast("Checked", {"ok": True, **(await check.probe() or {})})
    except DeskError as error:
        return {"ok": False, "detail": error.detail}
    except TimeoutError:
        return {"ok": False, "detail": f"no answer within {_CHECK_TIMEOUT_SECONDS:g} s"}
    except Exception as error:  # noqa: BLE001 whatever a check raises means "not ready"
        return {"ok": False, "detail": type(error).__name__}


def health_router(checks: Sequence[Check]) -> APIRouter:
    """Return `GET /health/live` and `GET /health/ready`, both open without a token."""
    router = openapi.router("health", "/health")
    readiness = Readiness(checks)

    @router.get("/live", summary="The process answers")
    async def live() -> Answer[Live]:
        return Answer({"status": "live"})

    @router.get("/ready", summary="The service can do its work")
    async def ready() -> Ready:
        checks = await readiness.results()
        if all(check["ok"] for check in checks.values()):
            return Ready({"status": "ready", "checks": checks})
        return Ready({"status": "not_ready", "checks": checks}, 503, {"Retry-After": "1"})

    for path, probe in ("/live", live), ("/ready", ready):  # load balancers ask for the head only
        router.head(path, include_in_schema=False)(probe)
    return router


def metrics_router(registry: MetricRegistry, service: str | None = None) -> APIRouter:
    """Return `GET /metrics` in Prometheus' text format; of one service, if one is named."""
    router = openapi.router("health")

    @router.get("/metrics", summary="Metrics in Prometheus' text format")
    async def metrics(_: Admitted) -> Text:
        return Text(registry.exposition(service), media_type=registry.content_type)

    _ = metrics
    return router
