"""Publishing rules: what a policy or calendar must be before anybody is promised anything by it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from shared.calendar import WorkingCalendar
from shared.contracts.sla import SlaCalendarPublished, SlaPolicyPublished
from shared.errors import InvalidInputError

RuleEvent = SlaPolicyPublished | SlaCalendarPublished


@dataclass(frozen=True, slots=True)
class PublishRule:
    """Put a policy or a calendar into force; its version is given when it is decided."""

    document: RuleEvent


def decide(command: PublishRule, latest: RuleEvent | None) -> list[RuleEvent]:
    """Return the next version; nothing if the newest one says the same."""
    version = 1 if latest is None else latest.version + 1
    if latest is not None and _with_version(command.document, latest.version) == latest:
        return []
    return [_with_version(command.document, version)]


def evolve(_before: RuleEvent | None, event: RuleEvent, _at: datetime) -> RuleEvent:
    """The newest version replaces what was there."""
    return event


def check_policy(
    policy: SlaPolicyPublished, calendars: Mapping[str, WorkingCalendar], now: datetime
) -> None:
    """Raise InvalidInputError, naming the target, for a promise that cannot be kept track of."""
    for place, target in enumerate(policy.targets):
        pointer = f"/targets/{place}"
        calendar = calendars.get(target.calendar)
        if calendar is None:
            raise InvalidInputError(
                f"no calendar is called {target.calendar!r}", field=f"{pointer}/calendar"
            )
        try:
            calendar.add_working_seconds(now, target.goal_seconds)
        except InvalidInputError as error:
            raise InvalidInputError(error.detail, field=f"{pointer}/goal_seconds") from error


def _with_version(document: RuleEvent, version: int) -> RuleEvent:
    return msgspec.structs.replace(document, version=version)
