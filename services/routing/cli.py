"""`desk agents`: the roster, which says who can be given tickets."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from shared.terminal.common import (
    DEFAULT_DATA,
    Data,
    Json,
    Target,
    Token,
    Url,
    fetched,
    print_json,
    run,
    sent,
    table,
)
from shared.terminal.documents import line, wide

app = typer.Typer(help="The roster: who can be given tickets.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(help="The agent's id, which is the subject of their token.")]
_LINE_MAX = 3


@app.command("list", help="Every agent: group, skills, how many tickets they have.")
def list_agents(
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Print one line per agent."""
    found = run(fetched(Target(data, url, token), "/routing/agents", {}))
    if as_json:
        print_json(found)
        return
    rows = table("agent", "name", "group", "line", "skills", "tickets", "takes new ones")
    for one in found["agents"]:
        load = f"{one['workload']} of {one['workload_max']}"
        answer = "yes" if one["available"] else "no"
        skills = ", ".join(one["skills"])
        rows.add_row(
            one["agent_id"], one["name"], one["group"], str(one["line"]), skills, load, answer
        )
    wide.print(rows if rows.row_count else "no agents; `desk agents register` takes one on")


@app.command("register", help="Take an agent onto the roster, or replace what it says of them.")
def register(  # noqa: PLR0913, PLR0917 one parameter per option
    agent: Id,
    group: Annotated[str, typer.Option(help="Such as service-desk or network-support.")],
    name: Annotated[str | None, typer.Option(help="What people call them; else the id.")] = None,
    skill: Annotated[
        list[str] | None,
        typer.Option(help="A category they can work on, such as network; may be repeated."),
    ] = None,
    support_line: Annotated[
        int, typer.Option("--line", min=1, max=_LINE_MAX, help="Their line of support.")
    ] = 1,
    most: Annotated[
        int, typer.Option("--max", min=0, max=1000, help="How many open tickets at once.")
    ] = 20,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
    data: Data = DEFAULT_DATA,
    url: Url = None,
    token: Token = None,
) -> None:
    """Register one agent; the same again changes nothing."""
    skills = skill or []
    body = {
        "name": name or agent,
        "group": group,
        "line": support_line,
        "skills": skills,
        "workload_max": most,
    }
    done = run(sent(Target(data, url, token), "PUT", _path(agent), body))
    if as_json:
        print_json(done)
    else:
        line(
            f"{agent} is on the roster: group {group}, line {support_line},"
            f" {'skills ' + ', '.join(skills) if skills else 'no skills'}, {most} tickets at most"
        )


@app.command("away", help="They get no new tickets, and keep what they have.")
def away(agent: Id, data: Data = DEFAULT_DATA, url: Url = None, token: Token = None) -> None:
    """Say that an agent takes no new tickets."""
    _say(Target(data, url, token), agent, available=False)
    line(f"{agent} takes no new tickets")


@app.command("back", help="They get new tickets again.")
def back(agent: Id, data: Data = DEFAULT_DATA, url: Url = None, token: Token = None) -> None:
    """Say that an agent takes new tickets."""
    _say(Target(data, url, token), agent, available=True)
    line(f"{agent} takes new tickets")


def _say(target: Target, agent: str, *, available: bool) -> Any:  # noqa: ANN401 JSON
    path = f"{_path(agent)}/availability"
    return run(sent(target, "POST", path, {"available": available}))


def _path(agent: str) -> str:
    return f"/routing/agents/{quote(agent, safe='')}"
