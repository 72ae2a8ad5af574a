"""Every error as `application/problem+json`. Source: RFC 9457.

The domain knows an error's name, this module its number. A caller reads what to change; what went
wrong inside goes to the log alone.
"""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeAlias

import asyncpg
import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from shared import errors
from shared.errors import DeskError
from shared.faults import pointer_step
from shared.http.lines import JsonLine
from shared.http.named import in_callers_words
from shared.telemetry.context import current
from shared.telemetry.logs import get_logger
from shared.wording import of_pydantic

MEDIA_TYPE: Final = "application/problem+json"
_URN: Final = "urn:deskledger:problem:"
_RETRY_AFTER_SECONDS: Final = 2

_log = get_logger(__name__)

FieldError: TypeAlias = dict[str, str]


class Kind(NamedTuple):
    """One kind of problem; `name` is stable and ends the type's URN."""

    status: int
    name: str
    title: str

    @property
    def urn(self) -> str:
        """The type as callers see it."""
        return _URN + self.name


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of an error. `field` begins with "/" if it points into the body (RFC 6901).

    Otherwise `field` is the name of a header or of a query parameter. `errors` lists every fault
    where more than one was looked for.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str
    field: str | None = None
    errors: list[FieldError] = []
    correlation_id: str | None = None


KINDS: Final[Mapping[type[DeskError], Kind]] = {
    errors.InvalidInputError: Kind(422, "invalid-input", "The input breaks a rule"),
    errors.MalformedInputError: Kind(400, "malformed-input", "The input cannot be read"),
    errors.PayloadTooLargeError: Kind(413, "payload-too-large", "The input is too large"),
    errors.UnsupportedMediaTypeError: Kind(
        415, "unsupported-media-type", "The input is of a kind not read here"
    ),
    errors.UnauthenticatedError: Kind(401, "unauthenticated", "A valid token is needed"),
    errors.ForbiddenError: Kind(403, "forbidden", "The caller may not do this"),
    errors.NotFoundError: Kind(404, "not-found", "Nothing is known under that id"),
    errors.IllegalTransitionError: Kind(
        409, "illegal-transition", "The present state forbids this"
    ),
    errors.ReusedIdError: Kind(409, "reused-id", "The id came again with other content"),
    errors.StaleSequenceError: Kind(412, "stale-sequence", "The record moved on since it was read"),
    errors.TooBusyError: Kind(429, "too-busy", "A limit is reached; try again later"),
    errors.UnavailableError: Kind(503, "unavailable", "A needed part is away; try again later"),
}
_INTERNAL: Final = Kind(500, "internal", "The desk made a mistake")
ALL: Final = (*KINDS.values(), _INTERNAL)
_BY_STATUS: Final = {
    kind.status: kind for kind in KINDS.values() if kind.name != "illegal-transition"
}

# What asyncpg raises when the database is away or restarting. OSError covers refused and reset
# connections and the pool's timeouts; InternalClientError a connection cut while it was in use.
_DATABASE_AWAY: Final[tuple[type[Exception], ...]] = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.ReadOnlySQLTransactionError,
)
# What it raises when the database is there and has no room for more. The statement was undone.
_DATABASE_FULL: Final[tuple[type[Exception], ...]] = (
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
)
_POOL_GONE: Final = re.compile(r"pool is (closed|closing)|connection is closed|released back")

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_NOT_SENT: Final = "invalid input for query argument"


def example(kind: Kind) -> dict[str, object]:
    """Return how a problem of a kind may read."""
    detail = f"{kind.title}."
    found = Problem(
        type=kind.urn, title=kind.title, status=kind.status, detail=detail, instance="/tickets"
    )
    return msgspec.to_builtins(found)


# --- Answers -----------------------------------------------------------------------------------


