"""What the desk's events are to the clocks: facts, and the fields that rules can ask for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from services.sla.domain.clocks.history import Fact, FactType
from shared.calendar import microseconds
from shared.contracts.base import EventData
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketHeld,
    TicketMerged,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
    TicketUpdated,
)
from shared.contracts.promises import Value
from shared.contracts.registry import Recorded
from shared.contracts.routing import TicketAssigned, TicketPrioritized
from shared.contracts.sla import SlaDueInherited

PEAK: Final = "peak"
PEAKS: Final = "peaks"
FIELDS: Final = (
    *("kind", "priority", "impact", "urgency", "category", "service", "channel"),
    *("requester", "department", "customer", "site", "group", "agent", "line", PEAK),
)
"""The ticket's fields that a policy can ask for."""

RANK: Final = {"intake": 0, "routing": 1, "sla": 2}
_TYPES: Final[Mapping[type[EventData], FactType]] = {
    TicketStarted: "started",
    TicketResumed: "resumed",
    TicketResolved: "resolved",
    TicketClosed: "closed",
    TicketReopened: "reopened",
    TicketCancelled: "cancelled",
    TicketMerged: "merged",
}
PLAIN: Final[Mapping[str, FactType]] = {data.TYPE: kind for data, kind in _TYPES.items()}
"""Events whose type says all that clocks need to know; their data need not be read."""

Peaks = Sequence[tuple[int, bool]]
"""Since when it was a peak, or none, in order; microseconds since 1970."""


def facts_of(events: Iterable[Recorded], peaks: Peaks = ()) -> Iterator[Fact]:
    """Yield the facts among a ticket's events; what is no fact of its promises is left out."""
    for event in events:
        if event.writer in RANK:
            place = RANK[event.writer], event.sequence
            recorded_us = microseconds(event.recorded_at)
            fact = fact_of(event.data, microseconds(event.time), recorded_us, place, peaks)
            if fact is not None:
                yield fact


def fact_of(
    data: EventData, time_us: int, recorded_us: int, place: tuple[int, int], peaks: Peaks
) -> Fact | None:
    """Return what an event is to the clocks, if anything; `place` is writer's rank and sequence."""
    content = _content(data)
    if content is None:
        return None
    kind, reason, changes = content
    if kind == "created":
        changes = {**(changes or {}), PEAK: is_peak(peaks, time_us)}
    return Fact(time_us, max(time_us, recorded_us), *place, kind, reason, changes)


def is_peak(peaks: Peaks, at_us: int) -> bool:
    """Tell whether a peak was declared at the instant."""
    declared = [is_on for since_us, is_on in peaks if since_us <= at_us]
    return declared[-1] if declared else False


def _content(  # noqa: PLR0911 one answer per kind of event
    data: EventData,
) -> tuple[FactType, str | None, Mapping[str, Value] | None] | None:
    kind = _TYPES.get(type(data))
    if kind is not None:
        return kind, None, None
    match data:
        case TicketCreated():
            return "created", None, _created(data)
        case TicketUpdated():
            return "updated", None, _record(data)
        case TicketPrioritized():
            ranked = {"priority": data.priority, "impact": data.impact, "urgency": data.urgency}
            return "prioritized", None, ranked
        case TicketAssigned():
            given = {"group": data.group, "agent": data.agent_id, "line": data.line}
            return "assigned", None, given
        case TicketHeld():
            return "held", data.reason, None
        case TicketCommented():
            return message_of(data), None, None
        case SlaDueInherited():
            due_us = None if data.due_at is None else microseconds(data.due_at)
            return "inherited", str(data.from_ticket), {"target": data.target, "due_us": due_us}
        case _:
            return None


def message_of(data: TicketCommented) -> FactType:
    """Return what a comment is to the clocks."""
    if data.author_role == "requester":
        return "requester_message"
    return "agent_reply" if data.visibility == "public" else "internal_note"


def _created(data: TicketCreated) -> dict[str, Value]:
    return {
        **_record(data),
        "kind": data.kind,
        "channel": data.channel,
        "requester": data.requester.id,
        "department": data.requester.department,
        "customer": data.requester.customer,
        "site": data.requester.site,
    }


def _record(data: TicketCreated | TicketUpdated) -> dict[str, Value]:
    return {
        "impact": data.impact,
        "urgency": data.urgency,
        "category": data.category,
        "service": data.service,
    }
