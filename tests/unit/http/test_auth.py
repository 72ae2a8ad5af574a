import base64
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_desk import NOON, Desk, FixedClock
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from shared.errors import StartupError, UnauthenticatedError, UnavailableError
from shared.http.auth import LocalIssuer, OidcIssuer, Role, TokenVerifier, read_stamp
from shared.http.issuers import AllowList
from shared.http.revoked import FILE, Revocations, Stamp

HOUR = timedelta(hours=1)
KEY = OKPKey.generate_key("Ed25519")
ISSUER = LocalIssuer(KEY)
GOOGLE = OidcIssuer("https://id.example", "https://id.example/jwks", roles_claim="realm.roles")


def token(**changes: Any) -> str:
    now = int(NOON.timestamp())
    claims = {
        "iss": LocalIssuer.issuer,
        "aud": "deskledger",
        "sub": "ann",
        "roles": ["agent"],
        "services": ["*"],
        "exp": now + 60,
    } | changes
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode({"alg": "EdDSA"}, claims, KEY, registry=AllowList("EdDSA"))


def unsigned(algorithm: str) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"iss": LocalIssuer.issuer, "aud": "deskledger", "sub": "eve", "exp": 9_999_999_999}
    return f"{part({'alg': algorithm})}.{part(claims | {'roles': ['admin']})}."


async def test_a_call_without_a_token_is_401_and_names_the_scheme(desk: Desk) -> None:
    answer = await desk.client.get("/tickets/journey")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "none was sent" in answer.json()["detail"]


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "bearer a b c", ""])
async def test_a_header_of_another_form_is_401(desk: Desk, header: str) -> None:
    answer = await desk.client.get("/tickets/journey", headers={"Authorization": header})
    assert answer.status_code == 401


async def test_an_expired_token_says_so_although_it_was_good_before(desk: Desk) -> None:
    headers = desk.bearer(Role.REQUESTER)
    assert (await desk.client.get("/tickets/journey", headers=headers)).status_code == 200
    desk.clock.at = NOON + HOUR
    answer = await desk.client.get("/tickets/journey", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["detail"] == "The token has expired."


async def test_a_wrong_role_is_403_and_an_admin_may_do_all(desk: Desk) -> None:
    answer = await desk.client.get("/tickets/admin", headers=desk.bearer(Role.AGENT))
    assert answer.status_code == 403
    assert "manager" in answer.json()["detail"]
    answer = await desk.client.get("/tickets/admin", headers=desk.bearer(Role.ADMIN))
    assert answer.status_code == 200


async def test_a_token_for_another_service_is_403_even_of_an_admin(desk: Desk) -> None:
    headers = desk.bearer(Role.ADMIN, services=("sla",))
    answer = await desk.client.get("/tickets/admin", headers=headers)
    assert answer.status_code == 403
    assert "intake" in answer.json()["detail"]


def verifier(clock: FixedClock | None = None) -> TokenVerifier:
    return TokenVerifier(clock or FixedClock(NOON), local=ISSUER)


async def test_what_the_issuer_issues_the_verifier_believes() -> None:
    text = ISSUER.issue(
        "ann", [Role.AGENT, Role.MANAGER], services=["sla"], expires_in=HOUR, now=NOON
    )
    principal = await verifier().verify(text)
    assert principal.subject == "ann"
    assert principal.roles == {Role.AGENT, Role.MANAGER}
    assert principal.services == {"sla"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("garbage", "cannot be read"),
        ("a.b.c", "cannot be read"),
        ("x" * 10_000 + "..", "cannot be read"),
        (unsigned("none"), "not allowed"),
        (unsigned("None"), "not allowed"),
        (unsigned("HS256"), "not allowed"),
        (token()[:-4] + "AAAA", "signature"),
        (token(iss="https://evil.example"), "issuer"),
        (token(aud="other"), "audience"),
        (token(aud=["other"]), "audience"),
        (token(exp=None), "exp"),
        (token(exp="tomorrow"), "exp"),
        (token(exp=int(NOON.timestamp())), "expired"),
        (token(nbf=int(NOON.timestamp()) + 300), "nbf"),
        (token(iat=int(NOON.timestamp()) + 300), "iat"),
        (token(sub=None), "subject"),
        (token(sub=""), "subject"),
        (token(sub="a\nb"), "subject"),
    ],
)
async def test_a_token_not_to_be_trusted_says_why(text: str, reason: str) -> None:
    with pytest.raises(UnauthenticatedError, match=reason):
        await verifier().verify(text)


async def test_a_shared_secret_made_of_the_public_key_signs_nothing() -> None:
    public = OctKey.import_key(base64.urlsafe_b64decode(KEY.as_dict()["x"] + "=="))  # type: ignore[operator]
    claims = {"iss": LocalIssuer.issuer, "aud": "deskledger", "sub": "eve", "exp": 9_999_999_999}
    forged = jwt.encode({"alg": "HS256"}, claims, public)
    with pytest.raises(UnauthenticatedError, match="not allowed"):
        await verifier().verify(forged)


