"""Events that sla owns: clocks and what became of them, calendars and policies."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from shared.contracts.base import Count, EventData, Instant, Key, Kind, Name, Priority, TicketData

ClockKind = Literal["sla", "ola", "uc"]


class ClockData(TicketData, frozen=True, kw_only=True):
    """Data of an event about one clock; `target`, `cycle`, `generation` name it in its ticket."""

    target: Key
    cycle: Annotated[int, Meta(ge=1)] = 1
    generation: Annotated[int, Meta(ge=1)] = 1
    kind: ClockKind = "sla"


class SlaStarted(ClockData, frozen=True, kw_only=True):
    """A promise began to run. `due_at` holds as long as nothing pauses it."""

    TYPE: ClassVar[str] = "sla.started"

    started_at: Instant
    due_at: Instant
    goal_seconds: Annotated[int, Meta(ge=1, description="working seconds promised")]
    calendar: Key
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
    """So much of the promised time has been used."""

    TYPE: ClassVar[str] = "sla.warned"

    percent: Annotated[int, Meta(ge=1, le=1000)]
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
    """The promise no longer applies."""

    TYPE: ClassVar[str] = "sla.cancelled"

    reason: Key


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is promised for tickets of one kind and priority; null matches all."""

    name: Literal["response", "resolution"]
    kind: Kind | None = None
    priority: Priority | None = None
    calendar: Key
    goal_seconds: Annotated[int, Meta(ge=1, le=315_360_000, description="working seconds")]
    warn_percent: Annotated[int, Meta(ge=1, le=99)] | None = 75


class SlaPolicyPublished(EventData, frozen=True, kw_only=True):
    """The promises made from now on, whole; of one name the first matching target counts."""

    TYPE: ClassVar[str] = "sla.policy_published"
    STREAM: ClassVar[str] = "policy_id"

    policy_id: Key
    version: Annotated[int, Meta(ge=1)]
    targets: Annotated[tuple[Target, ...], Meta(min_length=1)]


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Window = tuple[
    Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")],
    Annotated[str, Meta(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")],
]


SpecialDate = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]


class SlaCalendarPublished(EventData, frozen=True, kw_only=True):
    """Working hours: weekly windows of local wall time, closed dates, days with other windows.

    Holidays are `YYYY-MM-DD`, or `--MM-DD` for every year.
    """

    TYPE: ClassVar[str] = "sla.calendar_published"
    STREAM: ClassVar[str] = "calendar_id"

    calendar_id: Key
    version: Annotated[int, Meta(ge=1)]
    name: Name
    zone: Key
    weekly: dict[Weekday, tuple[Window, ...]]
    holidays: tuple[Annotated[str, Meta(pattern=r"^(\d{4}|-)-\d\d-\d\d$")], ...] = ()
    special_days: dict[SpecialDate, tuple[Window, ...]]


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
SlaEvent = ClockEvent | SlaPolicyPublished | SlaCalendarPublished
