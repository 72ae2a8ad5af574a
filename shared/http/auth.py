"""Who calls, and what they may do: bearer JWTs, roles and service scopes."""

import base64
import binascii
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, TypeGuard, cast

import httpx
import msgspec
from fastapi import Depends
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from joserfc import jwt
from joserfc.errors import JoseError
from starlette.requests import HTTPConnection

from shared.clock import Clock
from shared.errors import ForbiddenError, StartupError, UnauthenticatedError
from shared.http.access import Access, Grant
from shared.http.issuers import (
    ALL_SERVICES,
    AUDIENCE,
    LOCAL_ISSUER,
    AllowList,
    KeySource,
    LocalIssuer,
    OidcIssuer,
    RemoteKeys,
    Role,
)
from shared.http.revoked import Stamp
from shared.telemetry.context import act_as
from shared.telemetry.metrics import ServiceMetrics

if TYPE_CHECKING:
    from shared.http.named import Find

__all__ = [
    "ALL_SERVICES",
    "Admitted",
    "Caller",
    "DeskState",
    "LocalIssuer",
    "OidcIssuer",
    "Principal",
    "Role",
    "TokenVerifier",
    "admission",
    "read_stamp",
    "state_of",
]

LOCAL_PREFIX: Final = "local"
_TOKEN_LENGTH_MAX: Final = 8_192
_SUBJECT_LENGTH_MAX: Final = 200
_SKEW_SECONDS: Final = 30
_CACHE_SECONDS_MAX: Final = 300
_CACHE_SIZE_MAX: Final = 4_096
_OIDC_ALGORITHMS: Final = AllowList("RS256", "ES256", "EdDSA", "Ed25519")


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller whose token was checked."""

    subject: str
    roles: frozenset[Role]
    services: frozenset[str]

    def reaches(self, service: str) -> bool:
        """Say whether the caller's token is meant for `service`."""
        return service in self.services or ALL_SERVICES in self.services


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


class _Trust(NamedTuple):
    prefix: str
    audience: str
    roles_claim: str
    services_claim: str
    algorithms: AllowList
    source: KeySource


class _Verified(NamedTuple):
    until: float
    principal: Principal
    stamp: Stamp | None


