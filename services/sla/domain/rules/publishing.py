"""Publishing rules: what a set of calendars and policies adds to those that are published."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Final, NoReturn, cast

import msgspec
from msgspec import Meta

from services.sla.domain.clocks.facts import FIELDS, PEAKS
from services.sla.domain.files.reading import calendars_of
from services.sla.domain.files.scenario import CalendarPart, PolicyPart
from services.sla.domain.lint.findings import Finding
from services.sla.domain.lint.linter import lint
from services.sla.domain.rules.published import (
    Publication,
    calendar_names,
    policies_of,
    rules_of,
    standing,
)
from shared.calendar import ROUND_THE_CLOCK, microseconds
from shared.contracts.base import KEY_PATTERN, EventData, Instant, Key, Ordinal
from shared.contracts.limits import require_within
from shared.contracts.promises import AppliesTo, Target, Targets
from shared.contracts.sla import SlaCalendarPublished, SlaPeakDeclared, SlaPolicyPublished
from shared.contracts.visible import is_blank
from shared.errors import InvalidInputError, StaleSequenceError

_NAME_MAX: Final = 200
_AHEAD_MAX: Final = timedelta(days=366)
RuleEvent = SlaPolicyPublished | SlaCalendarPublished | SlaPeakDeclared


class PolicyWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy as a file has it; without `version` it is the next, without `effective_from` now.

    One without targets promises nothing any more: that is how a policy is withdrawn.
    """

    id: Key
    version: Ordinal | None = None
    effective_from: Instant | None = None
    applies_to: AppliesTo = "new"
    targets: Targets


class RulesWanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calendars and policies to be in force, as a scenario has them; what is not named stays."""

    calendars: Annotated[tuple[CalendarPart, ...], Meta(max_length=200)] = ()
    policies: Annotated[tuple[PolicyWanted, ...], Meta(max_length=200)] = ()


@dataclass(frozen=True, slots=True)
class PublishRule:
    """Put one rule into force, if it differs from the newest one of its stream."""

    document: RuleEvent


def decide(command: PublishRule, latest: RuleEvent | None) -> list[RuleEvent]:
    """Return the rule; nothing if the newest says the same.

    Raises: StaleSequenceError if its version is not the next one.
    """
    document = command.document
    if isinstance(document, SlaPeakDeclared):
        was_peak = isinstance(latest, SlaPeakDeclared) and latest.is_peak
        return [] if document.is_peak == was_peak else [document]
    if latest is not None and type(latest) is not type(document):
        _refuse("id", f"{document.stream_id!r} is the name of another kind of rule")
    version = 0 if latest is None or isinstance(latest, SlaPeakDeclared) else latest.version
    if latest is not None and msgspec.structs.replace(document, version=version) == latest:
        return []
    if document.version != version + 1:
        raise StaleSequenceError(f"{document.stream_id!r} has version {version + 1} already")
    return [document]


def evolve(before: RuleEvent | None, event: EventData, _at: datetime) -> RuleEvent | None:
    """The newest version replaces what was there; an outage of the same id is no rule."""
    return event if isinstance(event, RuleEvent) else before


def plan(wanted: RulesWanted, published: Sequence[Publication], now: datetime) -> list[RuleEvent]:
    """Return what has to be published so that `wanted` is in force; nothing if it is.

    `published` is every version of every rule, of each stream in sequence. A policy whose calendar
    changes becomes a new version too, since a promise is judged by the calendar it was made with.

    Raises: InvalidInputError naming what cannot be, among it a version that is published with
    other content.
    """
    _require_calendars(wanted.calendars, now)
    known = {
        e.data.calendar_id: e.data for e in published if isinstance(e.data, SlaCalendarPublished)
    }
    calendars = list(_changed_calendars(wanted.calendars, known))
    pins = {name: calendar.version for name, calendar in known.items()}
    pins.update((calendar.calendar_id, calendar.version) for calendar in calendars)
    history = policies_of(published)
    _require_names(wanted, known.keys(), history.keys())
    policies = list(_changed_policies(wanted.policies, history, pins, now))
    touched = {policy.policy_id for _, policy in policies}
    for name, versions in history.items():
        if name not in touched:
            repinned = _repinned(versions, {c.calendar_id for c in calendars}, pins, now)
            policies.extend((name, policy) for policy in repinned)
    now_us = microseconds(now)
    rules_of(
        [
            *published,
            *(Publication(calendar, now_us) for calendar in calendars),
            *(Publication(policy, now_us, pointer) for pointer, policy in policies),
        ]
    )
    require_sound(wanted, published, now)
    _require_dates(wanted)
    places = {part.id: f"/calendars/{place}" for place, part in enumerate(wanted.calendars)}
    pointed = [*((places[one.calendar_id], one) for one in calendars), *policies]
    for pointer, document in pointed:
        require_within(document, base=pointer)
    return [document for _, document in pointed]


def replaced(rule: RuleEvent, published: Iterable[Publication], now: datetime) -> list[int]:
    """Return the versions to come in whose place a new one would come into force."""
    if not isinstance(rule, SlaPolicyPublished):
        return []
    since_us = microseconds(rule.effective_from or now)
    versions = standing(policies_of(published).get(rule.policy_id, ()))
    return [version.version for version in versions if version.effective_us >= since_us]


def _require_names(wanted: RulesWanted, calendars: Iterable[str], policies: Iterable[str]) -> None:
    """Refuse a name that a rule of another kind has: each has one stream."""
    taken = {*policies, *(policy.id for policy in wanted.policies), PEAKS}
    for place, part in enumerate(wanted.calendars):
        field = f"/calendars/{place}/id"
        is_name = re.fullmatch(KEY_PATTERN, part.id) and not is_blank(part.id)
        if not is_name or len(part.id) > _NAME_MAX:
            _refuse(field, f"a name has 1 to {_NAME_MAX} characters that can be printed")
        if part.id in taken:
            _refuse(field, f"{part.id!r} is the name of a policy")
    taken = {*calendars, ROUND_THE_CLOCK, PEAKS}
    for place, policy in enumerate(wanted.policies):
        if policy.id in taken:
            _refuse(f"/policies/{place}/id", f"{policy.id!r} is the name of a calendar")


def _require_dates(wanted: RulesWanted) -> None:
    for place, policy in enumerate(wanted.policies):
        for number, target in enumerate(policy.targets):
            if target.goal.date_field in FIELDS:
                _refuse(
                    f"/policies/{place}/targets/{number}/goal/date_field",
                    f"{target.goal.date_field!r} of a ticket is never a date",
                )


def of_one_rule(error: InvalidInputError) -> InvalidInputError:
    """Return an error about the only rule that was wanted, with its pointer into that rule."""
    return InvalidInputError(_alone(error.detail), field=_alone(error.field or "") or "/")


def alone(finding: Finding) -> Finding:
    """Return a finding about the only rule that was wanted, with its pointer into that rule."""
    return msgspec.structs.replace(finding, pointer=_alone(finding.pointer))


def _alone(text: str) -> str:
    return text.removeprefix("/policies/0").removeprefix("/calendars/0")


def _require_calendars(parts: Sequence[CalendarPart], now: datetime) -> None:
    calendars = calendars_of(parts)
    for place, part in enumerate(parts):
        pointer = f"/calendars/{place}"
        days = {**{f"weekly/{day}": w for day, w in part.weekly.items()}}
        days.update((f"special_days/{day}", windows) for day, windows in part.special_days.items())
        for day, windows in days.items():
            _require_apart(windows, f"{pointer}/{day}")
        try:
            calendars[part.id].next_opening(now)
        except InvalidInputError as error:
            raise InvalidInputError(f"{pointer}: {error.detail}", field=pointer) from error


def _require_apart(windows: Sequence[tuple[str, str]], pointer: str) -> None:
    spans = sorted((opening, _closing(opening, closing)) for opening, closing in windows)
    for (_, closing), (opening, _) in pairwise(spans):
        if opening < closing:
            raise InvalidInputError(
                f"{pointer}: the window from {opening} overlaps the one before", field=pointer
            )


def _closing(opening: str, closing: str) -> str:
    return closing if closing > opening else "48:00"


def _changed_calendars(
    parts: Sequence[CalendarPart], known: Mapping[str, SlaCalendarPublished]
) -> Iterator[SlaCalendarPublished]:
    for part in parts:
        latest = known.get(part.id)
        calendar = SlaCalendarPublished(
            calendar_id=part.id,
            version=1 if latest is None else latest.version,
            name=part.id if latest is None else latest.name,
            zone=part.zone,
            weekly=part.weekly,
            holidays=part.holidays,
            special_days=part.special_days,
        )
        if latest is None:
            yield calendar
        elif calendar != latest:
            yield msgspec.structs.replace(calendar, version=latest.version + 1)


def _changed_policies(
    wanted: Sequence[PolicyWanted],
    history: Mapping[str, list[Publication]],
    pins: Mapping[str, int],
    now: datetime,
) -> Iterator[tuple[str, SlaPolicyPublished]]:
    """Yield the versions to publish, each with its pointer in what is wanted."""
    places: dict[str, int] = {}
    known = {name: [_policy(event) for event in versions] for name, versions in history.items()}
    heads = {name: versions[-1] for name, versions in known.items()}
    for number, policy in enumerate(wanted):
        pointer = f"/policies/{number}"
        place = places.setdefault(policy.id, len(places))
        latest = heads.get(policy.id)
        newest = 0 if latest is None else latest.version
        if policy.version is not None and policy.version <= newest:
            _require_same(policy, known[policy.id][policy.version - 1], pointer)
            continue
        is_known = latest is not None and _says_the_same(policy, latest, pins, now)
        if is_known and policy.version is None:
            continue
        if policy.version not in (None, newest + 1):
            _refuse(
                f"{pointer}/version",
                f"the newest version of {policy.id!r} is {newest}; the next is {newest + 1}",
            )
        if policy.effective_from is not None and policy.effective_from > now + _AHEAD_MAX:
            _refuse(f"{pointer}/effective_from", "a version comes into force within a year")
        if policy.effective_from is not None and policy.effective_from < now:
            _refuse(
                f"{pointer}/effective_from",
                f"{policy.effective_from.isoformat()} is past; clocks judged since then would"
                " change. Take a later instant, or none for now",
            )
        if latest is not None and latest.effective_from == (policy.effective_from or now):
            _refuse(
                f"{pointer}/effective_from",
                f"version {newest} of {policy.id!r} comes into force at the same instant",
            )
        heads[policy.id] = SlaPolicyPublished(
            policy_id=policy.id,
            version=newest + 1,
            effective_from=policy.effective_from or now,
            applies_to=policy.applies_to,
            place=place,
            targets=policy.targets,
            calendars=_pinned(policy.targets, pins),
        )
        yield pointer, heads[policy.id]


def _policy(event: Publication) -> SlaPolicyPublished:
    return cast("SlaPolicyPublished", event.data)


def _require_same(policy: PolicyWanted, published: SlaPolicyPublished, pointer: str) -> None:
    if policy.targets != published.targets or policy.applies_to != published.applies_to:
        _refuse(
            f"{pointer}/version",
            f"version {policy.version} of {policy.id!r} is published with other content;"
            " give the change the next version",
        )


def _says_the_same(
    policy: PolicyWanted, latest: SlaPolicyPublished, pins: Mapping[str, int], now: datetime
) -> bool:
    since = latest.effective_from
    is_in_force = since is None or since <= now
    return (
        policy.targets == latest.targets
        and _pinned(policy.targets, pins) == latest.calendars
        and (is_in_force if policy.effective_from is None else policy.effective_from == since)
        and (policy.applies_to == "new" or latest.applies_to == "running")
    )


def _repinned(
    events: Sequence[Publication],
    calendars: Collection[str],
    pins: Mapping[str, int],
    now: datetime,
) -> Iterator[SlaPolicyPublished]:
    """Yield new versions, with their new calendars, of what is in force and of what is to come."""
    numbers = {version.version: version.effective_us for version in standing(events)}
    now_us, newest = microseconds(now), _policy(events[-1]).version
    alive = [_policy(event) for event in events if _policy(event).version in numbers]
    past = [policy for policy in alive if numbers[policy.version] <= now_us]
    coming = [*past[-1:], *(policy for policy in alive if numbers[policy.version] > now_us)]
    is_stale = [any(t.calendar in calendars for t in policy.targets) for policy in coming]
    if not any(is_stale):
        return
    for number, policy in enumerate(coming[is_stale.index(True) :], newest + 1):
        is_to_come = numbers[policy.version] > now_us
        yield msgspec.structs.replace(
            policy,
            version=number,
            effective_from=policy.effective_from if is_to_come else now,
            applies_to=policy.applies_to if is_to_come else "new",
            calendars=_pinned(policy.targets, pins),
        )


def _pinned(targets: Iterable[Target], pins: Mapping[str, int]) -> dict[str, int]:
    return {t.calendar: pins[t.calendar] for t in targets if t.calendar in pins}


def parts_of(policies: Iterable[PolicyWanted], now: datetime) -> Iterator[PolicyPart]:
    """Yield policies as a scenario has them: next numbers, and in force from now, if left open."""
    newest: dict[str, int] = {}
    for policy in policies:
        version = policy.version or newest.get(policy.id, 0) + 1
        newest[policy.id] = version
        if policy.targets:
            yield PolicyPart(
                id=policy.id,
                version=version,
                effective_from=(policy.effective_from or now).replace(microsecond=0),
                applies_to=policy.applies_to,
                targets=policy.targets,
            )


def require_sound(wanted: RulesWanted, published: Sequence[Publication], now: datetime) -> None:
    """Check rules as the linter does. Raises: InvalidInputError naming the first error's field."""
    for finding in findings(wanted, published, now):
        if finding.severity == "error":
            _refuse(finding.pointer, finding.message)


