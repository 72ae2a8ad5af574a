"""`desk sla publish|diff|explain|export`: what a running desk is asked."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import quote

import msgspec
import typer

from services.sla.cli.rule_files import read_rules
from services.sla.domain.rules.publishing import PolicyWanted, RulesWanted
from shared.terminal.common import (
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
from shared.terminal.documents import line, say, wide

File = Annotated[Path, typer.Argument(help="Calendars and policies, JSON or YAML; - reads stdin.")]
FileOrNone = Annotated[
    Path | None, typer.Argument(help="Calendars and policies, JSON or YAML; - reads stdin.")
]
Undo = Annotated[
    bool, typer.Option("--undo", help="Publish what the version before said, as the next version.")
]
Policy = Annotated[
    str | None, typer.Option("--policy", help="With --undo: which, if the desk has several.")
]
Ticket = Annotated[str, typer.Argument(help="The ticket's number, or its id.")]
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
    file: FileOrNone = None,
    undo: Undo = False,  # noqa: FBT002 a switch of the command line
    policy: Policy = None,
    yes: Yes = False,  # noqa: FBT002 a switch of the command line
    now: Now = False,  # noqa: FBT002 a switch of the command line
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Show what changes and which promises end, ask, publish.

    Versions are kept: --undo says again, as the next version, what the one before said.
    """
    target = Target(data, url, token)
    wanted = _asked_for(target, file, policy, undo=undo, now=now)
    plan = run(sent(target, "POST", "/sla/rules:check", wanted))
    published: list[Any] = []
    if plan["publishes"]:
        _require_consent(plan, yes=yes, as_json=as_json)
        published = run(sent(target, "POST", "/sla/rules", wanted))["published"]
    else:
        err.print("nothing to publish: all of it is in force")
    if as_json:
        print_json(published)
    else:
        _print_published(published)


def _asked_for(
    target: Target, file: Path | None, policy: str | None, *, undo: bool, now: bool
) -> RulesWanted:
    if undo:
        if file is not None or now:
            fail("--undo needs neither file nor --now: it takes what was published before")
        return _undoing(run(fetched(target, "/sla/rules", {})), policy)
    if file is None or policy is not None:
        fail("name a file to publish; or give --undo, and with it --policy")
    return _wanted(file, now=now)


def _require_consent(plan: dict[str, Any], *, yes: bool, as_json: bool) -> None:
    """Go on if it is wanted; whoever said so beforehand is told which promises end."""
    if yes:
        for sentence in _endings(plan):
            say(sentence)
        return
    if as_json:
        fail("--json asks nothing: give --yes; `desk sla diff --json` shows what would change")
    _print_plan(plan)
    try:
        is_wanted = typer.confirm("Publish?", err=True)
    except typer.Abort:
        is_wanted = False
    if not is_wanted:
        fail("nothing was published; answer y, or give --yes")


def _print_published(published: Sequence[dict[str, Any]]) -> None:
    for rule in published:
        line(f"published {_rule_name(rule)}")
    for rule in published:
        if "policy_id" in rule and rule["version"] > 1:
            say(f"to take it back: desk sla publish --undo --policy {rule['policy_id']}")


def _undoing(published: dict[str, Any], name: str | None) -> RulesWanted:
    """Return the rules as they stood before the newest version of a policy."""
    histories: dict[str, list[dict[str, Any]]] = {}
    for version in published["policies"]:
        histories.setdefault(version["policy_id"], []).append(version)
    if name is None and len(histories) == 1:
        (name,) = histories
    if name not in histories:
        why = "several policies are published" if name is None else f"no policy is called {name!r}"
        fail(f"{why}; give --policy with one of {', '.join(sorted(histories))}")
    *before, newest = histories[name]
    stood = [one for one in before if one["state"] in ("past", "in_force")]
    if not stood:
        fail(f"version {newest['version']} of {name!r} is its first; there is none to go back to")
    say(f"{name} goes back from version {newest['version']} to what {stood[-1]['version']} said")
    applies_to = newest["applies_to"] if newest["state"] == "in_force" else "new"
    wanted = {"id": name, "targets": stood[-1]["targets"], "applies_to": applies_to}
    return RulesWanted(policies=(msgspec.convert(wanted, PolicyWanted),))


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
    found = run(fetched(Target(data, url, token), f"{_path(ticket)}/explain", {"at": at}))
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
    print_json(run(fetched(Target(data, url, token), f"{_path(ticket)}/scenario", {"at": at})))


def _path(ticket: str) -> str:
    return f"/sla/tickets/{quote(ticket, safe='')}"


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
    for sentence in _endings(plan):
        line(sentence)
    for warning in plan["warnings"]:
        line(f"warning {warning['pointer']}: {warning['message']}")
    for change in changes["clocks"]:
        due_before, due_after = (change[name] or _NO_CLOCK for name in ("due_before", "due_after"))
        clock = f"{_ticket_name(change)} {change['target']}"
        line(f"  {clock}: due {due_before} -> {due_after}")


def _endings(plan: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each promise that new tickets would have no more."""
    for one in plan["ends"]:
        kinds = [f"{name} = {', '.join(map(_value, few))}" for name, few in one["when"].items()]
        where = f" where {' and '.join(kinds)}" if kinds else ""
        yield (
            f"warning: policy {one['policy_id']} promises {one['target']!r} no more{where}:"
            " new tickets have no such clock"
        )


def _value(value: object) -> str:
    return "anything else" if value is None else str(value)


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