def respond(
    path: str,
    kind: Kind,
    detail: str,
    *,
    field: str | None = None,
    faults: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return the answer for one problem on `path`."""
    journey = current()
    problem = Problem(
        type=kind.urn,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=path,
        field=field,
        errors=list(faults),
        correlation_id=journey.correlation_id if journey else None,
    )
    return JsonLine(
        msgspec.json.encode(problem),
        status_code=kind.status,
        headers=_headers_of(kind.status) | dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def _headers_of(status: int) -> dict[str, str]:
    match status:
        case 401:
            return {"WWW-Authenticate": "Bearer"}
        case 429 | 503:
            return {"Retry-After": str(_RETRY_AFTER_SECONDS)}
        case _:
            return {}


def kind_of(error: DeskError) -> Kind:
    """Return the kind of an error, by its nearest class in the tree that has one."""
    for ancestor in type(error).__mro__:
        if kind := KINDS.get(ancestor):
            return kind
    return _INTERNAL


def too_large(path: str, limit_bytes: int) -> Response:
    """Return the answer to a body over the limit."""
    return respond(path, _BY_STATUS[413], f"The body is larger than {limit_bytes} bytes.")


def two_lines(path: str) -> Response:
    """Return the answer to an address with a line break in it: there is none like that."""
    return respond(path, _BY_STATUS[404], "Nothing is served at an address of two lines.")


def unavailable(path: str, detail: str) -> Response:
    """Return the answer of a service that cannot do its work yet, or for now."""
    return respond(path, _BY_STATUS[503], detail)


def internal_error(path: str) -> Response:
    """Return the answer to a mistake of ours, which tells nothing of the inside."""
    detail = "This is our fault and has been logged; the correlation id finds the line."
    return respond(path, _INTERNAL, detail)


def install(app: FastAPI) -> None:
    """Make every error that leaves a route of `app` a problem.

    Unexpected exceptions are left to the outermost middleware, which logs them.
    """
    app.add_exception_handler(DeskError, _on_desk_error)
    app.add_exception_handler(RequestValidationError, _on_request_validation)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(asyncpg.InterfaceError, _on_interface_error)
    for strange in (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError):
        app.add_exception_handler(strange, _on_strange_text)
    app.add_exception_handler(asyncpg.DataError, _on_value_out_of_range)
    for away in _DATABASE_AWAY:
        app.add_exception_handler(away, _on_database_away)
    for full in _DATABASE_FULL:
        app.add_exception_handler(full, _on_database_full)


async def _on_desk_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, DeskError):
        raise error
    kind = kind_of(error)
    if kind is _INTERNAL:
        raise error
    headers = None
    if isinstance(error, errors.TooBusyError):
        headers = {"Retry-After": str(error.retry_after_seconds)}
    detail = in_callers_words(request, error.detail)
    return respond(request.scope["path"], kind, detail, field=error.field or None, headers=headers)


async def _on_database_away(request: Request, error: Exception) -> Response:
    _log.warning("database away", error=type(error).__name__, reason=str(error))
    detail = "The database cannot be reached. Nothing is acknowledged; send the same again."
    return respond(request.scope["path"], _BY_STATUS[503], detail)


async def _on_database_full(request: Request, error: Exception) -> Response:
    _log.error("database full", error=type(error).__name__, reason=str(error))
    what = "disk is full" if isinstance(error, asyncpg.DiskFullError) else "server has no room"
    return respond(
        request.scope["path"], _BY_STATUS[503], f"The database's {what}; nothing was stored."
    )


async def _on_strange_text(request: Request, _: Exception) -> Response:
    """Bodies are checked as they are read; what is left is an address with U+0000 in it."""
    detail = "The address has a character that cannot be stored, such as U+0000."
    return respond(request.scope["path"], _BY_STATUS[400], detail)


async def _on_value_out_of_range(request: Request, error: Exception) -> Response:
    """What the driver cannot send is a number or an instant that no column can hold."""
    if not str(error).startswith(_NOT_SENT):
        raise error
    detail = "A number or an instant is beyond what can be stored."
    return respond(request.scope["path"], _BY_STATUS[422], detail)


async def _on_interface_error(request: Request, error: Exception) -> Response:
    if not _POOL_GONE.search(str(error)):
        raise error
    return await _on_database_away(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    status = error.status_code
    if status in {204, 304}:
        return Response(status_code=status, headers=dict(error.headers or {}))
    kind = _BY_STATUS.get(status) or _plain_kind(status)
    path = request.scope["path"]
    detail = str(error.detail)
    headers = error.headers
    if status == 404 and detail == "Not Found":
        detail = f"Nothing is served at {path}."
    elif status == 405:
        allowed = ", ".join(_methods_of(request))
        headers = {**(headers or {}), "Allow": allowed}
        detail = f"{request.method} is not allowed here; allowed: {allowed}."
    return respond(path, kind, detail, headers=headers)


def _methods_of(request: Request) -> list[str]:
    """Return all methods of an address; the error knows those of its first route alone."""
    found = [
        method
        for method in _METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    ]
    return list(dict.fromkeys([*found, "HEAD"] if "GET" in found else found))


def _plain_kind(status: int) -> Kind:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Error"
    return Kind(status, phrase.lower().replace(" ", "-").replace("'", ""), phrase)


async def _on_request_validation(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found: Sequence[Mapping[str, Any]] = error.errors()
    path = request.scope["path"]
    for fault in found:
        if fault["type"] == "json_invalid":
            reason = fault.get("ctx", {}).get("error", "it cannot be parsed")
            return respond(path, _BY_STATUS[400], f"The body is not valid JSON: {reason}.")
    faults = [_fault(fault) for fault in found]
    first = faults[0]
    field = next(value for name, value in first.items() if name != "detail")
    detail = f"{field or 'The body'}: {first['detail']}."
    if len(faults) > 1:
        detail += f" {len(faults) - 1} more in `errors`."
    return respond(path, _BY_STATUS[422], detail, field=field or None, faults=faults)


def _fault(fault: Mapping[str, Any]) -> FieldError:
    place, *steps = fault["loc"]
    if place == "body":
        return {"pointer": "".join(f"/{pointer_step(str(step))}" for step in steps)} | {
            "detail": of_pydantic(fault)
        }
    if place == "query":
        steps = steps[:1]  # of several values of a parameter, the parameter
    name = ".".join(str(step) for step in steps)
    return {"header" if place == "header" else "parameter": name, "detail": of_pydantic(fault)}
