"""Whose tokens the desk believes: its own issuer's, and those of OIDC issuers it was told of."""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import JWKRegistry, Key, KeySet, OKPKey
from joserfc.jws import JWSRegistry
from joserfc.registry import Header

from shared.clock import Clock
from shared.errors import StartupError, UnavailableError
from shared.http.revoked import FILE, Revocations
from shared.ids import random_id
from shared.telemetry.logs import get_logger

ALL_SERVICES: Final = "*"
LOCAL_ISSUER: Final = "urn:deskledger:local"
AUDIENCE: Final = "deskledger"

_JWKS_BYTES_MAX: Final = 256 * 1024
_FETCH_TIMEOUT_SECONDS: Final = 5
_REFETCH_SECONDS: Final = 60
_RETRY_SECONDS: Final = 5
_AGE_SECONDS_MAX: Final = 3_600

_log = get_logger(__name__)


class Role(StrEnum):
    """What a caller is to the desk; what each may do stands in the access tables."""

    REQUESTER = "requester"
    AGENT = "agent"
    MANAGER = "manager"
    AUDITOR = "auditor"
    ADMIN = "admin"
    INTEGRATION = "integration"
    IMPORTER = "importer"
    CUSTOMER = "customer"


class AllowList(JWSRegistry):
    """Signature algorithms by name; whatever is not listed is refused, `none` among it.

    joserfc warns of `EdDSA`, because RFC 9864 prefers the name `Ed25519`; few libraries know that
    name yet, so the warning is passed over by not asking for it.
    """

    def __init__(self, *allowed: str) -> None:
        """Allow exactly these; header fields that are unknown are ignored (RFC 7515, 4)."""
        super().__init__(algorithms=allowed, strict_check_header=False)
        self._names = frozenset(allowed)

    def get_alg(self, name: str) -> Any:  # noqa: ANN401 joserfc does not export the model's type
        """Return the algorithm called `name`. Raises: UnsupportedAlgorithmError."""
        if name not in self._names:
            raise UnsupportedAlgorithmError(f"algorithm {name!r} is not allowed")
        return self.algorithms[name]


class KeySource(Protocol):
    """Where an issuer's public keys come from."""

    async def keys(self, kid: str | None) -> KeySet:
        """Return the keys known, refreshed when `kid` is not among them.

        Raises: UnavailableError when none could be had yet.
        """
        ...


class LocalIssuer:
    """The desk's own issuer: one Ed25519 key in a file that only its owner may read."""

    issuer = LOCAL_ISSUER
    algorithms = AllowList("EdDSA")

    def __init__(self, key: OKPKey, revoked: Revocations | None = None) -> None:
        """Use `key`, which must be private; `revoked` are tokens that are believed no more."""
        key.ensure_kid()
        self.revoked = revoked
        self._key = key
        self._public = KeySet([OKPKey.import_key(dict(key.as_dict(private=False)))])

    @classmethod
    def load_or_create(cls, path: Path, revoked: Path | None = None) -> "LocalIssuer":
        """Read the key at `path`; make one there, readable by its owner only, if there is none.

        `revoked` is where the list of revoked tokens lies, beside the key if nothing is said.
        Safe when several processes start at once: one key wins, all use it.
        Raises: StartupError when the file cannot be used, or others may read it.
        """
        try:
            if not path.exists():
                _write_new_key(path)
            if path.stat().st_mode & 0o007:
                raise StartupError(f"{path} can be read by anyone; chmod 600 it.")
            parts = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            key = OKPKey.import_key(parts)
            if not key.is_private:
                raise StartupError(f"{path} holds a public key; signing needs the private one.")
            return cls(key, Revocations(revoked or path.with_name(FILE)))
        except OSError as error:
            raise StartupError(f"The signing key {path} cannot be used: {error}.") from error
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise StartupError(f"{path} holds no signing key: {error}.") from error

    def issue(
        self,
        subject: str,
        roles: Iterable[Role],
        *,
        services: Iterable[str],
        expires_in: timedelta,
        now: datetime,
    ) -> str:
        """Return a token for `subject`; `services` are names of services, or `*` for all."""
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "roles": [str(Role(role)) for role in roles],
            "services": list(services),
            "iat": int(now.timestamp()),
            "nbf": int(now.timestamp()),
            "exp": int((now + expires_in).timestamp()),
            "jti": str(random_id()),
        }
        header: Header = {"alg": "EdDSA", "kid": self._key.kid}
        return jwt.encode(header, claims, self._key, registry=self.algorithms)

    def jwks(self) -> dict[str, Any]:
        """Return the public key as a JWK set, for others who check our tokens."""
        return dict(self._public.as_dict(private=False, use="sig", alg="EdDSA"))

    async def keys(self, kid: str | None) -> KeySet:
        """Return the one public key."""
        del kid
        return self._public


