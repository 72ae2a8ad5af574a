"""`desk sla`: scenarios run and policies checked without a server, rules published to one."""

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import msgspec
import typer
import yaml
from msgspec import UNSET
from rich.table import Table

from services.commands.common import Json, err, out
from services.sla.domain.expectations import differences
from services.sla.domain.scenario import ClockPart, Computed, Scenario, Verdict
from services.sla.domain.simulate import run
from shared.errors import InvalidInputError
from shared.http.problem import from_msgspec

app = typer.Typer(help="Promises: try scenarios, check and publish policies.", no_args_is_help=True)
_STANDARD_INPUT: Final = Path("-")
_BAD_FILE: Final = 2
_YAML: Final = (".yaml", ".yml")


@app.callback()
def _sla() -> None:
    """Keep `desk sla` a group of commands."""


@app.command()
def simulate(
    file: Annotated[
        Path, typer.Argument(help="Scenario or list of them, JSON or YAML; - reads standard input.")
    ] = _STANDARD_INPUT,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
) -> None:
    """Run scenarios: the ledger of clocks that must come out of rules and a history.

    Exit code 1 if a scenario states something that does not come out, 2 for a bad file.
    """
    cases, is_list = _read_cases(file)
    verdicts = [_run(case, f"/{place}" if is_list else "") for place, case in enumerate(cases)]
    if as_json:
        typer.echo(msgspec.json.encode(verdicts if is_list else verdicts[0]).decode())
    else:
        for case, verdict in zip(cases, verdicts, strict=True):
            _print(case, verdict.actual)
    failed = 0
    for case, verdict in zip(cases, verdicts, strict=True):
        found = differences(case, verdict.actual)
        failed += bool(found)
        for one in found:
            stated, computed = _told(one.stated), _told(one.computed)
            _say(f"{case.id}: {one.pointer}: stated {stated}, computed {computed}")
    if is_list or failed:
        _say(f"{len(cases) - failed} of {len(cases)} scenarios hold")
    if failed:
        raise typer.Exit(1)


def _run(case: Scenario, base: str) -> Verdict:
    try:
        return run(case)
    except InvalidInputError as error:
        detail = error.detail if error.field else f" {error.detail}"
        _refuse(f"{base}{detail} (scenario {case.id!r})")


def _read_cases(file: Path) -> tuple[Sequence[Scenario], bool]:
    """Return the scenarios of a file, and whether it is a list."""
    try:
        content = sys.stdin.buffer.read() if file == _STANDARD_INPUT else file.read_bytes()
    except OSError as error:
        _refuse(f"{file}: {error.strerror}")
    is_yaml = file.suffix in _YAML
    raw = _read_yaml(content) if is_yaml else content
    is_list = isinstance(raw, list) if is_yaml else content.lstrip()[:1] == b"["
    wanted: Any = list[Scenario] if is_list else Scenario
    try:
        if is_yaml:
            read = msgspec.convert(raw, wanted)
        else:
            read = msgspec.json.decode(content, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        _refuse(from_msgspec(error).detail)
    cases = read if is_list else [read]
    seen: set[str] = set()
    for place, case in enumerate(cases):
        if case.id in seen:
            _refuse(f"/{place}/id: {case.id!r} is there twice")
        seen.add(case.id)
    return cases, is_list


def _read_yaml(content: bytes) -> Any:  # noqa: ANN401 any document
    """Return a YAML document of plain values; timestamps stay text, as JSON has them."""
    try:
        return yaml.load(content, Loader=_PlainLoader)  # noqa: S506 a safe loader without dates
    except yaml.YAMLError as error:
        _refuse(f"no YAML: {error}")


class _PlainLoader(yaml.SafeLoader):
    """Reads what JSON can say: an unquoted date is text."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _print(case: Scenario, actual: Computed) -> None:
    out.print(f"[bold]{case.id}[/bold] {case.name}", highlight=False)
    out.print(_table(actual.clocks))
    for warning in actual.warnings:
        rule = msgspec.json.encode(warning.rule).decode()
        out.print(f"  warn {warning.target} {rule} at {_told(warning.at)}", highlight=False)
    for said in actual.emitted:
        name = f"{said.target} {said.cycle}.{said.generation}"
        out.print(f"  {_told(said.time)} {said.type} {name}", highlight=False)
    for known in actual.known_at:
        out.print(f"  as known at {_told(known.recorded_at)}:", highlight=False)
        out.print(_table(known.clocks))
    for answer in actual.arithmetic:
        out.print(f"  {_told(answer)}", highlight=False)


def _table(clocks: Sequence[ClockPart]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("target", "cycle", "started", "due", "outcome", "ended", "used", "paused", "v"):
        table.add_column(name)
    for clock in clocks:
        table.add_row(
            clock.target,
            f"{clock.cycle}.{clock.generation}",
            _told(clock.started_at),
            _told(clock.due_at),
            _told(clock.outcome),
            _told(clock.stopped_at),
            _duration(clock.elapsed_seconds),
            _duration(clock.paused_seconds),
            _told(clock.policy_version),
        )
    return table


def _duration(seconds: Any) -> str:  # noqa: ANN401 a number or UNSET
    if not isinstance(seconds, int):
        return ""
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _told(value: Any) -> str:  # noqa: ANN401 anything a scenario can state
    if value is None:
        return "nothing"
    if value is UNSET:
        return ""
    if isinstance(value, (str, int)):
        return str(value)
    text = msgspec.json.encode(value).decode()
    return text.strip('"') if isinstance(value, datetime) else text


def _say(sentence: str) -> None:
    err.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _refuse(sentence: str) -> NoReturn:
    """Say what is wrong with a file, and end with exit code 2."""
    _say(f"desk: {sentence}")
    raise typer.Exit(_BAD_FILE)
