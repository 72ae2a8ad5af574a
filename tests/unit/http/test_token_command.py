"""`desk token issue|revoke` on a data folder, as whoever checks tokens sees it."""

from pathlib import Path

import pytest
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


def test_the_command_lines_own_token_lives_a_day_at_most(tmp_path: Path) -> None:
    clock = SystemClock()
    text = cli_token(LocalIssuer.load_or_create(key_file(tmp_path)), clock)
    _, until = read_stamp(text)
    assert 0 < until - clock.now().timestamp() <= DAY_SECONDS
