"""How events become sla's clocks. Facets are guarded by sequence: arrival order cannot matter."""

from collections.abc import Iterator
from typing import Any, Final, assert_never

import msgspec

from services.sla.domain.clocks.facts import message_of
from services.sla.tables import (
    TABLES,
    VIEWS,
    AgreementDocument,
    Breach,
    CalendarDocument,
    Closure,
    Course,
    CustomerSignature,
    Details,
    Holder,
    Maintenance,
    Merger,
    Outage,
    Outcome,
    PolicyDocument,
    Promise,
    PromisedAvailability,
    ProviderSignature,
    Rank,
    Record,
    Remedy,
    Said,
    Warned,
)
from shared.contracts.agreements import AgreementPublished, AgreementSigned, SlaRemedyDue
from shared.contracts.availability import (
    AvailabilityPromised,
    MaintenanceScheduled,
    OutageRecorded,
)
from shared.contracts.base import TicketData
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketMerged,
    TicketReopened,
    TicketUpdated,
)
from shared.contracts.registry import Recorded
from shared.contracts.routing import TicketAssigned, TicketPrioritized
from shared.contracts.sla import (
    ClockData,
    ClockEvent,
    SlaBreached,
    SlaBreachRetracted,
    SlaCalendarPublished,
    SlaCancelled,
    SlaMet,
    SlaMissed,
    SlaPaused,
    SlaPolicyPublished,
    SlaResumed,
    SlaStarted,
    SlaWarned,
)
from shared.people import person
from shared.runtime.read_model import History, ReadModel

_SIGNATURES: Final = {"customer": CustomerSignature, "provider": ProviderSignature}
_OUTCOMES: Final = {SlaMet: "met", SlaMissed: "missed", SlaCancelled: "cancelled"}


def project(event: Recorded) -> Iterator[Any]:
    """Yield every facet that `event` sets, and the fact that it is one of a ticket's."""
    data = event.data
    match data:
        case TicketData():
            yield _fact(event)
            yield from _project_ticket(event)
        case SlaPolicyPublished():
            yield PolicyDocument(data.version, msgspec.to_builtins(data.targets))
        case SlaCalendarPublished():
            yield CalendarDocument(data.version, msgspec.to_builtins(data))
        case _:
            yield from _project_service(event)


def _fact(event: Recorded) -> History | Said:
    data = event.data
    if isinstance(data, TicketCommented):
        kind = message_of(data)
        return Said(event.writer, event.sequence, event.type, kind, event.time, event.value)
    return History.of(event)


def _project_ticket(event: Recorded) -> Iterator[Any]:
    data = event.data
    match data:
        case ClockData():
            yield from _project_clock(data)  # pyright: ignore[reportArgumentType] all its kinds are ClockEvent
        case TicketCreated():
            requester = data.requester
            yield Record(
                number=data.number,
                ticket_kind=data.kind,
                customer=requester.customer,
                site=requester.site,
                created_at=event.time,
                requester_id=person(requester.id),
            )
            yield Details(data.title, data.category, data.service)
            yield Closure(is_over=False)
        case TicketUpdated():
            yield Details(data.title, data.category, data.service)
        case TicketReopened():
            yield Closure(is_over=False)
        case TicketMerged():
            yield Closure(is_over=True)
            yield Merger(data.into)
        case TicketClosed() | TicketCancelled():
            yield Closure(is_over=True)
        case TicketPrioritized():
            yield Rank(data.priority)
        case TicketAssigned():
            yield Holder(data.group)
        case _:
            return


def _project_service(event: Recorded) -> Iterator[Any]:
    data = event.data
    match data:
        case OutageRecorded():
            yield Outage(
                service=data.service,
                started_at=data.started_at,
                ended_at=data.ended_at,
                source=data.source,
                ticket_id=data.ticket_id,
                is_withdrawn=data.is_withdrawn,
            )
        case MaintenanceScheduled():
            yield Maintenance(data.service, data.starts_at, data.ends_at, data.is_cancelled)
        case AvailabilityPromised():
            yield PromisedAvailability(event.sequence, event.time, data.share_min, data.calendar)
        case AgreementPublished():
            yield AgreementDocument(data.version, msgspec.to_builtins(data))
        case AgreementSigned():
            signature = _SIGNATURES[data.party]
            yield signature(data.version, data.signatory, event.time)
        case SlaRemedyDue():
            yield Remedy(data.period_start, data.revision, msgspec.to_builtins(data))
        case _:
            return


def _project_clock(data: ClockEvent) -> Iterator[Any]:
    key = (data.target, data.cycle, data.generation)
    match data:
        case SlaStarted():
            yield Promise(
                *key,
                kind=data.kind,
                started_at=data.started_at,
                promised_at=data.due_at,
                goal=msgspec.to_builtins(data.goal),
                calendar=data.calendar,
                policy_id=data.policy_id,
                policy_version=data.policy_version,
            )
            yield Course(*key, is_paused=False, due_at=data.due_at, pause_reason=None)
            yield Outcome(*key, None, None, None)
        case SlaWarned():
            yield Warned(*key, msgspec.to_builtins(data.rule))
        case SlaMet() | SlaMissed():
            yield Outcome(*key, _OUTCOMES[type(data)], data.stopped_at, data.source_system)
        case SlaBreached():
            yield Breach(*key, data.due_at)
        case SlaCancelled():
            yield Outcome(*key, "cancelled", None, None)
        case SlaPaused():
            yield Course(*key, is_paused=True, due_at=None, pause_reason=data.reason)
        case SlaResumed():
            yield Course(*key, is_paused=False, due_at=data.due_at, pause_reason=None)
        case SlaBreachRetracted():
            yield Breach(*key, None)
        case _:
            assert_never(data)


READ_MODEL: Final = ReadModel(TABLES, project, VIEWS, version=3)
