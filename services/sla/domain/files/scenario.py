"""The scenario file: calendars, policies, one ticket's history, and what must come of them."""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from services.sla.domain.clocks.clock import Outcome
from shared.calendar import ROUND_THE_CLOCK
from shared.contracts.base import Key
from shared.contracts.promises import AppliesTo, DayEnd, Targets, Value, WarnRule
from shared.contracts.sla import Holidays, SpecialDays, Weekly

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 with offset, whole seconds")]
_Text = Annotated[str, Meta(min_length=1)]
_Number = Annotated[int, Meta(ge=1)]
_Fields = dict[str, Value]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the file. Instants are in whole seconds."""

    def __post_init__(self) -> None:
        """Refuse fractions of a second."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, datetime) and value.microsecond:
                raise ValueError(f"/{_ENCODED.get(name, name)}: whole seconds, please")


_ENCODED: Final = {"from_": "from"}


class CalendarPart(Part, frozen=True, kw_only=True):
    """Working hours, as `sla.calendar_published` has them."""

    id: Key
    zone: Key
    weekly: Weekly
    holidays: Holidays = ()
    special_days: SpecialDays = {}

    def __post_init__(self) -> None:
        """Refuse the name of the built-in calendar."""
        if self.id == ROUND_THE_CLOCK:
            raise ValueError(f"/id: {ROUND_THE_CLOCK} is built in")


class PolicyPart(Part, frozen=True, kw_only=True):
    """One version of one policy."""

    id: _Text
    version: _Number
    effective_from: Instant
    applies_to: AppliesTo = "new"
    targets: Annotated[Targets, Meta(min_length=1)]


class NoData(Part, frozen=True):
    """The data of an event that has none."""


class CommentData(Part, frozen=True, kw_only=True):
    """Who wrote, and whether the requester sees it."""

    author: Literal["agent", "requester"]
    public: bool = True


class HoldData(Part, frozen=True, kw_only=True):
    """What the ticket waits for."""

    reason: str | UnsetType = UNSET


class MergeData(Part, frozen=True, kw_only=True):
    """The surviving ticket."""

    into: str | UnsetType = UNSET


class InheritanceData(Part, frozen=True, kw_only=True):
    """A due time taken over; null takes it back."""

    target: str
    from_ticket: str
    due_at: Instant | None


class UpdateData(Part, frozen=True, kw_only=True):
    """Fields and their new values."""

    fields: _Fields


class Event(Part, frozen=True, kw_only=True, tag_field="type"):
    """One fact of the history; its kinds differ in `data`."""

    id: _Text | UnsetType = UNSET
    time: Instant
    recorded_at: Instant | None = None

    def __post_init__(self) -> None:
        """Refuse a fact that was known before it was true."""
        super().__post_init__()
        if self.recorded_at is not None and self.recorded_at < self.time:
            raise ValueError("/recorded_at: nothing is recorded before it is true")


class TicketCreatedPart(Event, frozen=True, kw_only=True, tag="ticket.created"):
    """The ticket was made; `data` are its fields."""

    data: _Fields = {}


class Prioritized(Event, frozen=True, kw_only=True, tag="ticket.prioritized"):
    """Routing ranked it."""

    data: _Fields = {}


class Assigned(Event, frozen=True, kw_only=True, tag="ticket.assigned"):
    """Routing gave it to somebody."""

    data: _Fields = {}


class Updated(Event, frozen=True, kw_only=True, tag="ticket.updated"):
    """Fields were corrected."""

    data: UpdateData


class Commented(Event, frozen=True, kw_only=True, tag="ticket.commented"):
    """Somebody wrote on it."""

    data: CommentData


class Held(Event, frozen=True, kw_only=True, tag="ticket.held"):
    """It waits."""

    data: HoldData = HoldData()


class Merged(Event, frozen=True, kw_only=True, tag="ticket.merged"):
    """Another ticket goes on instead of it."""

    data: MergeData = MergeData()


class Started(Event, frozen=True, kw_only=True, tag="ticket.started"):
    """Work began."""

    data: NoData = NoData()


class Resumed(Event, frozen=True, kw_only=True, tag="ticket.resumed"):
    """It waits no longer."""

    data: NoData = NoData()


class Resolved(Event, frozen=True, kw_only=True, tag="ticket.resolved"):
    """A solution was supplied."""

    data: NoData = NoData()


class Closed(Event, frozen=True, kw_only=True, tag="ticket.closed"):
    """Nothing is left to do."""

    data: NoData = NoData()


class Reopened(Event, frozen=True, kw_only=True, tag="ticket.reopened"):
    """The solution did not hold."""

    data: NoData = NoData()