class TokenVerifier:
    """Checks bearer tokens of the desk's own issuer and of the OIDC issuers named.

    A verified token is remembered by its digest until it expires, five minutes at most, so that a
    key its issuer withdrew is not believed for longer.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        local: LocalIssuer | None = None,
        oidc: Sequence[OidcIssuer] = (),
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """Trust `local` and `oidc`; `client` fetches the latter's keys and is the caller's.

        Subjects of the first OIDC issuer, or of the local one where there is no other, stand as
        they are; those of all others begin with who issued them, so that they
        never meet (ADR 0026).
        Raises: StartupError when there is nobody to trust, no client for OIDC, or when issuers'
        names do not keep their subjects apart.
        """
        self._clock = clock
        self._trusted: dict[str, _Trust] = {}
        self._verified: dict[bytes, _Verified] = {}
        self._revoked = None if local is None else local.revoked
        if local is not None:
            prefix = f"{LOCAL_PREFIX}:" if oidc else ""
            self._trusted[local.issuer] = _Trust(
                prefix, AUDIENCE, "roles", "services", local.algorithms, local
            )
        for place, issuer in enumerate(oidc):
            if client is None:
                raise StartupError("An OIDC issuer needs an HTTP client to fetch its keys.")
            self._trusted[issuer.issuer] = _Trust(
                f"{issuer.issuer}:" if place else "",
                issuer.audience,
                issuer.roles_claim,
                issuer.services_claim,
                _OIDC_ALGORITHMS,
                RemoteKeys(issuer.jwks_url, client, clock),
            )
        self._prefixes = tuple(one.prefix for one in self._trusted.values() if one.prefix)
        _require_apart(self._prefixes)
        if not self._trusted:
            raise StartupError("No token issuer is trusted, so nobody could call the desk.")

    async def verify(self, token: str) -> Principal:
        """Return whose token it is.

        Raises:
            UnauthenticatedError: it cannot be read, trusted or used now; the error says which.
            UnavailableError: its issuer's keys cannot be fetched.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        now = self._clock.now().timestamp()
        known = self._verified.get(digest)
        if known is not None and now < known.until:
            self._require_unrevoked(known.stamp)
            return known.principal
        claims, trust = await self._trusted_claims(token)
        expires_at = _check_times(claims, now)
        principal = _principal(claims, trust)
        if not trust.prefix and principal.subject.startswith(self._prefixes):
            raise UnauthenticatedError("The token's subject is one of another issuer's.")
        stamp = _stamp(claims) if isinstance(trust.source, LocalIssuer) else None
        self._require_unrevoked(stamp)
        until = min(expires_at, now + _CACHE_SECONDS_MAX)
        self._remember(digest, _Verified(until, principal, stamp))
        return principal

    def _require_unrevoked(self, stamp: Stamp | None) -> None:
        if stamp is not None and self._revoked is not None and self._revoked.covers(stamp):
            raise UnauthenticatedError("The token was revoked.")

    async def _trusted_claims(self, token: str) -> tuple[Mapping[str, Any], _Trust]:
        header, unverified = _split(token)
        trust = self._trusted.get(str(unverified.get("iss")))
        if trust is None:
            raise UnauthenticatedError("The token is of an issuer that is not trusted here.")
        keys = await trust.source.keys(header.kid)
        try:
            claims = jwt.decode(token, keys, registry=trust.algorithms).claims
        except (JoseError, ValueError, TypeError) as error:
            raise UnauthenticatedError(
                f"The token's signature cannot be trusted: {error}."
            ) from error
        audience = claims.get("aud")
        if audience != trust.audience and not (
            isinstance(audience, list) and trust.audience in audience
        ):
            raise UnauthenticatedError(f"The token is not for audience {trust.audience!r}.")
        return claims, trust

    def _remember(self, digest: bytes, verified: "_Verified") -> None:
        self._verified.pop(digest, None)
        if len(self._verified) >= _CACHE_SIZE_MAX:
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = verified


def _require_apart(prefixes: Sequence[str]) -> None:
    """`https://idp` could call somebody `8443:ann`, who is `ann` of `https://idp:8443`."""
    for one, other in permutations(prefixes, 2):
        if one.startswith(other):
            raise StartupError(f"A subject of issuer {other[:-1]} could be one of {one[:-1]}.")


