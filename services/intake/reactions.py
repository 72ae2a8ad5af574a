"""What intake does of its own accord: reports from the log become tickets, news goes out."""

from typing import Final
from uuid import UUID

from services.intake.domain.commands import LinkTicket
from services.intake.domain.record import accept, number_of
from services.intake.handlers import DECIDER, pass_given
from services.intake.settings import IntakeSettings
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCreated, TicketMerged, TicketResolved
from shared.contracts.registry import Recorded
from shared.contracts.routing import TicketEscalated
from shared.errors import DeskError
from shared.ids import decision_id, reported_ticket_id
from shared.journal.handler import State, read_states
from shared.journal.journal import Draft
from shared.runtime.consumer import React
from shared.runtime.numbers import draw
from shared.runtime.quarantine import Parked
from shared.runtime.unit import Batch, Inbound, Outbound, Unit, lineage_after

_WRITER: Final = "intake"


def make_react(settings: IntakeSettings) -> React:
    """Return intake's reaction."""

    async def react(batch: Batch, unit: Unit) -> None:
        await pass_given(unit.connection, [event.data for event in batch.events])
        if batch.reports:
            await _open_tickets(batch, unit, settings)
        await _link(batch, unit)
        if settings.notify_url is not None:
            for event in batch.events:
                if isinstance(event.data, TicketEscalated | TicketResolved):
                    unit.deliver(_notice(event, settings.notify_url))

    return react


def _notice(event: Recorded, url: str) -> Outbound:
    notice = decision_id(event.event_id, "notify")
    stream_id = f"{event.writer}/{event.stream_id}"
    return Outbound(notice, url, event.value, stream_id, event.sequence)


async def _open_tickets(batch: Batch, unit: Unit, settings: IntakeSettings) -> None:
    """Open tickets; each report meets what those before it came to, as if it had come alone."""
    tickets = {str(_ticket_id(inbound)) for inbound in batch.reports}
    states = await read_states(unit.connection, DECIDER, dict.fromkeys(tickets, ()))
    numbers = await draw(unit.connection, len(batch.reports))
    for inbound, number in zip(batch.reports, numbers, strict=True):
        ticket_id = _ticket_id(inbound)
        stream_id = str(ticket_id)
        ticket, sequence = states[stream_id]
        try:
            command = accept(
                inbound.report,
                ticket_id=ticket_id,
                number=number_of(inbound.report.kind, number),
                reported_at=unit.now,
                origin=f"{inbound.envelope.source}#{inbound.envelope.id}",
                skew_seconds_max=settings.skew_seconds_max,
                categories=settings.categories,
            )
            events = DECIDER.decide(command, ticket)
        except DeskError as error:
            unit.parked.append(Parked(inbound.record, type(error).__name__, error.detail))
            continue
        drafts = [Draft(event, unit.now) for event in events]
        unit.append(stream_id, sequence, drafts, _lineage(inbound))
        for event in events:
            ticket = DECIDER.evolve(ticket, event, unit.now)
        states[stream_id] = State(ticket, sequence + len(drafts))


async def _link(batch: Batch, unit: Unit) -> None:
    """Note on a ticket what was merged into it or split off from it."""
    links: dict[str, list[tuple[LinkTicket, Recorded]]] = {}
    for event in batch.events:
        link = _link_of(event)
        if link is not None:
            links.setdefault(str(link.ticket_id), []).append((link, event))
    if not links:
        return
    asked = {stream_id: [link for link, _ in wanted] for stream_id, wanted in links.items()}
    states = await read_states(unit.connection, DECIDER, asked)
    for stream_id, wanted in links.items():
        ticket, sequence = states[stream_id]
        if ticket.created is None:
            continue  # split from a ticket that this desk never had
        for link, cause in wanted:
            events = DECIDER.decide(link, ticket)
            drafts = [Draft(event, cause.time) for event in events]
            unit.append(stream_id, sequence, drafts, lineage_after(cause, _WRITER))
            sequence += len(drafts)
            for event in events:
                ticket = DECIDER.evolve(ticket, event, cause.time)


def _link_of(event: Recorded) -> LinkTicket | None:
    match event.data:
        case TicketMerged(ticket_id=merged, into=survivor):
            return LinkTicket(survivor, merged, "merged_in")
        case TicketCreated(ticket_id=part, split_from=UUID() as whole):
            return LinkTicket(whole, part, "split_off")
        case _:
            return None


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