async def test_unknown_roles_are_no_roles() -> None:
    principal = await verifier().verify(token(roles=["agent", "emperor", 7]))
    assert principal.roles == {Role.AGENT}


@given(st.text() | st.binary().map(lambda raw: f"{base64.urlsafe_b64encode(raw).decode()}.e30.x"))
async def test_no_text_gets_past_or_breaks_the_verifier(text: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await verifier().verify(text)


async def test_the_memory_of_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.http.auth._CACHE_SIZE_MAX", 2)
    checking = verifier()
    for subject in "abc":
        await checking.verify(token(sub=subject))
    assert len(checking._verified) == 2


# --- The key file ------------------------------------------------------------------------------


async def test_the_signing_key_is_its_owners_only_and_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.json"
    first = LocalIssuer.load_or_create(path)
    text = first.issue("ann", [Role.AGENT], services=["*"], expires_in=HOUR, now=NOON)
    again = LocalIssuer.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["signing.json"]
    assert await TokenVerifier(FixedClock(NOON), local=again).verify(text)
    assert "d" not in again.jwks()["keys"][0]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"{", json.dumps(KEY.as_dict()).encode()])
def test_a_file_without_a_private_key_stops_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "signing.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(StartupError, match=r"signing\.json"):
        LocalIssuer.load_or_create(path)


def test_a_signing_key_that_anyone_can_read_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "signing.json"
    LocalIssuer.load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(StartupError, match="chmod 600"):
        LocalIssuer.load_or_create(path)


# --- OIDC ----------------------------------------------------------------------------------------


class Provider:
    """An OIDC issuer's key endpoint."""

    def __init__(self, *keys: RSAKey | ECKey) -> None:
        self.keys = list(keys)
        self.fetches = 0
        self.is_away = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.fetches += 1
        if self.is_away:
            raise httpx.ConnectError("away", request=request)
        return httpx.Response(200, json={"keys": [key.as_dict(private=False) for key in self.keys]})

    def verifier(self, clock: FixedClock) -> TokenVerifier:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self.answer))
        return TokenVerifier(clock, local=ISSUER, oidc=[GOOGLE], client=client)


def oidc_token(key: RSAKey | ECKey, algorithm: str, **changes: Any) -> str:
    claims = {
        "iss": GOOGLE.issuer,
        "aud": ["deskledger", "portal"],
        "sub": "bo",
        "realm": {"roles": ["manager"]},
        "scope": "openid desk:sla desk:intake",
        "exp": int(NOON.timestamp()) + 86_400,
    } | changes
    return jwt.encode({"alg": algorithm, "kid": key.kid}, claims, key)


RSA = RSAKey.generate_key(2048, auto_kid=True)
EC = ECKey.generate_key("P-256", auto_kid=True)


async def test_tokens_of_an_oidc_issuer_are_checked_with_its_keys() -> None:
    provider = Provider(RSA, EC)
    checking = provider.verifier(FixedClock(NOON))
    for text in (oidc_token(RSA, "RS256"), oidc_token(EC, "ES256")):
        principal = await checking.verify(text)
        assert principal.roles == {Role.MANAGER}
        assert principal.services == {"sla", "intake"}
    assert provider.fetches == 1


async def test_an_oidc_issuer_cannot_speak_for_the_local_one() -> None:
    forged = oidc_token(RSA, "RS256", iss=LocalIssuer.issuer)
    with pytest.raises(UnauthenticatedError):
        await Provider(RSA).verifier(FixedClock(NOON)).verify(forged)


async def test_an_unknown_key_is_looked_up_at_most_once_a_minute() -> None:
    provider, clock = Provider(RSA), FixedClock(NOON)
    checking = provider.verifier(clock)
    await checking.verify(oidc_token(RSA, "RS256"))
    provider.keys.append(EC)
    for _ in range(5):
        with pytest.raises(UnauthenticatedError):
            await checking.verify(oidc_token(EC, "ES256"))
    assert provider.fetches == 1
    clock.at += timedelta(seconds=61)
    assert await checking.verify(oidc_token(EC, "ES256"))
    assert provider.fetches == 2


async def test_known_keys_serve_on_while_their_issuer_is_away() -> None:
    provider, clock = Provider(RSA), FixedClock(NOON)
    checking = provider.verifier(clock)
    await checking.verify(oidc_token(RSA, "RS256"))
    provider.is_away = True
    clock.at += timedelta(hours=2)
    assert await checking.verify(oidc_token(RSA, "RS256", jti="other"))


