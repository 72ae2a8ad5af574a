"""`desk sla simulate`: scenarios run without a server."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer
from msgspec import UNSET
from rich.table import Table

from services.sla.domain.files.scenario import ClockPart, Computed, Scenario, ScenarioResult
from services.sla.domain.scenarios.expectations import mismatches
from services.sla.domain.scenarios.simulate import run
from shared.errors import InvalidInputError
from shared.terminal.common import Json
from shared.terminal.documents import (
    STANDARD_INPUT,
    line,
    read_document,
    refuse,
    say,
    shaped,
    wide,
)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("simulate")(simulate)


def simulate(
    file: Annotated[
        Path, typer.Argument(help="Scenario or list of them, JSON or YAML; - reads standard input.")
    ] = STANDARD_INPUT,
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
        found = mismatches(case, verdict.actual)
        failed += bool(found)
        for one in found:
            stated, computed = _told(one.stated), _told(one.computed)
            say(f"{case.id}: {one.pointer}: stated {stated}, computed {computed}")
    if is_list or failed:
        say(f"{len(cases) - failed} of {len(cases)} scenarios hold")
    if failed:
        raise typer.Exit(1)


def _run(case: Scenario, base: str) -> ScenarioResult:
    try:
        return run(case)
    except InvalidInputError as error:
        place = "" if error.field or not base else ": "
        refuse(f"{base}{place}{error.detail} (scenario {case.id!r})")


def _read_cases(file: Path) -> tuple[list[Scenario], bool]:
    """Return the scenarios of a file, and whether it is a list."""
    document = read_document(file)
    if not isinstance(document, list):
        return [shaped(document, Scenario)], False
    cases = [
        shaped(one, Scenario, base=f"/{place}")
        for place, one in enumerate(cast("list[Any]", document))
    ]
    seen: set[str] = set()
    for place, case in enumerate(cases):
        if case.id in seen:
            refuse(f"/{place}/id: {case.id!r} is there twice")
        seen.add(case.id)
    return cases, True


def _print(case: Scenario, actual: Computed) -> None:
    line(f"{case.id} {case.name}".rstrip())
    wide.print(_table(actual.clocks))
    for warning in actual.warnings:
        rule = msgspec.json.encode(warning.rule).decode()
        line(f"  warn {warning.target} {rule} at {_told(warning.at)}")
    for said in actual.emitted:
        name = f"{said.target} {said.cycle}.{said.generation}"
        line(f"  {_told(said.time)} {said.type} {name}")
    for known in actual.known_at:
        line(f"  as known at {_told(known.recorded_at)}:")
        wide.print(_table(known.clocks))
    for answer in actual.arithmetic:
        line(f"  {_told(answer)}")


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
