"""The rules as they were published: every version of every policy and calendar, made one book."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import msgspec

from services.sla.domain.clocks.facts import Peaks
from services.sla.domain.clocks.rulebook import PolicyVersion, Rulebook, calendar_version, rulebook
from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, instant, microseconds, round_the_clock
from shared.contracts.base import EventData
from shared.contracts.sla import SlaCalendarPublished, SlaPeakDeclared, SlaPolicyPublished

_ALWAYS_US = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything by which a ticket is judged; `peaks` says since when it was a peak, or none."""

    rulebook: Rulebook
    peaks: Peaks = ()


class Publication(NamedTuple):
    """A rule that was published, and when; `pointer` leads to one that is about to be."""

    data: EventData
    time_us: int
    pointer: str = ""


def policies_of(published: Iterable[Publication]) -> dict[str, list[Publication]]:
    """Return the versions of each policy, in sequence."""
    found: dict[str, list[Publication]] = {}
    for event in published:
        if isinstance(event.data, SlaPolicyPublished):
            found.setdefault(event.data.policy_id, []).append(event)
    return found


def rules_of(events: Iterable[Publication]) -> Rules:
    """Return the rules that these events publish.

    Raises: InvalidInputError if they do not fit together; what is published was checked before.
    """
    told = list(events)
    calendars = {ROUND_THE_CLOCK: round_the_clock()}
    peaks: list[tuple[int, bool]] = []
    for event in told:
        match event.data:
            case SlaCalendarPublished():
                name, calendar = event.data.calendar_id, WorkingCalendar.published(event.data)
                calendars[name] = calendar
                calendars[calendar_version(name, event.data.version)] = calendar
            case SlaPeakDeclared():
                peaks.append((event.time_us, event.data.is_peak))
            case _:
                continue
    versions = [one for found in policies_of(told).values() for one in _versions(found)]
    return Rules(rulebook(in_asking_order(versions), calendars), tuple(peaks))


def _versions(events: Sequence[Publication]) -> list[tuple[int, PolicyVersion]]:
    place = 0
    for event in events:
        if isinstance(event.data, SlaPolicyPublished):
            place = event.data.place
    return [(place, version) for version in standing(events)]


def standing(events: Iterable[Publication]) -> list[PolicyVersion]:
    """Return one policy's versions, in sequence, without those that never come into force.

    A version takes the place of all that were to come into force no earlier than itself: so plans
    change, and what is in force already does not.
    """
    found: list[PolicyVersion] = []
    for data, time_us, pointer in events:
        if isinstance(data, SlaPolicyPublished):
            version = version_of(data, time_us, pointer)
            while found and found[-1].effective_us >= version.effective_us:
                found.pop()
            found.append(version)
    return found


def in_asking_order(versions: Iterable[tuple[int, PolicyVersion]]) -> list[PolicyVersion]:
    """Return versions by the place of their policy, then its id and their number."""
    ordered = sorted(versions, key=lambda one: (one[0], one[1].policy_id, one[1].version))
    return [version for _, version in ordered]


def version_of(policy: SlaPolicyPublished, published_us: int, pointer: str = "") -> PolicyVersion:
    """Return a published policy as the engine takes it; the first one was there before all."""
    effective_us = published_us
    if policy.effective_from is not None:
        effective_us = microseconds(policy.effective_from)
    elif policy.version == 1:
        effective_us = _ALWAYS_US
    return PolicyVersion(
        policy_id=policy.policy_id,
        version=policy.version,
        effective_us=effective_us,
        applies_to=policy.applies_to,
        targets=policy.targets,
        calendars=policy.calendars,
        pointer=pointer or f"policy {policy.policy_id} v{policy.version}",
    )


State = Literal["past", "in_force", "to_come", "replaced"]
"""How a version stands; a replaced one was to come when another one took its place."""

_STATES: Final[Mapping[int, State]] = {-1: "past", 0: "in_force", 1: "to_come"}


class PolicyView(SlaPolicyPublished, frozen=True, kw_only=True):
    """A version of a policy, how it stands, and since when it is in force."""

    state: State


class RuleVersions(msgspec.Struct, frozen=True):
    """All that was ever published, oldest first; and whether a peak is declared now."""

    policies: list[PolicyView]
    calendars: list[SlaCalendarPublished]
    is_peak: bool


def versions_of(events: Sequence[Publication], now_us: int) -> RuleVersions:
    """Return every version; without `effective_from` one is in force since it was published."""
    policies = policies_of(events).values()
    found = RuleVersions(
        [one for v in policies for one in with_states(v, now_us)], [], is_peak=False
    )
    for event in events:
        if isinstance(event.data, SlaCalendarPublished):
            found.calendars.append(event.data)
        elif isinstance(event.data, SlaPeakDeclared):
            found = msgspec.structs.replace(found, is_peak=event.data.is_peak)
    return found


def with_states(versions: Sequence[Publication], now_us: int) -> Iterator[PolicyView]:
    """Yield one policy's versions, each with its state and since when it is in force."""
    stands = {version.version: version.effective_us for version in standing(versions)}
    current = max((v for v, since_us in stands.items() if since_us <= now_us), default=0)
    for data, time_us, *_ in versions:
        if isinstance(data, SlaPolicyPublished):
            since = data.effective_from or instant(time_us)
            state: State = "replaced"
            if data.version in stands:
                state = _STATES[(data.version > current) - (data.version < current)]
            dated = msgspec.structs.replace(data, effective_from=since)
            yield PolicyView(**msgspec.structs.asdict(dated), state=state)


def calendar_names(rules: Iterable[EventData]) -> set[str]:
    """Return the names of the calendars that policies use, the built-in one left out."""
    policies = [rule for rule in rules if isinstance(rule, SlaPolicyPublished)]
    return {t.calendar for policy in policies for t in policy.targets} - {ROUND_THE_CLOCK}


def as_if_always(
    events: Iterable[Publication],
    policies: Iterable[PolicyVersion],
    calendars: Mapping[str, WorkingCalendar],
) -> Rulebook:
    """Return the newest published rules with others in their place, as if always in force.

    Policies and calendars replace the published ones of the same name.
    """
    current: dict[str, tuple[int, PolicyVersion]] = {}
    known: dict[str, WorkingCalendar] = {ROUND_THE_CLOCK: round_the_clock()}
    for event in events:
        if isinstance(event.data, SlaPolicyPublished):
            version = version_of(event.data, event.time_us)
            current[version.policy_id] = event.data.place, version
        elif isinstance(event.data, SlaCalendarPublished):
            known[event.data.calendar_id] = WorkingCalendar.published(event.data)
    known.update(calendars)
    for policy in policies:
        place = current[policy.policy_id][0] if policy.policy_id in current else len(current)
        current[policy.policy_id] = place, policy
    return rulebook(
        [
            msgspec.structs.replace(version, effective_us=_ALWAYS_US, calendars={})
            for version in in_asking_order(current.values())
        ],
        known,
    )