def _write_new_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{random_id().hex}")
    key = OKPKey.generate_key("Ed25519", auto_kid=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(dict(key.as_dict(private=True))))
        try:
            # Unlike a rename, a link fails if another process was first.
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()


@dataclass(frozen=True, slots=True)
class OidcIssuer:
    """An OpenID Connect issuer to trust, and where its tokens say what the desk needs.

    A claim is named as it stands, or by a dotted path such as `realm_access.roles`. Without the
    services claim the scopes `desk:<service>` and `desk:*` count.
    """

    issuer: str
    jwks_url: str
    audience: str = AUDIENCE
    roles_claim: str = "roles"
    services_claim: str = "services"

    def __post_init__(self) -> None:
        """Refuse keys that would travel unprotected."""
        url = urlsplit(self.jwks_url)
        if url.scheme != "https" and url.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise StartupError(f"The JWKS URL {self.jwks_url} must be https.")


class RemoteKeys:
    """An OIDC issuer's keys: fetched when first needed, again each hour, and for an unknown `kid`.

    An unknown `kid` costs at most one fetch a minute, whatever callers send. Old keys serve on
    while the issuer is away.
    """

    def __init__(self, url: str, client: httpx.AsyncClient, clock: Clock) -> None:
        """Fetch nothing yet. `client` belongs to the caller."""
        self._url = url
        self._client = client
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._tried_at = 0.0

    async def keys(self, kid: str | None) -> KeySet:
        """Return the keys known, refreshed as the class says."""
        if self._is_due(kid):
            async with self._lock:
                if self._is_due(kid):
                    await self._refresh()
        if self._keys is None:
            raise UnavailableError("The identity provider's keys cannot be fetched.")
        return self._keys

    def _is_due(self, kid: str | None) -> bool:
        now = self._clock.now().timestamp()
        if self._keys is None:
            return now - self._tried_at >= _RETRY_SECONDS
        if now - self._tried_at < _REFETCH_SECONDS:
            return False
        is_unknown = kid is not None and all(key.kid != kid for key in self._keys)
        return is_unknown or now - self._fetched_at >= _AGE_SECONDS_MAX

    async def _refresh(self) -> None:
        self._tried_at = self._clock.now().timestamp()
        try:
            answer = await self._client.get(self._url, timeout=_FETCH_TIMEOUT_SECONDS)
            answer.raise_for_status()
            self._keys = _import_keys(answer.content)
            self._fetched_at = self._tried_at
        except (httpx.HTTPError, ValueError) as error:
            _log.warning("keys not fetched", url=self._url, reason=repr(error))


class _JwkSet(msgspec.Struct):
    keys: list[dict[str, Any]]


def _import_keys(content: bytes) -> KeySet:
    if len(content) > _JWKS_BYTES_MAX:
        raise ValueError(f"{len(content)} bytes are too many for a key set")
    keys: list[Key] = []
    for entry in msgspec.json.decode(content, type=_JwkSet).keys:
        try:
            keys.append(JWKRegistry.import_key(entry))
        except (JoseError, ValueError, KeyError, TypeError) as error:
            # A set may hold keys for other uses; those of a kind we do not know are not for us.
            _log.info("key passed over", kid=entry.get("kid"), reason=repr(error))
    if not keys:
        raise ValueError("no usable key in the set")
    return KeySet(keys)
