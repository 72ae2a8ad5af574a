"""`desk sla lint` and `desk sla calendar`: rules checked, calendars written; no server."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, ParamSpec, TypeVar, cast

import msgspec
import typer

from services.sla.cli.rule_files import with_calendar
from services.sla.domain.calendars.countries import country_days
from services.sla.domain.calendars.draft import CalendarDraft, as_yaml, draw, read_hours, read_years
from services.sla.domain.calendars.ics import disruptions
from services.sla.domain.files.scenario import CalendarPart, Part, PolicyPart, Scenario
from services.sla.domain.lint.linter import Finding, lint
from services.sla.domain.rules.publishing import PolicyWanted, parts_of
from shared.errors import InvalidInputError
from shared.terminal.common import Json, print_json
from shared.terminal.documents import STANDARD_INPUT, read_bytes, read_document, refuse, say, shaped
from shared.working_hours import WEEKDAYS, read_zone

P = ParamSpec("P")
T = TypeVar("T")
_FOUND: Final = 1
_SINCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
_USUAL_HOURS: Final = "mon-fri 09:00-18:00"


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command("lint")(lint_file)
    app.command("calendar")(calendar)


class _Rules(Part, frozen=True, kw_only=True):
    """The part of a scenario that says the rules; the rest of it may be there."""

    id: str = ""
    name: str = ""
    source: str = ""
    note: str = ""
    calendars: tuple[CalendarPart, ...] = ()
    policies: tuple[PolicyWanted, ...] = ()


def lint_file(
    file: Annotated[
        Path,
        typer.Argument(help="Calendars and policies, JSON or YAML; - reads standard input."),
    ] = STANDARD_INPUT,
    strict: Annotated[  # noqa: FBT002 a switch of the command line
        bool, typer.Option("--strict", help="Exit with 1 for warnings too.")
    ] = False,
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
) -> None:
    """Check calendars and policies: contradictions, gaps, rules that never match.

    A scenario, or a list of them, has both. Exit code 1 if there is an error, 2 for a bad file.
    """
    found = list(_findings(read_document(file)))
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
    else:
        _print(found)
    if any(strict or finding.severity == "error" for finding in found):
        raise typer.Exit(_FOUND)


def _findings(document: Any) -> Iterator[Finding]:  # noqa: ANN401 any document
    is_list = isinstance(document, list)
    documents = cast("list[Any]", document) if is_list else [document]
    for place, one in enumerate(documents):
        base = f"/{place}" if is_list else ""
        calendars, policies, is_whole = _rules(one, base)
        for finding in lint(calendars, policies, is_whole=is_whole):
            yield msgspec.structs.replace(finding, pointer=base + finding.pointer)


class _Read(NamedTuple):
    """What a file says; a scenario has all that its policies name, rules are for some desk."""

    calendars: Sequence[CalendarPart]
    policies: Sequence[PolicyPart]
    is_whole: bool


def _rules(
    document: Any,  # noqa: ANN401 any document
    base: str,
) -> _Read:
    if not isinstance(document, dict):
        refuse(f"{base or 'The file'}: no object with calendars and policies.")
    rules = with_calendar(cast("dict[str, Any]", document))
    if "events" in rules:
        scenario = shaped(rules, Scenario, base=base)
        return _Read(scenario.calendars, scenario.policies, is_whole=True)
    found = shaped(rules, _Rules, base=base)
    if not found.calendars and not found.policies:
        refuse(f"{base}/policies: there are none, and no calendars.")
    return _Read(found.calendars, list(parts_of(found.policies, _SINCE)), is_whole=False)


def _print(found: list[Finding]) -> None:
    for finding in found:
        typer.echo(f"{finding.severity:7} {finding.pointer}: {finding.message} ({finding.code})")
    errors = sum(finding.severity == "error" for finding in found)
    warnings = len(found) - errors
    typer.echo(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}")


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def calendar(  # noqa: PLR0913, PLR0917 one parameter per option
    zone: Annotated[str, typer.Option(help="IANA time zone, such as Asia/Shanghai.")],
    hours: Annotated[
        list[str] | None,
        typer.Option(
            help="Days and windows, such as 'mon-fri 09:00-12:00 13:00-18:00'; may be repeated."
            f" Without it: {_USUAL_HOURS}."
        ),
    ] = None,
    country: Annotated[
        str | None, typer.Option(help="Close its public holidays; code in ISO 3166-1, such as CN.")
    ] = None,
    subdivision: Annotated[
        str | None, typer.Option(help="State or province of the country, such as BY.")
    ] = None,
    years: Annotated[
        str | None, typer.Option(help="Years to write out, such as 2025 or 2025-2027.")
    ] = None,
    ics: Annotated[
        list[Path] | None,
        typer.Option(
            help="iCalendar file: all-day events close their dates, others part of them, and those"
            " that mark work open them; - reads standard input; may be repeated."
        ),
    ] = None,
    calendar_id: Annotated[
        str, typer.Option("--id", help="Name by which targets use it.")
    ] = "office",
    name: Annotated[str, typer.Option(help="What to call it in the file's first line.")] = "",
    as_json: Json = False,  # noqa: FBT002 a switch of the command line
) -> None:
    """Write a calendar from weekly hours, a country's holidays and iCalendar files.

    Make-up working days come out as special days with the hours of the weekday they replace. What
    an iCalendar file closes is closed, whatever the country says, and what it marks as work (上班,
    working day) is worked. Exit code 2 for a bad option or file.
    """
    draft = CalendarDraft(
        id=calendar_id,
        zone=zone,
        weekly=_checked("--hours", read_hours, hours or [_USUAL_HOURS]),
    )
    _checked("--zone", read_zone, zone)
    span = _span(years, country, subdivision, ics)
    if country is not None and span is not None:
        draft = _with_holidays(draft, country, subdivision, span)
    for file in ics or ():
        draft = _with_file(draft, file, span)
    drawn = _checked("--id", draw, draft)
    if not as_json:
        typer.echo(as_yaml(drawn, name), nl=False)
        return
    print_json(drawn.calendar)
    if name:
        say("desk: JSON has no comments, so that --name is left out")


def _span(
    years: str | None, country: str | None, subdivision: str | None, ics: list[Path] | None
) -> range | None:
    """Return the years to write out; refuse options that miss their partner."""
    if country is None and subdivision is not None:
        refuse("--subdivision: name its --country too")
    if years is None:
        if country is not None:
            refuse("--years: say which years of --country to write, such as 2025-2027")
        return None
    if country is None and not ics:
        refuse("--years: belongs to --country or --ics; name one of them")
    return _checked("--years", read_years, years)


def _with_holidays(
    draft: CalendarDraft, country: str, subdivision: str | None, years: range
) -> CalendarDraft:
    days = _checked("", country_days, country, subdivision, years)
    for year in days.unannounced:
        say(f"desk: no make-up working days of {country.upper()} are known for {year} yet")
    return draft._replace(holidays=days.holidays, make_up_days=days.make_up_days)


def _with_file(draft: CalendarDraft, file: Path, years: range | None) -> CalendarDraft:
    content = read_bytes(file, "--ics")

    def is_worked(day: date) -> bool:
        return WEEKDAYS[day.weekday()] in draft.weekly

    zone = read_zone(draft.zone)
    found = _checked(f"--ics {file}", disruptions, content, zone, years, is_worked)
    for doubt in found.doubts:
        say(f"desk: --ics {file}: {doubt}")
    return draft._replace(
        days=(*draft.days, *found.days),
        interruptions=(*draft.interruptions, *found.interruptions),
    )


def _checked(option: str, make: Callable[P, T], *values: P.args, **more: P.kwargs) -> T:
    """Return what is made of an option's value; else name the option, with exit code 2."""
    try:
        return make(*values, **more)
    except InvalidInputError as error:
        refuse(f"{option}: {error.detail}" if option else error.detail)
