"""How events become what the KPIs are computed from. Every count is a state, never a sum."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from services.reporting.tables import (
    TABLES,
    VIEWS,
    Assignment,
    Birth,
    Breach,
    CalendarDocument,
    Closing,
    Label,
    Ranking,
    Rating,
    Reopening,
    Reply,
    Resolution,
    Verdict,
)
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketMerged,
    TicketRated,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from shared.contracts.registry import Recorded
from shared.contracts.routing import TicketAssigned, TicketPrioritized
from shared.contracts.sla import (
    SlaBreached,
    SlaBreachRetracted,
    SlaCalendarPublished,
    SlaCancelled,
    SlaMet,
    SlaMissed,
    SlaStarted,
)
from shared.runtime.read_model import ReadModel

_OUTCOMES: Final = {SlaStarted: None, SlaMet: "met", SlaMissed: "missed", SlaCancelled: "cancelled"}


def project(event: Recorded) -> Iterator[Any]:
    """Yield every facet that `event` sets; none for events of no interest here."""
    data = event.data
    match data:
        case TicketPrioritized():
            yield Ranking(data.priority)
        case TicketAssigned():
            yield Assignment(data.group, data.agent_id, data.reassignment_count)
        case SlaStarted() | SlaMet() | SlaMissed() | SlaCancelled():
            yield Verdict(
                data.target, data.cycle, data.generation, data.kind, _OUTCOMES[type(data)]
            )
        case SlaBreached() | SlaBreachRetracted():
            is_breached = isinstance(data, SlaBreached)
            yield Breach(data.target, data.cycle, data.generation, is_breached)
        case SlaCalendarPublished():
            yield CalendarDocument(msgspec.to_builtins(data))
        case _:
            yield from _project_ticket(event)


def _project_ticket(event: Recorded) -> Iterator[Any]:
    data = event.data
    match data:
        case TicketCreated():
            yield Birth(data.number, data.kind, data.channel, event.time)
            yield Label(data.title, data.category)
        case TicketUpdated():
            yield Label(data.title, data.category)
        case TicketCommented(author_role="agent", visibility="public"):
            yield Reply(data.comment_id, event.time)
        case TicketResolved():
            yield Resolution(event.time)
        case TicketClosed():
            yield Resolution(data.resolved_at)
            yield Closing(closed_at=event.time)
            yield Reopening(data.reopen_count)
        case TicketReopened():
            yield Resolution(None)
            yield Closing()
            yield Reopening(data.reopen_count)
        case TicketCancelled():
            yield Closing(cancelled_at=event.time)
        case TicketMerged():
            yield Closing(merged_at=event.time)
        case TicketRated():
            yield Rating(data.score)
        case _:
            return


_FOLDED: Final = (
    *(TicketCreated, TicketUpdated, TicketCommented, TicketResolved, TicketClosed),
    *(TicketReopened, TicketCancelled, TicketMerged, TicketRated),
    *(TicketPrioritized, TicketAssigned),
    *(SlaStarted, SlaMet, SlaMissed, SlaCancelled, SlaBreached, SlaBreachRetracted),
    SlaCalendarPublished,
)
READ_MODEL: Final = ReadModel(
    TABLES, project, VIEWS, version=2, topics=frozenset(event.TYPE for event in _FOLDED)
)