class Cancelled(Event, frozen=True, kw_only=True, tag="ticket.cancelled"):
    """It was withdrawn."""

    data: NoData = NoData()


class Inherited(Event, frozen=True, kw_only=True, tag="sla.due_inherited"):
    """It took a due time over from a ticket merged into it, or from which it was split off."""

    data: InheritanceData


AnyEvent = (
    TicketCreatedPart
    | Prioritized
    | Assigned
    | Updated
    | Commented
    | Held
    | Merged
    | Started
    | Resumed
    | Resolved
    | Closed
    | Reopened
    | Cancelled
    | Inherited
)


class Question(Part, frozen=True, kw_only=True):
    """A question to a calendar alone, of one of four kinds, and perhaps the answer expected."""

    calendar: _Text
    from_: Instant = msgspec.field(name="from")
    to: Instant | UnsetType = UNSET
    add_working_seconds: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    add_working_days: int | UnsetType = UNSET
    at: DayEnd | UnsetType = UNSET
    next_opening: Literal[True] | UnsetType = UNSET
    gives: Instant | UnsetType = UNSET
    working_seconds: Annotated[int, Meta(ge=0)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Refuse no question, and two."""
        super().__post_init__()
        asked = (self.to, self.add_working_seconds, self.add_working_days, self.next_opening)
        if sum(part is not UNSET for part in asked) != 1:
            raise ValueError("ask one of to, add_working_seconds, add_working_days, next_opening")
        if self.at is not UNSET and self.add_working_days is UNSET:
            raise ValueError("/at: belongs to add_working_days")
        if self.working_seconds is not UNSET and self.to is UNSET:
            raise ValueError("/working_seconds: is the answer to `to`")
        if self.gives is not UNSET and self.to is not UNSET:
            raise ValueError("/gives: the answer to `to` is called working_seconds")


class ClockPart(Part, frozen=True, kw_only=True):
    """A clock, as expected (what is stated must match) or as computed."""

    target: str
    cycle: _Number = 1
    generation: _Number = 1
    started_at: Instant | UnsetType = UNSET
    due_at: Instant | UnsetType = UNSET
    outcome: Outcome | UnsetType = UNSET
    stopped_at: Instant | UnsetType | None = UNSET
    breached_at: Instant | UnsetType | None = UNSET
    elapsed_seconds: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    paused_seconds: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    policy_version: _Number | UnsetType = UNSET


class WarningPart(Part, frozen=True, kw_only=True):
    """A warning that was due, or is planned."""

    target: str
    cycle: _Number = 1
    generation: _Number = 1
    rule: WarnRule
    at: Instant


class Emission(Part, frozen=True, kw_only=True):
    """Something published."""

    type: Literal[
        "sla.started",
        "sla.warned",
        "sla.breached",
        "sla.breach_retracted",
        "sla.met",
        "sla.missed",
        "sla.cancelled",
    ]
    target: str | UnsetType = UNSET
    cycle: _Number | UnsetType = UNSET
    generation: _Number | UnsetType = UNSET
    time: Instant | UnsetType = UNSET
    rule: WarnRule | UnsetType = UNSET


class KnownAt(Part, frozen=True, kw_only=True):
    """The ledger of what had been recorded by an instant, read at it."""

    recorded_at: Instant
    clocks: tuple[ClockPart, ...]


class Expect(Part, frozen=True, kw_only=True):
    """What must come out; a list that is given is complete."""

    clocks: tuple[ClockPart, ...] | UnsetType = UNSET
    warnings: tuple[WarningPart, ...] | UnsetType = UNSET
    emitted: tuple[Emission, ...] | UnsetType = UNSET
    known_at: tuple[KnownAt, ...] | UnsetType = UNSET


class Scenario(Part, frozen=True, kw_only=True):
    """One case: what was promised, what happened, and what must come out."""

    id: _Text
    name: str = ""
    source: str = ""
    note: str = ""
    calendars: tuple[CalendarPart, ...] = ()
    policies: Annotated[tuple[PolicyPart, ...], Meta(min_length=1)]
    events: Annotated[tuple[AnyEvent, ...], Meta(min_length=1)]
    until: Instant | None = None
    arithmetic: tuple[Question, ...] = ()
    expect: Expect = Expect()


class Computed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be expected, computed."""

    clocks: tuple[ClockPart, ...]
    warnings: tuple[WarningPart, ...]
    emitted: tuple[Emission, ...]
    known_at: tuple[KnownAt, ...]
    arithmetic: tuple[Question, ...]


class ScenarioResult(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario's result."""

    id: str
    actual: Computed
