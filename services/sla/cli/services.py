"""`desk sla availability`: how available services were in their agreed time."""

from enum import StrEnum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from services.sla.cli.periods import period_name
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
    table,
)

_HOUR_SECONDS = 3600


class By(StrEnum):
    """How to cut the time."""

    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


Zone = Annotated[str, typer.Option(help="IANA zone of dates and periods.")]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("availability", help="How available services were: share, failures, MTBF, MTTRS.")(
        availability
    )


def availability(  # noqa: PLR0913, PLR0917 one parameter per option
    service: Annotated[str | None, typer.Option(help="This service only.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Date or instant; else a year before --to.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Date or instant; else now.")] = None,
    by: Annotated[By | None, typer.Option(help="Cut the time in such periods.")] = None,
    zone: Zone = "UTC",
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print one line per service and period."""
    asked = {"service": service, "from": start, "to": end, "by": by, "zone": zone}
    found = run(fetched(Target(data, url, token), "/sla/availability", asked))
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    rows = table("service", "period", "agreed h", "down h", "available", "promised")
    for name in ("kept", "failures", "MTBF h", "MTTRS h"):
        rows.add_column(name)
    zone = ZoneInfo(found["zone"])
    for service in found["services"]:
        for period in service["periods"]:
            rows.add_row(service["service"], *_row(period, zone))
    out.print(rows)
    if not found["services"]:
        out.print("nothing was told of any service")


def _row(period: dict[str, Any], zone: ZoneInfo) -> list[str]:
    kept = {None: "–", True: "yes", False: "no"}[period["is_met"]]
    return [
        period_name(period["from"], period["to"], zone),
        _hours(period["agreed_seconds"]),
        _hours(period["down_seconds"]),
        _share(period["share"]),
        _share(period["share_min"]),
        kept,
        str(period["failures"]),
        _hours(period["mtbf_seconds"]),
        _hours(period["mttrs_seconds"]),
    ]


def _hours(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / _HOUR_SECONDS:,.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.4%}"
