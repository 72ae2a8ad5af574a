"""`desk token issue|revoke`: tokens of the local issuer."""

import re
from datetime import timedelta
from typing import Annotated, Final

import typer

from services.commands.options import SERVICES
from shared.errors import DeskError
from shared.terminal.common import DEFAULT_DATA, Data, fail

app = typer.Typer(help="Tokens of the local issuer.", no_args_is_help=True)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


@app.command("issue", help="Print a bearer token, signed with the desk's local key.")
def issue(
    role: Annotated[list[str], typer.Option(help="May be given several times.")],
    subject: Annotated[str, typer.Option(help="Whose token it is.")] = "cli",
    expires: Annotated[str, typer.Option(help="Such as 30m, 8h or 90d.")] = "8h",
    service: Annotated[list[str] | None, typer.Option(help="All, if none is named.")] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Issue a token; the desk need not run, but its key must exist."""
    from shared.clock import SystemClock
    from shared.contracts.visible import is_blank
    from shared.http.auth import ALL_SERVICES, LocalIssuer, Role
    from shared.terminal.folder import key_file

    known = {str(each) for each in Role}
    if unknown := sorted(set(role) - known):
        fail(f"no role is called {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if strange := sorted(set(service or ()) - {*SERVICES, ALL_SERVICES}):
        fail(f"no service is called {strange[0]!r}; there are {', '.join(SERVICES)}")
    if is_blank(subject):
        fail("--subject must not be blank: nothing in it can be seen")
    if not key_file(data).exists():
        fail(f"{data} holds no desk yet; `desk run` makes one")
    try:
        token = LocalIssuer.load_or_create(key_file(data)).issue(
            subject,
            [Role(each) for each in role],
            services=service or [ALL_SERVICES],
            expires_in=_duration(expires),
            now=SystemClock().now(),
        )
    except DeskError as error:
        fail(error.detail)
    typer.echo(token)


@app.command("revoke", help="Believe a token no more, or none of a subject issued so far.")
def revoke(
    token: Annotated[str | None, typer.Argument(help="The token itself.")] = None,
    subject: Annotated[str | None, typer.Option(help="Whose tokens.")] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Note in `revoked.json` beside the key what is revoked; a running desk goes by it at once."""
    from shared.clock import SystemClock
    from shared.http.auth import read_stamp
    from shared.http.revoked import FILE, Revocations
    from shared.terminal.folder import key_file

    if (token is None) == (subject is None):
        fail("name either a token or --subject")
    if not key_file(data).exists():
        fail(f"{data} holds no desk yet; `desk run` makes one")
    now = SystemClock().now().timestamp()
    revoked = Revocations(key_file(data).with_name(FILE))
    try:
        if token is not None:
            stamp, until = read_stamp(token)
            revoked.revoke(stamp, until, now)
        elif subject is not None:
            revoked.revoke_all(subject, now)
    except DeskError as error:
        fail(error.detail)
    typer.echo("revoked")


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,4})([mhd])", text)
    if match is None:
        fail(f"--expires must look like 30m, 8h or 90d, not {text!r}")
    return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})
