"""What is answered before a service has begun: that it lives, how far it is, else 503."""

from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.problem import unavailable

_OPEN: Final = frozenset({"/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs"})


class Gate:
    """Stands before an app's routes; `closed` says why they cannot be used yet, if so."""

    def __init__(self, app: ASGIApp, *, closed: Callable[[], str | None]) -> None:
        """Guard `app`."""
        self._app = app
        self._closed = closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        reason = self._closed()
        if reason is None or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path.removeprefix(scope.get("root_path", "")) in _OPEN:
            await self._app(scope, receive, send)
        else:
            await unavailable(path, reason)(scope, receive, send)
