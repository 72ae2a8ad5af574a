"""What intake does of its own accord: reports from the log become tickets, news goes out."""

from uuid import UUID

from services.intake.domain.record import accept, number_of
from services.intake.handlers import DECIDER
from services.intake.settings import IntakeSettings
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketResolved
from shared.contracts.routing import TicketEscalated
from shared.errors import DeskError
from shared.ids import decision_id, reported_ticket_id
from shared.journal.journal import Draft
from shared.runtime.consumer import React
from shared.runtime.quarantine import Parked
from shared.runtime.unit import Batch, Inbound, Unit


def make_react(settings: IntakeSettings) -> React:
    """Return intake's reaction."""

    async def react(batch: Batch, unit: Unit) -> None:
        if batch.reports:
            await _open_tickets(batch, unit, settings)
        if settings.notify_url is not None:
            for event in batch.events:
                if isinstance(event.data, TicketEscalated | TicketResolved):
                    unit.deliver(
                        decision_id(event.event_id, "notify"), settings.notify_url, event.value
                    )

    return react


async def _open_tickets(batch: Batch, unit: Unit, settings: IntakeSettings) -> None:
    streams = {str(_ticket_id(inbound)): inbound for inbound in reversed(batch.reports)}
    journals = await unit.journal.read(unit.connection, streams)
    numbers = await unit.connection.fetch(
        "SELECT nextval('kernel.number') FROM generate_series(1, $1)", len(streams)
    )
    for inbound, row in zip(reversed(streams.values()), numbers, strict=True):
        ticket_id = _ticket_id(inbound)
        known = journals[str(ticket_id)]
        origin = f"{inbound.envelope.source}#{inbound.envelope.id}"
        try:
            command = accept(
                inbound.report,
                ticket_id=ticket_id,
                number=number_of(inbound.report.kind, row[0]),
                reported_at=unit.now,
                origin=origin,
                skew_seconds_max=settings.skew_seconds_max,
                categories=settings.categories,
            )
            events = DECIDER.decide(command, DECIDER.fold(known))
        except DeskError as error:
            unit.parked.append(Parked(inbound.record, type(error).__name__, error.detail))
            continue
        drafts = [Draft(event, unit.now) for event in events]
        unit.append(str(ticket_id), len(known), drafts, _lineage(inbound))


def _ticket_id(inbound: Inbound) -> UUID:
    return inbound.report.ticket_id or reported_ticket_id(
        inbound.envelope.source, inbound.envelope.id
    )


def _lineage(inbound: Inbound) -> Lineage:
    envelope = inbound.envelope
    return Lineage(
        actor=envelope.source,
        correlation_id=envelope.correlationid or envelope.id,
        causation_id=envelope.id,
        traceparent=envelope.traceparent,
    )
