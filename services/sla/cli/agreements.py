"""`desk sla agreement`: publish, sign, list and review agreements."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import quote
from zoneinfo import ZoneInfo

import typer

from services.sla.cli.periods import period_name
from services.sla.domain.agreements.currencies import told
from shared.terminal.common import (
    DEFAULT_DATA,
    Data,
    Json,
    Target,
    Token,
    Url,
    fetched,
    out,
    print_json,
    run,
    sent,
    table,
)
from shared.terminal.documents import read_document, refuse, shaped

app = typer.Typer(help="Agreements: versions, signatures, remedies.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The agreement's id.")]


class Who(StrEnum):
    """A party to an agreement."""

    CUSTOMER = "customer"
    PROVIDER = "provider"


@app.command()
def publish(
    file: Annotated[Path, typer.Argument(help="Agreement with its id, JSON or YAML; - is stdin.")],
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Publish a version of an agreement; the same again changes nothing."""
    from services.sla.schemas import NewAgreement

    document = read_document(file)
    if not isinstance(document, dict):
        refuse("the file must be an agreement")
    found = cast("dict[str, Any]", document)
    name = found.pop("id", None)
    if not isinstance(name, str) or not name:
        refuse("/id: the agreement needs an id")
    body = shaped(found, NewAgreement)
    done = run(sent(Target(data, url, token), "PUT", _path(name), body))
    if as_json:
        print_json(done)
    else:
        what = "published" if done["changed"] else "published before:"
        out.print(f"{what} {name} version {body.version}", highlight=False)


@app.command()
def sign(  # noqa: PLR0913, PLR0917 one parameter per option
    agreement: Id,
    version: Annotated[int, typer.Option(min=1, help="The version signed.")],
    party: Annotated[Who, typer.Option(help="For whom.")],
    signatory: Annotated[str, typer.Option(help="Who signs.")],
    signed_at: Annotated[
        str | None, typer.Option("--at", help="RFC 3339 instant, not to come; else now.")
    ] = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Sign a version for a party; it is in force once both have signed."""
    body = {"version": version, "party": party.value, "signatory": signatory}
    if signed_at is not None:
        body["signed_at"] = signed_at
    path = f"{_path(agreement)}/sign-offs"
    found = run(sent(Target(data, url, token), "POST", path, body))
    if as_json:
        print_json(found)
    else:
        done = "signed" if found["changed"] else "signed before:"
        out.print(f"{done} {agreement} version {version}, {party.value}", highlight=False)


@app.command("list")
def list_(
    agreement: Annotated[
        str | None, typer.Argument(help="An agreement, to list its reviews.")
    ] = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """List agreements with their versions; or the reviews of one, what is due included."""
    path = "/sla/agreements" if agreement is None else f"{_path(agreement)}/remedies"
    found = run(fetched(Target(data, url, token), path, {}))
    if as_json:
        print_json(found)
    elif agreement is None:
        _print_agreements(found["agreements"])
    else:
        _print_remedies(found["remedies"], ZoneInfo(found["zone"]))


@app.command()
def review(
    agreement: Id,
    period: Annotated[str, typer.Argument(help="2026-03, 2026-Q1 or 2026.")],
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Review a period again now; say what late facts changed, if anything."""
    path = f"{_path(agreement)}/reviews"
    found = run(sent(Target(data, url, token), "POST", path, {"period": period}))
    if as_json:
        print_json(found)
        return
    remedy = found["remedy"]
    news = "told" if found["changed"] else "nothing changed"
    out.print(f"{period} revision {remedy['revision']}: {news}", highlight=False)
    for one in found["differs"]:
        out.print(f"  {one['pointer']}: {one['before']} -> {one['after']}", highlight=False)
    for sentence in remedy["computation"]:
        out.print(f"  {sentence}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"{remedy['kind']} due: {told(remedy['total_minor'], remedy['currency'])}")


def _path(agreement: str) -> str:
    return f"/sla/agreements/{quote(agreement, safe='')}"


def _print_agreements(agreements: list[dict[str, Any]]) -> None:
    rows = table("agreement", "version", "customer", "signed by", "in force", "fee", "review")
    for agreement in agreements:
        for version in agreement["versions"]:
            document = version["document"]
            rows.add_row(
                agreement["agreement_id"],
                str(document["version"]),
                document["customer"],
                ", ".join(version["signatures"]) or "nobody",
                "yes" if version["in_force"] else "no",
                f"{told(document['fee_minor'], document['currency'])} a"
                f" {document['review_period']}",
                document["review_date"],
            )
    out.print(rows)


def _print_remedies(remedies: list[dict[str, Any]], zone: ZoneInfo) -> None:
    rows = table("period", "revision", "measure", "share", "band", "due")
    for remedy in remedies:
        period = period_name(remedy["period_start"], remedy["period_end"], zone)
        head = [period, str(remedy["revision"])]
        for line in remedy["lines"]:
            share, band = line["share"], line["band_below"]
            rows.add_row(
                *head,
                line["measure"],
                "–" if share is None else f"{share:.3%}",
                "–" if band is None else f"below {band}",
                told(line["credit_minor"], remedy["currency"]),
            )
        total = told(remedy["total_minor"], remedy["currency"])
        rows.add_row(*head, f"total {remedy['kind']}", "", "", total)
    out.print(rows)