def findings(wanted: RulesWanted, published: Sequence[Publication], now: datetime) -> list[Finding]:
    """Return what the linter says of the wanted rules, beside the calendars that are published."""
    named = {part.id for part in wanted.calendars}
    known = {
        e.data.calendar_id: e.data for e in published if isinstance(e.data, SlaCalendarPublished)
    }
    used = calendar_names(event.data for event in published)
    others = [calendar_part(known[name]) for name in sorted(known.keys() - named)]
    kept = [place for place, policy in enumerate(wanted.policies) if policy.targets]
    found: list[Finding] = []
    for finding in lint([*wanted.calendars, *others], list(parts_of(wanted.policies, now))):
        _, kind, place, *rest = finding.pointer.split("/")
        if kind == "policies":
            pointer = "/".join(["", kind, str(kept[int(place)]), *rest])
            found.append(msgspec.structs.replace(finding, pointer=pointer))
        elif int(place) < len(wanted.calendars):
            is_used = not wanted.policies or wanted.calendars[int(place)].id in used
            if not (is_used and finding.code == "calendar_unused"):
                found.append(finding)
    return found


def calendar_part(calendar: SlaCalendarPublished) -> CalendarPart:
    """Return a published calendar as a file has it."""
    return CalendarPart(
        id=calendar.calendar_id,
        zone=calendar.zone,
        weekly=calendar.weekly,
        holidays=calendar.holidays,
        special_days=calendar.special_days,
    )


def _refuse(field: str, sentence: str) -> NoReturn:
    raise InvalidInputError(f"{field}: {sentence}", field=field)
