"""A real ticket as a scenario: its facts, the rules it was judged by, the ledger that came out."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final, TypedDict

import msgspec
from msgspec import UNSET

from services.sla.domain.clocks.facts import RANK
from services.sla.domain.clocks.history import Fact
from services.sla.domain.clocks.rulebook import PolicyVersion, calendar_version
from services.sla.domain.files import scenario
from services.sla.domain.files.scenario import CalendarPart, Expect, PolicyPart, Scenario
from services.sla.domain.rules.published import Publication, in_asking_order, standing
from services.sla.domain.rules.publishing import calendar_part
from services.sla.domain.scenarios.simulate import run
from shared.calendar import ROUND_THE_CLOCK, SECOND_US, NoWorkingTimeError, instant
from shared.contracts.promises import Target
from shared.contracts.sla import SlaCalendarPublished, SlaPolicyPublished

_WRITERS: Final = {rank: writer for writer, rank in RANK.items()}
_PLAIN: Final = {
    "started": scenario.Started,
    "resumed": scenario.Resumed,
    "resolved": scenario.Resolved,
    "closed": scenario.Closed,
    "reopened": scenario.Reopened,
    "cancelled": scenario.Cancelled,
    "merged": scenario.Merged,
}
_WITHDRAWN: Final = "withdrawn"
_NOTE: Final = (
    "Exported by `desk sla export`. Instants are cut to whole seconds, so deadlines may differ from"
    " the desk's by less than a second."
)


class _Known(TypedDict):
    id: str
    time: datetime
    recorded_at: datetime


def scenario_of(
    ticket_id: str, facts: Sequence[Fact], publications: Iterable[Publication], at_us: int
) -> Scenario:
    """Return the ticket as a scenario that expects the clocks it has, read at `at_us`.

    A calendar of which several versions were used appears once for each, as `name@version`. Of
    versions that came into force within one second, the last is there.
    """
    histories: dict[str, list[Publication]] = {}
    places: dict[str, int] = {}
    calendars: dict[tuple[str, int], SlaCalendarPublished] = {}
    for event in publications:
        data = event.data
        if isinstance(data, SlaPolicyPublished):
            histories.setdefault(data.policy_id, []).append(event)
            places[data.policy_id] = data.place
        elif isinstance(data, SlaCalendarPublished):
            calendars[data.calendar_id, data.version] = data
    versions = [version for events in histories.values() for version in standing(events)]
    kept = {(v.policy_id, v.effective_us // SECOND_US): v for v in versions}
    ordered = in_asking_order((places[version.policy_id], version) for version in kept.values())
    used = {
        (t.calendar, _pin(version, t, calendars))
        for version in ordered
        for t in version.targets
        if t.calendar != ROUND_THE_CLOCK
    }
    names = [name for name, _ in used]
    several = {name for name in names if names.count(name) > 1}
    case = Scenario(
        id=ticket_id,
        note=_NOTE,
        calendars=tuple(
            _calendar(calendars[key], several) for key in sorted(used) if key in calendars
        ),
        policies=tuple(_policies(ordered, calendars, several)),
        events=tuple(_event(fact) for fact in facts),
        until=_whole(at_us),
    )
    try:
        return msgspec.structs.replace(case, expect=Expect(clocks=run(case).actual.clocks))
    except NoWorkingTimeError as error:
        return msgspec.structs.replace(case, note=f"{_NOTE} Nothing is expected: {error.detail}.")


def _pin(
    version: PolicyVersion, target: Target, calendars: dict[tuple[str, int], SlaCalendarPublished]
) -> int:
    """Return the version of the calendar that the target counts by; without a pin the newest."""
    newest = max((number for name, number in calendars if name == target.calendar), default=1)
    return version.calendars.get(target.calendar, newest)


def _calendar(calendar: SlaCalendarPublished, several: set[str]) -> CalendarPart:
    name = calendar.calendar_id
    if name in several:
        name = calendar_version(name, calendar.version)
    return msgspec.structs.replace(calendar_part(calendar), id=name)


def _policies(
    versions: Iterable[PolicyVersion],
    calendars: dict[tuple[str, int], SlaCalendarPublished],
    several: set[str],
) -> Iterator[PolicyPart]:
    """Yield the versions; one that withdraws its policy promises what no ticket is told."""
    last: dict[str, tuple[Target, ...]] = {}
    for version in versions:
        targets = tuple(
            _renamed(target, _pin(version, target, calendars))
            if target.calendar in several
            else target
            for target in version.targets
        )
        if not targets:
            targets = tuple(
                msgspec.structs.replace(target, when={_WITHDRAWN: True})
                for target in last.get(version.policy_id, ())
            )
        last[version.policy_id] = targets
        if targets:
            yield PolicyPart(
                id=version.policy_id,
                version=version.version,
                effective_from=_whole(version.effective_us),
                applies_to=version.applies_to,
                targets=targets,
            )


def _renamed(target: Target, pin: int) -> Target:
    return msgspec.structs.replace(target, calendar=calendar_version(target.calendar, pin))


def _event(fact: Fact) -> scenario.AnyEvent:  # noqa: PLR0911 one answer per type
    known = _Known(
        id=f"{_WRITERS[fact.rank]}-{fact.sequence}",
        time=_whole(fact.time_us),
        recorded_at=_whole(fact.recorded_us),
    )
    changes = dict(fact.changes or {})
    match fact.type:
        case "created":
            return scenario.TicketCreatedPart(**known, data=changes)
        case "prioritized":
            return scenario.Prioritized(**known, data=changes)
        case "assigned":
            return scenario.Assigned(**known, data=changes)
        case "updated":
            return scenario.Updated(**known, data=scenario.UpdateData(fields=changes))
        case "held":
            hold = scenario.HoldData(reason=UNSET if fact.reason is None else fact.reason)
            return scenario.Held(**known, data=hold)
        case "requester_message":
            return scenario.Commented(**known, data=scenario.CommentData(author="requester"))
        case "agent_reply" | "internal_note":
            comment = scenario.CommentData(author="agent", public=fact.type == "agent_reply")
            return scenario.Commented(**known, data=comment)
        case "inherited":
            due_us = changes.get("due_us")
            taken = scenario.InheritanceData(
                target=str(changes.get("target")),
                from_ticket=fact.reason or "",
                due_at=_whole(due_us) if isinstance(due_us, int) else None,
            )
            return scenario.Inherited(**known, data=taken)
        case plain:
            return _PLAIN[plain](**known)


def _whole(at_us: int) -> datetime:
    return instant(at_us // SECOND_US * SECOND_US)
