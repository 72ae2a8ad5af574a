"""`desk report kpi`: the KPIs, from reporting's read model."""

from typing import Annotated, Any, Final

import typer
from rich.table import Table

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
)

_FLOW: Final = ("month", "created", "resolved", "closed", "cancelled", "merged", "backlog")
app = typer.Typer(help="Reports.", no_args_is_help=True)
_DURATIONS: Final = (
    ("ttr_hours", "time to resolve (MTTR)"),
    ("ttr_working_hours", "time to resolve, working"),
    ("ttc_hours", "time to close"),
    ("art_hours", "first reply (ART)"),
)


_WORDS: Final = (
    "ART: average reply time, until an agent's first public comment. MTTR: mean time to resolve."
    " FCR: first-contact resolution, closed without being reassigned or reopened. SLA made: no"
    " promise to the requester was missed. CSAT: customer satisfaction, 1 to 5."
)


@app.command("kpi", help=f"KPIs and the flow of tickets. {_WORDS}")
def kpi(  # noqa: PLR0913, PLR0917 one parameter per option
    start: Annotated[
        str | None, typer.Option("--from", help="Created at or after: a date, or an instant.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Created before.")] = None,
    by: Annotated[str | None, typer.Option(help="priority, month, group or category")] = None,
    calendar: Annotated[str | None, typer.Option(help="For working hours.")] = None,
    zone: Annotated[str | None, typer.Option(help="IANA zone; else that of the desk.")] = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print the KPIs of tickets created in [from, to); days and months are those of `--zone`."""
    asked = {"from": start, "to": end, "by": by, "calendar": calendar, "zone": zone}
    report = run(fetched(Target(data, url, token), "/reporting/kpi", asked))
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    period = report["period"]
    out.print(f"Tickets created from {period['from'] or 'the first'} to {period['to'] or 'now'}")
    _print_group("all", report["overall"])
    for group in report["groups"]:
        _print_group(group["key"] or "(none)", group)
    flow = Table(*_FLOW, title="flow")
    for month in report["flow"]:
        flow.add_row(*(str(month[name]) for name in _FLOW))
    out.print(flow)
    out.print(_WORDS, highlight=False)


def _print_group(name: str, group: dict[str, Any]) -> None:
    table = Table("", "n", "mean", "median", "p90", "p95", title=f"{name}: {group['tickets']}")
    for field, label in _DURATIONS:
        figures = group[field]
        table.add_row(
            label,
            str(figures["n"]),
            *(_duration(figures[part]) for part in ("mean", "median", "p90", "p95")),
        )
    out.print(table)
    fcr, sla, csat = group["fcr"], group["sla"], group["csat"]
    out.print(
        f"  FCR {_share(fcr['share'])} of {fcr['n']}"
        f" (reopenings ignored {_share(fcr['share_reopen_ignored'])})"
        f"   SLA made {_share(sla['share'])} of {sla['judged']}"
        f"   reopened {group['reopened']}"
        f"   cancelled {group['cancelled']}   merged {group['merged']}"
        f"   reassigned {_number(group['reassignments']['mean'])} times a ticket"
        f"   CSAT {_number(csat['mean'])} of {csat['n']}",
        highlight=False,
    )


def _duration(hours: float | None) -> str:
    if hours is None:
        return "–"
    seconds = round(hours * 3600)
    return f"{seconds // 3600:,}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
