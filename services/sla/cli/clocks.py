"""`desk sla attainment|at-risk|whatif|calibrate`: what became of promises, and what would have."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from services.sla.cli.rule_files import read_rules
from services.sla.domain.outlook.survival import Calibration
from services.sla.domain.outlook.whatif import Comparison
from services.sla.domain.rules.publishing import RulesWanted
from shared.terminal.common import (
    DEFAULT_DATA,
    Data,
    Json,
    Target,
    Token,
    Url,
    fail,
    fetched,
    out,
    print_json,
    run,
    shown,
    table,
)
from shared.terminal.documents import wide

T = TypeVar("T")
_DASH: Final = "-"
_FROM: Final = "--from"
_TO: Final = "--to"

From = Annotated[str | None, typer.Option(_FROM, help="At or after this date or instant.")]
To = Annotated[str | None, typer.Option(_TO, help="Before this date or instant.")]
By = Annotated[
    list[str] | None,
    typer.Option(
        help="policy, group, month, priority, customer, site, service or category; may be repeated."
    ),
]
Zone = Annotated[str, typer.Option(help="IANA time zone that dates and months are of.")]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", help="Calendars and policies to judge by; else those in force."),
]
Kafka = Annotated[
    str | None, typer.Option("--kafka", envvar="DESK_KAFKA", help="The desk's broker, if any.")
]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("attainment", help="Promises kept, by policy, group, month and more.")(attainment)
    app.command("at-risk", help="Running clocks by remaining time, with their chances.")(at_risk)
    app.command("whatif", help="Judge the past again under other rules.")(whatif)
    app.command("calibrate", help="How good the probabilities of a breach would have been.")(
        calibrate
    )


def attainment(  # noqa: PLR0913, PLR0917 one parameter per option
    by: By = None,
    start: From = None,
    end: To = None,
    zone: Zone = "UTC",
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print the verdicts of a period."""
    query = {"by": by or [], "zone": zone, "from": _text(start, _FROM), "to": _text(end, _TO)}
    found = run(fetched(Target(data, url, token), "/sla/attainment", query))
    if as_json:
        print_json(found)
        return
    rows = table(*(by or []), "target", "judged by", "judged", "met", "missed", "share")
    for one in found["attainment"]:
        rows.add_row(
            *(one["key"][name] or _DASH for name in by or []),
            one["target"],
            one["source_system"] or "this desk",
            *(str(one[name]) for name in ("judged", "met", "missed")),
            f"{one['share']:.1%}",
        )
    wide.print(rows)


def at_risk(  # noqa: PLR0913, PLR0917 one parameter per option
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many clocks.")] = 50,
    group: Annotated[str | None, typer.Option(help="Only this group's.")] = None,
    priority: Annotated[str | None, typer.Option(help="Only P1, P2, P3 or P4.")] = None,
    overdue: Annotated[  # noqa: FBT002 a switch of the command line
        bool, typer.Option("--overdue", help="Those overdue instead.")
    ] = False,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print the clocks that are due next."""
    query = {"limit": limit, "group": group, "priority": priority, "overdue": overdue}
    found = run(fetched(Target(data, url, token), "/sla/at-risk", query))
    if as_json:
        print_json(found)
        return
    rows = table("ticket", "id", "target", "priority", "group", "due", "remaining")
    for name in ("chance of breach", "title"):
        rows.add_column(name)
    for one in found["clocks"]:
        chance = one["breach_probability"]
        rows.add_row(
            one["number"] or _DASH,
            one["ticket_id"],
            one["target"],
            one["priority"] or _DASH,
            one["group"] or _DASH,
            shown(one["due_at"]),
            _hours(one["remaining_seconds"]),
            "too little history" if chance is None else f"{chance:.0%}",
            one["title"] or _DASH,
        )
    wide.print(rows)


def whatif(
    policy: Policy = None,
    start: From = None,
    end: To = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    kafka: Kafka = None,
) -> None:
    """Compare the verdicts of tickets created in a period with those under other rules."""
    from services.sla.cli.whatif import WhatIfQuestion, compare

    question = WhatIfQuestion(_rules(policy), _instant(start, _FROM), _instant(end, _TO), _now())

    async def work(dsn: str) -> Comparison:
        return await asyncio.to_thread(compare, dsn, question)

    comparison = _on_database(data, kafka, work)
    if as_json:
        print_json(comparison)
    else:
        _print_comparison(comparison)


def calibrate(
    policy: Policy = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    kafka: Kafka = None,
) -> None:
    """Learn from the older tickets, predict the younger ones, and compare with what happened."""
    from services.sla.cli.calibrate import calibrate as measure

    rules = _rules(policy)

    async def work(dsn: str) -> Calibration:
        return await measure(dsn, rules, _now())

    found = _on_database(data, kafka, work)
    if as_json:
        print_json(found)
    else:
        _print_calibration(found)


def _on_database(data: Path, kafka: str | None, work: Callable[[str], Coroutine[Any, Any, T]]) -> T:
    """Do the work on sla's database: that of the folder, or the one the environment names."""
    from services.settings import database_url
    from shared.terminal.folder import attached

    if not data.exists():
        if kafka is None:
            fail(f"there is no desk in {data}")
        return run(work(database_url("sla")))

    async def with_server() -> T:
        async with attached(data) as postgres:
            return await work(postgres.dsn("sla"))

    return run(with_server())


def _rules(policy: Path | None) -> RulesWanted:
    return RulesWanted() if policy is None else read_rules(policy)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 the reader's now


def _instant(text: str | None, option: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no date or instant", param_hint=option) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _text(text: str | None, option: str) -> str | None:
    """Return a date as it is, for the desk to read in the zone; an instant with an offset."""
    found = _instant(text, option)
    return text if found is None or text == found.date().isoformat() else found.isoformat()


def _hours(seconds: int) -> str:
    sign = _DASH if seconds < 0 else ""
    hours, rest = divmod(abs(seconds), 3600)
    return f"{sign}{hours}:{rest // 60:02}:{rest % 60:02}"


def _print_comparison(comparison: Comparison) -> None:
    out.print(f"{comparison.tickets} tickets, {comparison.changed_tickets} with another verdict")
    rows = table("target", "group", "before", "after", "tickets")
    for difference in comparison.differences:
        for before, row in difference.verdicts.items():
            for after, many in row.items():
                group = difference.group or "-"
                rows.add_row(difference.target, group, before, after, str(many))
    wide.print(rows)
    if comparison.credits:
        rows = table("agreement", "period from", "before", "after", "currency, minor units")
        for one in comparison.credits:
            amounts = (str(one.before_minor), str(one.after_minor))
            rows.add_row(one.agreement_id, one.period_start[:10], *amounts, one.currency)
        wide.print(rows)


def _print_calibration(found: Calibration) -> None:
    out.print(
        f"learnt from {found.learnt_from} clocks, tested on {found.tested_on} tickets:"
        f" {found.predictions} predictions",
        highlight=False,
    )
    if found.brier is None or found.brier_base_rate is None:
        return
    out.print(
        f"Brier score {found.brier:.4f}; always saying the average: {found.brier_base_rate:.4f}",
        highlight=False,
    )
    rows = table("predicted", "n", "mean predicted", "breached")
    for one in found.bins:
        rows.add_row(
            f"{one.predicted_from:.0%}-{one.predicted_to:.0%}",
            str(one.n),
            _share(one.predicted_mean),
            _share(one.breached_share),
        )
    wide.print(rows)


def _share(value: float | None) -> str:
    return _DASH if value is None else f"{value:.1%}"
