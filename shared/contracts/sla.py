"""Events that sla owns: clocks and what became of them, calendars and policies."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta

from shared.contracts.base import (
    Count,
    EventData,
    Instant,
    Key,
    Name,
    Ordinal,
    TicketData,
    at_most,
)
from shared.contracts.promises import AppliesTo, ClockKind, Goal, Targets, WarnRule


class ClockData(TicketData, frozen=True, kw_only=True):
    """Data of an event about one clock; `target`, `cycle`, `generation` name it in its ticket."""

    target: Key
    cycle: Ordinal = 1
    generation: Ordinal = 1
    kind: ClockKind = "sla"


class SlaStarted(ClockData, frozen=True, kw_only=True):
    """A promise began to run. `due_at` holds as long as nothing pauses it.

    Told again for the same clock, it corrects what was promised: a late fact showed it.
    Version 1 knew goals in working seconds only (`goal_seconds`), of the policy `standard`.
    """

    TYPE: ClassVar[str] = "sla.started"
    VERSION: ClassVar[int] = 2

    started_at: Instant
    due_at: Instant
    goal: Goal
    calendar: Key
    policy_id: Key
    policy_version: Count


class SlaPaused(ClockData, frozen=True, kw_only=True):
    """The clock stands still; it has no due time until it is resumed."""

    TYPE: ClassVar[str] = "sla.paused"

    elapsed_seconds: Count
    reason: Key


class SlaResumed(ClockData, frozen=True, kw_only=True):
    """The clock runs again, towards a later due time."""

    TYPE: ClassVar[str] = "sla.resumed"

    due_at: Instant


class SlaWarned(ClockData, frozen=True, kw_only=True):
    """The clock came to a point at which the policy wants a warning. Version 1 had `percent`."""

    TYPE: ClassVar[str] = "sla.warned"
    VERSION: ClassVar[int] = 2

    rule: WarnRule
    due_at: Instant


class SlaBreached(ClockData, frozen=True, kw_only=True):
    """The due time passed and the promise was not kept.

    The envelope's `time` is the due instant, its `recordedtime` the detection.
    """

    TYPE: ClassVar[str] = "sla.breached"

    due_at: Instant


class SlaBreachRetracted(ClockData, frozen=True, kw_only=True):
    """A fact that arrived late shows that the clock had not been breached at that time."""

    TYPE: ClassVar[str] = "sla.breach_retracted"

    due_at: Instant
    reason: Key


class SlaMet(ClockData, frozen=True, kw_only=True):
    """The promise was kept. `source_system` names who judged, where this desk did not (history)."""

    TYPE: ClassVar[str] = "sla.met"

    stopped_at: Instant
    due_at: Instant | None
    elapsed_seconds: Count | None
    source_system: Key | None = None


class SlaMissed(ClockData, frozen=True, kw_only=True):
    """The promise was fulfilled too late. `source_system` as in `sla.met`."""

    TYPE: ClassVar[str] = "sla.missed"

    stopped_at: Instant
    due_at: Instant | None
    elapsed_seconds: Count | None
    source_system: Key | None = None


class SlaCancelled(ClockData, frozen=True, kw_only=True):
    """The promise no longer applies.

    `reason` is cancelled, merged, superseded (by the next generation), or withdrawn: a late fact
    showed that there was no such clock.
    """

    TYPE: ClassVar[str] = "sla.cancelled"

    reason: Key


class SlaDueInherited(TicketData, frozen=True, kw_only=True):
    """A clock of this target is due no later than one of a ticket merged in, or split from, was.

    True from the merge or split on; later pauses move it. The newest of one `from_ticket` and
    target counts; null takes it back.
    """

    TYPE: ClassVar[str] = "sla.due_inherited"

    target: Key
    from_ticket: UUID
    due_at: Instant | None


class SlaPolicyPublished(EventData, frozen=True, kw_only=True):
    """One version of a policy, whole; of one name the first matching target counts.

    Without targets it is withdrawn.

    In force from `effective_from`, null for the event's time; `applies_to` says whether clocks that
    run then go over to it. Of several policies the one with the lowest `place` is asked first.
    `calendars` are the versions of the calendars that its targets name.
    Version 1 promised in its own words; the upcaster says the same in those of version 2.
    """

    TYPE: ClassVar[str] = "sla.policy_published"
    VERSION: ClassVar[int] = 2
    STREAM: ClassVar[str] = "policy_id"

    policy_id: Key
    version: Ordinal
    effective_from: Instant | None = None
    applies_to: AppliesTo = "new"
    place: Count = 0
    targets: Targets
    calendars: Annotated[dict[Key, Ordinal], at_most(entries=200)] = {}  # noqa: RUF012 msgspec copies it


class SlaPeakDeclared(EventData, frozen=True, kw_only=True):
    """The desk declared a peak, or its end: tickets created since carry the field `peak`."""

    TYPE: ClassVar[str] = "sla.peak_declared"
    STREAM: ClassVar[str] = "desk_id"

    desk_id: Key
    is_peak: bool


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Window = tuple[
    Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")],
    Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")],
]

Windows = Annotated[tuple[Window, ...], at_most(items=24)]
"""Of one day: who needs more describes noise, and each is laid out for every day of decades."""
Weekly = Annotated[dict[Weekday, Windows], at_most(entries=7)]
Holiday = Annotated[str, Meta(pattern=r"^(\d{4}|-)-\d\d-\d\d$")]
Holidays = Annotated[tuple[Holiday, ...], at_most(items=5_000)]
SpecialDate = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]
SpecialDays = Annotated[dict[SpecialDate, Windows], at_most(entries=2_000, bytes=600_000)]


class SlaCalendarPublished(EventData, frozen=True, kw_only=True):
    """Working hours: weekly windows of local wall time, closed dates, days with other windows.

    Holidays are `YYYY-MM-DD`, or `--MM-DD` for every year.
    """

    TYPE: ClassVar[str] = "sla.calendar_published"
    STREAM: ClassVar[str] = "calendar_id"

    calendar_id: Key
    version: Ordinal
    name: Name
    zone: Key
    weekly: Weekly
    holidays: Holidays = ()
    special_days: SpecialDays


ClockEvent = (
    SlaStarted
    | SlaPaused
    | SlaResumed
    | SlaWarned
    | SlaBreached
    | SlaBreachRetracted
    | SlaMet
    | SlaMissed
    | SlaCancelled
)
SlaEvent = (
    ClockEvent | SlaDueInherited | SlaPolicyPublished | SlaCalendarPublished | SlaPeakDeclared
)