def _split(token: str) -> tuple[_Header, Mapping[str, Any]]:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > _TOKEN_LENGTH_MAX:
        raise UnauthenticatedError("The token cannot be read: it is no signed JWT.")
    try:
        header = msgspec.json.decode(_base64url(parts[0]), type=_Header)
        claims = msgspec.json.decode(_base64url(parts[1]), type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        raise UnauthenticatedError("The token cannot be read: it is no JWT.") from error
    return header, claims


def _base64url(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error


def _check_times(claims: Mapping[str, Any], now: float) -> float:
    expires_at = claims.get("exp")
    if not _is_number(expires_at):
        raise UnauthenticatedError("The token has no expiry; claim `exp` is required.")
    if now >= expires_at:
        raise UnauthenticatedError("The token has expired.")
    for name in ("nbf", "iat"):
        instant = claims.get(name)
        if instant is not None and not (_is_number(instant) and instant <= now + _SKEW_SECONDS):
            raise UnauthenticatedError(f"The token is not valid yet by its claim `{name}`.")
    return float(expires_at)


def read_stamp(token: str) -> tuple[Stamp, float]:
    """Return what a token is revoked by, and its end in seconds since 1970; unchecked otherwise.

    Raises: UnauthenticatedError when it cannot be read, is of another issuer, or has no id.
    """
    _, claims = _split(token)
    if claims.get("iss") != LOCAL_ISSUER:
        issuer = claims.get("iss")
        raise UnauthenticatedError(f"The token is of {issuer}, and only there it can be revoked.")
    stamp, end = _stamp(claims), claims.get("exp")
    if not stamp.id or not _is_number(end):
        raise UnauthenticatedError("The token has no id or no end; revoke those of its subject.")
    return stamp, float(end)


def _stamp(claims: Mapping[str, Any]) -> Stamp:
    issued_at = claims.get("iat")
    instant = float(issued_at) if _is_number(issued_at) else 0.0
    return Stamp(str(claims.get("jti", "")), str(claims.get("sub", "")), instant)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _principal(claims: Mapping[str, Any], trust: _Trust) -> Principal:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _SUBJECT_LENGTH_MAX:
        raise UnauthenticatedError("The token names no subject.")
    if not subject.isprintable():
        raise UnauthenticatedError("The token's subject cannot be printed.")
    subject = trust.prefix + subject
    if len(subject) > _SUBJECT_LENGTH_MAX:
        raise UnauthenticatedError("The token's subject is too long.")
    known = {str(role) for role in Role}
    roles = frozenset(Role(name) for name in _words(claims, trust.roles_claim) if name in known)
    services = frozenset(_words(claims, trust.services_claim))
    return Principal(subject, roles, services or _scopes(claims))


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        scope.removeprefix("desk:")
        for scope in _words(claims, "scope")
        if scope.startswith("desk:")
    )


def _words(claims: Mapping[str, Any], name: str) -> list[str]:
    value: Any = claims.get(name)
    if value is None and "." in name:
        value = claims
        for step in name.split("."):
            value = cast("dict[str, Any]", value).get(step) if isinstance(value, dict) else None
    if isinstance(value, str):
        return value.split()
    if isinstance(value, list):
        return [word for word in cast("list[object]", value) if isinstance(word, str)]
    return []


# --- In a route --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DeskState:
    """What routes and dependencies find on their app, put there by `create_app`."""

    service: str
    verifier: TokenVerifier
    clock: Clock
    metrics: ServiceMetrics
    access: Access
    find: "Find | None" = None


def state_of(request: HTTPConnection) -> DeskState:
    """Return the state of the app that serves `request`."""
    return cast("DeskState", request.app.state.desk)


class Caller(NamedTuple):
    """Who calls a route, and what the route's row gives them."""

    principal: Principal
    access: Access
    grant: Grant

    @property
    def subject(self) -> str:
        """Who it is."""
        return self.principal.subject

    def may(self, right: str, relations: Collection[str] = ()) -> bool:
        """Say whether a finer right is theirs, with an object that relates to them so.

        It is by a role that opened the route for this object; one does not add to another.
        """
        return self.access.allows(right, self.grant.of(relations).roles.keys(), relations)

    def admitted(self, relations: Collection[str]) -> "Caller":
        """Return the caller as who opened the route for one object, to ask about another one."""
        return self._replace(grant=self.grant.of(relations))


_NOBODY: Final = Principal("", frozenset(), frozenset())
"""Who calls a route that is open, whatever token they sent."""


class _Admission(SecurityBase):
    """A dependency that is its own OpenAPI scheme, so that FastAPI solves one thing, not two."""

    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="JWT", description="A token of a trusted issuer.")
        self.scheme_name = "bearer"

    async def __call__(self, request: HTTPConnection) -> Caller:
        state = state_of(request)
        row = _row_of(request)
        if state.access.rows[row].is_open:
            return Caller(_NOBODY, state.access, Grant({}))
        principal = await state.verifier.verify(_bearer(request.headers.get("authorization")))
        grant = state.access.grant(row, principal.roles)
        if not principal.reaches(state.service):
            raise ForbiddenError(f"The token's scope does not reach service {state.service}.")
        act_as(principal.subject)
        return Caller(principal, state.access, grant)


def _row_of(request: HTTPConnection) -> str:
    return f"{request.scope['method']} {request.scope['route'].path}"


def _bearer(header: str | None) -> str:
    if header is None:
        raise UnauthenticatedError("A bearer token is needed and none was sent.")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise UnauthenticatedError("The Authorization header must read `Bearer <token>`.")
    return token.strip()


admission: Final = Depends(_Admission())
"""Every route but probes depends on it: who has no row's leave comes no further."""
Admitted = Annotated[Caller, admission]
"""The caller of a route, who may call it; whether with this object, the route asks `grant`."""