async def test_no_keys_yet_is_weather_and_not_the_callers_fault() -> None:
    provider = Provider(RSA)
    provider.is_away = True
    with pytest.raises(UnavailableError):
        await provider.verifier(FixedClock(NOON)).verify(oidc_token(RSA, "RS256"))


async def test_a_withdrawn_key_is_not_believed_for_long() -> None:
    provider, clock = Provider(RSA), FixedClock(NOON)
    checking = provider.verifier(clock)
    text = oidc_token(RSA, "RS256")
    await checking.verify(text)
    provider.keys = [EC]
    clock.at += timedelta(hours=2)
    with pytest.raises(UnauthenticatedError):
        await checking.verify(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenVerifier(FixedClock(NOON)),
        lambda: TokenVerifier(FixedClock(NOON), oidc=[GOOGLE]),
        lambda: OidcIssuer("https://id.example", "http://id.example/jwks"),
    ],
)
def test_a_setup_that_trusts_nobody_or_anybody_does_not_start(make: Callable[[], object]) -> None:
    with pytest.raises(StartupError):
        make()


async def test_subjects_of_two_issuers_never_meet() -> None:
    checking = Provider(RSA).verifier(FixedClock(NOON))
    theirs = await checking.verify(oidc_token(RSA, "RS256", sub="cli"))
    ours = await checking.verify(token(sub="cli"))
    assert (theirs.subject, ours.subject) == ("cli", "local:cli")
    with pytest.raises(UnauthenticatedError, match="another issuer"):
        await checking.verify(oidc_token(RSA, "RS256", sub="local:cli"))
    assert (await verifier().verify(token(sub="cli"))).subject == "cli", "alone it stands as it is"


@pytest.mark.parametrize(
    "names",
    [("https://id", "https://idp", "https://idp:8443"), ("https://id", "local"), ("i", "x", "x:y")],
)
def test_issuers_whose_subjects_could_meet_do_not_start(names: tuple[str, ...]) -> None:
    oidc = [OidcIssuer(name, "https://idp/keys") for name in names]
    client = httpx.AsyncClient()
    with pytest.raises(StartupError, match="could be one of"):
        TokenVerifier(FixedClock(NOON), local=ISSUER, oidc=oidc, client=client)
    TokenVerifier(FixedClock(NOON), local=ISSUER, oidc=oidc[:1], client=client)


def test_a_list_that_went_and_came_back_is_read_again(tmp_path: Path) -> None:
    path, stamp = tmp_path / FILE, Stamp("id", "ann", 1.0)
    Revocations(path).revoke_all("ann", 100.0)
    desk = Revocations(path)
    assert desk.covers(stamp)
    path.rename(tmp_path / "aside")
    assert not desk.covers(stamp)
    (tmp_path / "aside").rename(path)
    assert desk.covers(stamp)
    at = path.stat().st_mtime_ns
    Revocations(path).revoke_all("bo", 100.0)
    os.utime(path, ns=(at, at))
    assert desk.covers(stamp._replace(subject="bo")), "another file of the same instant"


def test_what_many_revoke_at_once_is_all_revoked(tmp_path: Path) -> None:
    """Each has a list of its own, as processes have."""
    path, names = tmp_path / FILE, [f"t{number}" for number in range(40)]

    def revoke(name: str) -> None:
        Revocations(path).revoke(Stamp(name, "ann", 1.0), 1e12, 1.0)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(revoke, names))
    assert all(Revocations(path).covers(Stamp(name, "bo", 1e12)) for name in names)


async def test_a_revoked_token_is_believed_no_more_nor_those_of_a_revoked_subject(
    tmp_path: Path,
) -> None:
    path = tmp_path / "signing.json"
    issuer = LocalIssuer.load_or_create(path)
    clock = FixedClock(NOON)
    checking = TokenVerifier(clock, local=issuer)

    def issue(subject: str) -> str:
        return issuer.issue(subject, [Role.AGENT], services=["*"], expires_in=HOUR, now=clock.at)

    mine, other, old = issue("ann"), issue("ann"), issue("Bo@x.org")
    for text in (mine, other, old):
        await checking.verify(text)
    revoked = Revocations(path.with_name(FILE))
    stamp, until = read_stamp(mine)
    revoked.revoke(stamp, until, NOON.timestamp())
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await checking.verify(mine)
    await checking.verify(other)
    revoked.revoke_all("bo@X.org", NOON.timestamp())  # one person in any case
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await checking.verify(old)
    clock.at = NOON + timedelta(seconds=1)
    assert (await checking.verify(issue("Bo@x.org"))).subject == "Bo@x.org"
    revoked.revoke_all("cy", until + 1)
    assert stamp.id not in path.with_name(FILE).read_text(), "its end has come"
    path.with_name(FILE).write_text("{")
    with pytest.raises(UnauthenticatedError, match="cannot be read"):
        await checking.verify(other)
