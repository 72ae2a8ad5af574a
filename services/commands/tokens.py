"""`desk token issue|revoke`: tokens of the local issuer."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from services.commands.options import SERVICES
from shared.errors import DeskError
from shared.terminal.common import DEFAULT_DATA, Data, fail

app = typer.Typer(help="Tokens of the local issuer.", no_args_is_help=True)
_Key = Annotated[
    Path | None,
    typer.Option(
        "--key", envvar="DESK_SIGNING_KEY", help="The key's file; that of --data, if not named."
    ),
]
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


@app.command("issue", help="Print a bearer token, signed with the desk's local key.")
def issue(
    role: Annotated[list[str], typer.Option(help="May be given several times.")],
    subject: Annotated[str, typer.Option(help="Whose token it is.")] = "cli",
    expires: Annotated[str, typer.Option(help="Such as 30m, 8h or 90d.")] = "8h",
    service: Annotated[list[str] | None, typer.Option(help="All, if none is named.")] = None,
    key: _Key = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Issue a token; the desk need not run, but its key must exist."""
    from shared.clock import SystemClock
    from shared.contracts.visible import is_blank
    from shared.http.auth import ALL_SERVICES, LocalIssuer, Role

    known = {str(each) for each in Role}
    if unknown := sorted(set(role) - known):
        fail(f"no role is called {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if strange := sorted(set(service or ()) - {*SERVICES, ALL_SERVICES}):
        fail(f"no service is called {strange[0]!r}; there are {', '.join(SERVICES)}")
    if is_blank(subject):
        fail("--subject must not be blank: nothing in it can be seen")
    try:
        token = LocalIssuer.load_or_create(_key_file(key, data)).issue(
            subject,
            [Role(each) for each in role],
            services=service or [ALL_SERVICES],
            expires_in=_duration(expires),
            now=SystemClock().now(),
        )
    except DeskError as error:
        fail(error.detail)
    typer.echo(token)


@app.command(
    "revoke", help="Believe a token of the desk's key no more, or all of a subject so far."
)
def revoke(
    token: Annotated[str | None, typer.Argument(help="The token itself.")] = None,
    subject: Annotated[str | None, typer.Option(help="Whose tokens.")] = None,
    revoked: Annotated[
        Path | None,
        typer.Option(
            "--list", envvar="DESK_REVOKED", help="The list's file; beside the key, if not named."
        ),
    ] = None,
    key: _Key = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Note in a list what is revoked; a running desk that reads this file goes by it at once.

    The desk shows a subject of its own as `local:NAME` beside an OIDC issuer: both names mean it.
    """
    from shared.clock import SystemClock
    from shared.http.auth import LOCAL_PREFIX, read_stamp
    from shared.http.revoked import FILE, Revocations

    if (token is None) == (subject is None):
        fail("name either a token or --subject")
    now = SystemClock().now().timestamp()
    listed = Revocations(revoked or _key_file(key, data).with_name(FILE))
    try:
        if token is not None:
            listed.revoke(*read_stamp(token), now)
        elif subject is not None:
            for name in {subject, subject.removeprefix(f"{LOCAL_PREFIX}:")}:
                listed.revoke_all(name, now)
    except DeskError as error:
        fail(error.detail)
    except OSError as error:
        fail(f"the list cannot be written: {error}")
    typer.echo("revoked")


def _key_file(key: Path | None, data: Path) -> Path:
    from shared.terminal.folder import key_file

    path = key or key_file(data)
    if not path.exists():
        fail(f"{path.parent} holds no key of a desk; `desk run` makes one")
    return path


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,4})([mhd])", text)
    if match is None:
        fail(f"--expires must look like 30m, 8h or 90d, not {text!r}")
    return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})
