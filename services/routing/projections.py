"""How events become the roster and who has what. Facets are guarded by sequence."""

from collections.abc import Iterator
from typing import Any, Final

from services.routing.tables import (
    TABLES,
    VIEWS,
    Assignment,
    Availability,
    Escalation,
    Progress,
    Ranking,
    Record,
    Registration,
)
from shared.contracts.base import TicketData
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCreated,
    TicketMerged,
    TicketReopened,
    TicketResolved,
)
from shared.contracts.registry import Recorded
from shared.contracts.routing import (
    AgentAvailabilityChanged,
    AgentRegistered,
    TicketAssigned,
    TicketEscalated,
    TicketPrioritized,
)
from shared.runtime.read_model import History, ReadModel


def project(event: Recorded) -> Iterator[Any]:
    """Yield every facet that `event` sets, and the fact that it is one of a ticket's."""
    data = event.data
    if isinstance(data, TicketData) and event.writer != "routing":
        yield History.of(event)
    match data:
        case TicketCreated():
            yield Record(data.number)
            yield Progress(is_open=True)
        case TicketReopened():
            yield Progress(is_open=True)
        case TicketResolved() | TicketClosed() | TicketCancelled() | TicketMerged():
            yield Progress(is_open=False)
        case TicketPrioritized():
            yield Ranking(data.priority, data.impact, data.urgency, list(data.reasons))
        case TicketAssigned():
            yield Assignment(
                data.group,
                data.agent_id,
                data.line,
                data.reassignment_count,
                list(data.reasons),
                event.time,
            )
        case TicketEscalated():
            yield Escalation(data.escalation_count, list(data.reasons), event.time)
        case AgentRegistered():
            yield Registration(
                data.name, data.group, data.line, list(data.skills), data.workload_max
            )
        case AgentAvailabilityChanged():
            yield Availability(data.available)
        case _:
            return


READ_MODEL: Final = ReadModel(TABLES, project, VIEWS, version=2)
