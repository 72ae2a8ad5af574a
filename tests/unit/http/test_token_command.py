"""`desk token issue|revoke` on a data folder, as whoever checks tokens sees it."""

from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey
from typer.testing import CliRunner

from services.commands.tokens import app
from shared.clock import SystemClock
from shared.errors import UnauthenticatedError
from shared.http.auth import LocalIssuer, TokenVerifier, read_stamp
from shared.terminal.folder import cli_token, key_file

DAY_SECONDS = 86_400


async def test_a_token_is_issued_and_revoked(tmp_path: Path) -> None:
    issuer = LocalIssuer.load_or_create(key_file(tmp_path))
    checking = TokenVerifier(SystemClock(), local=issuer)

    def desk(*arguments: str) -> str:
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    mine = desk("issue", "--role", "agent", "--subject", "bo")
    other = desk("issue", "--role", "agent", "--subject", "cy")
    for text in (mine, other):
        await checking.verify(text)
    assert desk("revoke", mine) == "revoked"
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await checking.verify(mine)
    await checking.verify(other)
    desk("revoke", "--subject", "cy")
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await checking.verify(other)
    assert CliRunner().invoke(app, ["revoke", "--data", str(tmp_path)]).exit_code == 1


async def test_what_the_desk_calls_a_subject_is_revoked(tmp_path: Path) -> None:
    """Beside an OIDC issuer a subject of the desk's own is shown as `local:NAME`."""
    issuer = LocalIssuer.load_or_create(key_file(tmp_path))
    checking = TokenVerifier(SystemClock(), local=issuer)
    args = ["--data", str(tmp_path)]
    text = CliRunner().invoke(app, ["issue", "--role", "agent", "--subject", "mon", *args]).stdout
    assert CliRunner().invoke(app, ["revoke", "--subject", "local:mon", *args]).exit_code == 0
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await checking.verify(text.strip())


def test_a_token_of_another_issuer_is_not_said_to_be_revoked(tmp_path: Path) -> None:
    LocalIssuer.load_or_create(key_file(tmp_path))
    claims = {"iss": "https://id.example", "sub": "ann", "jti": "1", "exp": 9_999_999_999}
    text = jwt.encode({"alg": "HS256"}, claims, OctKey.generate_key(256))
    result = CliRunner().invoke(app, ["revoke", text, "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "https://id.example" in result.stderr


async def test_a_desk_that_serves_from_a_read_only_key_reads_its_list_elsewhere(
    tmp_path: Path,
) -> None:
    key, lists = tmp_path / "run" / "key.json", tmp_path / "lists" / "revoked.json"
    LocalIssuer.load_or_create(key)
    key.parent.chmod(0o500)
    checking = TokenVerifier(SystemClock(), local=LocalIssuer.load_or_create(key, lists))
    issued = CliRunner().invoke(app, ["issue", "--role", "agent", "--key", str(key)])
    text = issued.stdout.strip()
    await checking.verify(text)
    lists.parent.mkdir()
    environment = {"DESK_SIGNING_KEY": str(key), "DESK_REVOKED": str(lists)}
    result = CliRunner().invoke(app, ["revoke", text], env=environment)
    assert result.exit_code == 0, result.output
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await checking.verify(text)
    assert [each.name for each in key.parent.iterdir()] == [key.name]
    assert CliRunner().invoke(app, ["revoke", text, "--list", str(lists)]).exit_code == 0


async def test_without_a_place_of_its_own_the_list_lies_beside_the_key(tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    checking = TokenVerifier(SystemClock(), local=LocalIssuer.load_or_create(key))
    text = CliRunner().invoke(app, ["issue", "--role", "agent", "--key", str(key)]).stdout.strip()
    assert CliRunner().invoke(app, ["revoke", text, "--key", str(key)]).exit_code == 0
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await checking.verify(text)


def test_the_command_lines_own_token_lives_a_day_at_most(tmp_path: Path) -> None:
    clock = SystemClock()
    text = cli_token(LocalIssuer.load_or_create(key_file(tmp_path)), clock)
    _, until = read_stamp(text)
    assert 0 < until - clock.now().timestamp() <= DAY_SECONDS
