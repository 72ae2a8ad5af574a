"""`desk sla publish|diff|explain|export`: what a running desk is asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import typer

from services.commands.common import (
    DEFAULT_DATA,
    Data,
    Json,
    Target,
    Token,
    Url,
    err,
    fail,
    fetched,
    print_json,
    run,
    sent,
    shown,
    table,
)
from services.commands.documents import line, read_rules, wide
from services.sla.domain.rules.publishing import RulesWanted

File = Annotated[Path, typer.Argument(help="Calendars and policies, JSON or YAML; - reads stdin.")]
Ticket = Annotated[UUID, typer.Argument(help="The ticket's id.")]
At = Annotated[str | None, typer.Option("--at", help="As known at this instant, and read at it.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Now = Annotated[
    bool, typer.Option("--now", help="As next versions, in force now, whatever the file says.")
]
_NO_CLOCK: Final = "no clock"
_MARKS: Final = {"counts": "+", "will count": "+", "paused": "=", "excluded": "x"}


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("publish", help="Publish what differs from what is in force.")(publish)
    app.command("diff", help="Show what publishing would add, and which clocks it would change.")(
        diff
    )
    app.command("rules", help="Every version of every policy and calendar.")(rules)
    app.command("explain", help="Why a ticket's deadlines are where they are.")(explain)
    app.command("export", help="Write a ticket as a scenario.")(export)


def publish(  # noqa: PLR0913, PLR0917 one parameter per option
    file: File,
    yes: Yes = False,  # noqa: FBT002 a switch of the command line
    now: Now = False,  # noqa: FBT002 a switch of the command line
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show what changes, ask, publish."""
    wanted = _wanted(file, now=now)
    target = Target(data, url, token)
    plan = run(sent(target, "POST", "/sla/rules:check", wanted))
    if not plan["publishes"]:
        err.print("nothing to publish: all of it is in force")
    elif not yes and as_json:
        fail("--json asks nothing: give --yes; `desk sla diff --json` shows what would change")
    elif not yes:
        _print_plan(plan)
        try:
            is_wanted = typer.confirm("Publish?", err=True)
        except typer.Abort:
            is_wanted = False
        if not is_wanted:
            fail("nothing was published; answer y, or give --yes")
    published: list[Any] = []
    if plan["publishes"]:
        published = run(sent(target, "POST", "/sla/rules", wanted))["published"]
    if as_json:
        print_json(published)
    else:
        for rule in published:
            line(f"published {_rule_name(rule)}")


def diff(
    file: File,
    now: Now = False,  # noqa: FBT002 a switch of the command line
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Publish nothing; exit code 1 if there is a difference."""
    plan = run(sent(Target(data, url, token), "POST", "/sla/rules:check", _wanted(file, now=now)))
    if as_json:
        print_json(plan)
    else:
        _print_plan(plan)
    if plan["publishes"]:
        raise typer.Exit(1)


def rules(
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print what is published, the oldest version first."""
    found = run(fetched(Target(data, url, token), "/sla/rules", {}))
    if as_json:
        print_json(found)
        return
    rows = table("", "id", "version", "in force from", "for", "targets or zone", "state")
    for one in found["policies"]:
        targets = ", ".join(dict.fromkeys(target["name"] for target in one["targets"]))
        since, cycles = shown(one["effective_from"]), f"{one['applies_to']} cycles"
        state = one["state"].replace("_", " ")
        rows.add_row("policy", one["policy_id"], str(one["version"]), since, cycles, targets, state)
    for one in found["calendars"]:
        rows.add_row("calendar", one["calendar_id"], str(one["version"]), "", "", one["zone"], "")
    wide.print(rows)
    if found["is_peak"]:
        line("A peak is declared.")


def explain(
    ticket: Ticket,
    at: At = None,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print rule, version, windows and pauses of each clock."""
    found = run(fetched(Target(data, url, token), f"/sla/tickets/{ticket}/explain", {"at": at}))
    if as_json:
        print_json(found)
    else:
        for explanation in found["explanations"]:
            _print_explanation(explanation)
        for clock in found["without_deadline"]:
            line(
                f"{clock['target']} {clock['cycle']}.{clock['generation']} has no deadline:"
                f" {clock['reason']} (policy {clock['policy_id']} v{clock['policy_version']},"
                f" calendar {clock['calendar']})"
            )


def export(
    ticket: Ticket,
    at: At = None,
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print the ticket as a scenario, for `desk sla simulate`."""
    print_json(
        run(fetched(Target(data, url, token), f"/sla/tickets/{ticket}/scenario", {"at": at}))
    )


def _wanted(file: Path, *, now: bool) -> RulesWanted:
    wanted = read_rules(file)
    if not now:
        return wanted
    policies = tuple(
        msgspec.structs.replace(policy, version=None, effective_from=None)
        for policy in wanted.policies
    )
    return msgspec.structs.replace(wanted, policies=policies)


def _rule_name(rule: dict[str, Any]) -> str:
    if "policy_id" in rule:
        return (
            f"policy {rule['policy_id']} v{rule['version']}, in force from"
            f" {rule['effective_from']}, for {rule['applies_to']} cycles"
        )
    return f"calendar {rule['calendar_id']} v{rule['version']}"


def _print_plan(plan: dict[str, Any]) -> None:
    for rule in plan["publishes"]:
        line(f"would publish {_rule_name(rule)}")
        for version in rule["replaces"]:
            line(f"  in place of version {version}, which was to come")
        for difference in rule_lines(rule.get("differs", ())):
            line(difference)
    changes = plan["running_clocks"]
    if plan["publishes"]:
        line(f"{changes['tickets']} open tickets, {changes['changed']} clocks would change")
    for warning in plan["warnings"]:
        line(f"warning {warning['pointer']}: {warning['message']}")
    for change in changes["clocks"]:
        due_before, due_after = (change[name] or _NO_CLOCK for name in ("due_before", "due_after"))
        clock = f"{_ticket_name(change)} {change['target']}"
        line(f"  {clock}: due {due_before} -> {due_after}")


def _ticket_name(change: dict[str, Any]) -> str:
    about = ", ".join(change[name] for name in ("priority", "group", "title") if change[name])
    return f"{change['number'] or ''} {change['ticket_id']} ({about})".lstrip()


def rule_lines(differs: Sequence[dict[str, Any]]) -> list[str]:
    """Return one line for each key that a new version changes."""
    return [
        f"  {one['pointer']}: {json.dumps(one['before'], ensure_ascii=False)}"
        f" -> {json.dumps(one['after'], ensure_ascii=False)}"
        for one in differs
    ]


def _print_explanation(explanation: dict[str, Any]) -> None:
    clock = explanation["clock"]
    line(
        f"{clock['target']} {clock['cycle']}.{clock['generation']}:"
        f" {clock['outcome']}, due {clock['due_at']}"
    )
    because = ", ".join(f"{name} = {value}" for name, value in explanation["because"].items())
    line(
        f"  policy {clock['policy_id']} v{clock['policy_version']} (in force from"
        f" {explanation['policy_effective_from']}), because {because or 'it is for all tickets'}"
    )
    goal = json.dumps(explanation["rule"]["goal"])
    line(f"  goal {goal} in calendar {clock['calendar']}")
    rows = table("", "from", "to", "working time", "counted", "why")
    for step in explanation["steps"]:
        rows.add_row(
            f"  {_MARKS.get(step['what'], '>')} {step['what']}",
            shown(step["from"]),
            shown(step["to"]),
            _duration(step.get("seconds", 0)),
            _duration(step.get("counted_seconds")),
            step.get("why") or "",
        )
    wide.print(rows)


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return ""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"
