"""What intake does of its own accord: reports from the log become tickets, news goes out."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from services.intake.domain.commands import LinkTicket, TicketCommand
from services.intake.domain.record import accept, is_ownable, number_of, require_unclaimed
from services.intake.domain.ticket import Ticket
from services.intake.handlers import DECIDER, pass_given, reporters
from services.intake.queries import CLAIM_SOURCE
from services.intake.settings import IntakeSettings
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCreated, TicketMerged, TicketResolved
from shared.contracts.limits import require_within
from shared.contracts.registry import Recorded
from shared.contracts.routing import TicketEscalated
from shared.errors import DeskError, InvalidInputError
from shared.ids import decision_id, reported_ticket_id
from shared.journal.handler import State, read_states
from shared.journal.journal import Draft
from shared.people import is_same
from shared.repeated_keys import refuse_repeated_keys
from shared.runtime.consumer import React
from shared.runtime.numbers import draw
from shared.runtime.quarantine import Parked
from shared.runtime.unit import Batch, Inbound, Outbound, Unit, lineage_after
from shared.telemetry.context import TraceContext

_WRITER: Final = "intake"


def make_react(settings: IntakeSettings) -> React:
    """Return intake's reaction."""

    async def react(batch: Batch, unit: Unit) -> None:
        await pass_given(unit.connection, [event.data for event in batch.events])
        await _decide(batch, unit, settings)
        if settings.notify_url is not None:
            for event in batch.events:
                if isinstance(event.data, TicketEscalated | TicketResolved):
                    unit.deliver(_notice(event, settings.notify_url))

    return react


def _notice(event: Recorded, url: str) -> Outbound:
    notice = decision_id(event.event_id, "notify")
    stream_id = f"{event.writer}/{event.stream_id}"
    return Outbound(notice, url, event.value, stream_id, event.sequence)


@dataclass
class _Streams:
    """Tickets as everything of a batch before left them, so that batches make no difference."""

    unit: Unit
    states: dict[str, State[Ticket]]
    reporters: dict[str, str]

    def decide(self, command: TicketCommand, at: datetime, lineage: Lineage) -> None:
        """Append what a command comes to. Raises: DeskError of a command that is refused."""
        stream_id = str(command.ticket_id)
        ticket, sequence = self.states[stream_id]
        events = DECIDER.decide(command, ticket)
        drafts = [Draft(event, at) for event in events]
        self.unit.append(stream_id, sequence, drafts, lineage)
        if ticket.created is None:
            self.reporters[stream_id] = lineage.actor
        for event in events:
            ticket = DECIDER.evolve(ticket, event, at)
        self.states[stream_id] = State(ticket, sequence + len(drafts))


async def _decide(batch: Batch, unit: Unit, settings: IntakeSettings) -> None:
    """Make tickets of reports; note on a ticket what was merged into it or split off from it."""
    wanted: dict[str, list[TicketCommand]] = {
        str(_ticket_id(inbound)): [] for inbound in batch.reports
    }
    wholes = {str(one.report.split_from) for one in batch.reports if one.report.split_from}
    for whole in wholes:
        wanted.setdefault(whole, [])
    for event in batch.events:
        if link := _link_of(event):
            wanted.setdefault(str(link.ticket_id), []).append(link)
    if not wanted:
        return
    states = await read_states(unit.connection, DECIDER, wanted)
    known = await reporters(unit.journal, unit.connection, wholes) if wholes else {}
    streams = _Streams(unit, states, known)
    accepted = [told for told in batch.in_order() if _stands(told, unit, settings)]
    await _reserve({one.envelope.source for one in accepted if isinstance(one, Inbound)}, unit)
    numbers = iter(await _draw_for(accepted, unit))
    for told in accepted:
        if isinstance(told, Inbound):
            _open(told, next(numbers), streams, settings)
        elif link := _link_of(told):
            if streams.states[str(link.ticket_id)].state.created is None:
                continue  # split from a ticket that this desk did not have then
            streams.decide(link, told.time, lineage_after(told, _WRITER))


async def _reserve(sources: Collection[str], unit: Unit) -> None:
    """Keep the sources of the log for nobody, so that no system comes by one over HTTP."""
    fresh = [(source, "") for source in sorted(sources) if is_ownable(source)]
    if fresh:
        await unit.connection.executemany(CLAIM_SOURCE, fresh)


async def _draw_for(accepted: Sequence[Recorded | Inbound], unit: Unit) -> Sequence[int]:
    count = sum(isinstance(told, Inbound) for told in accepted)
    return await draw(unit.connection, count) if count else ()


def _stands(told: Recorded | Inbound, unit: Unit, settings: IntakeSettings) -> bool:
    """Say whether what was told can be acted on; a report that breaks a rule is parked.

    It is asked before numbers are drawn, so that what is refused costs none.
    """
    if not isinstance(told, Inbound):
        return True
    try:
        refuse_repeated_keys(told.record.value or b"")
        require_within(told.envelope)
        require_within(told.report)
        named = reported_ticket_id(told.envelope.source, told.envelope.id)
        require_unclaimed(told.report.ticket_id, named, "/data/ticket_id")
        _accept(told, 0, unit, settings)
    except DeskError as error:
        _park(told, error, unit)
        return False
    return True


def _open(inbound: Inbound, number: int, streams: _Streams, settings: IntakeSettings) -> None:
    unit = streams.unit
    try:
        _require_whole(inbound, streams)
        streams.decide(_accept(inbound, number, unit, settings), unit.now, _lineage(inbound))
    except DeskError as error:
        _park(inbound, error, unit)


def _require_whole(inbound: Inbound, streams: _Streams) -> None:
    """Raise InvalidInputError where a system splits off from what it did not report itself."""
    whole = inbound.report.split_from
    if whole is None:
        return
    if not is_same(streams.reporters.get(str(whole)), inbound.envelope.source):
        raise InvalidInputError(f"no ticket {whole}", field="/data/split_from")


def _accept(inbound: Inbound, number: int, unit: Unit, settings: IntakeSettings) -> TicketCommand:
    return accept(
        inbound.report,
        ticket_id=_ticket_id(inbound),
        number=number_of(inbound.report.kind, number),
        reported_at=unit.now,
        origin=f"{inbound.envelope.source}#{inbound.envelope.id}",
        skew_seconds_max=settings.skew_seconds_max,
        categories=settings.categories,
    )


def _park(inbound: Inbound, error: DeskError, unit: Unit) -> None:
    unit.parked.append(Parked(inbound.record, type(error).__name__, error.detail))


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
    position = TraceContext.parse(envelope.traceparent)
    return Lineage(
        actor=envelope.source,
        correlation_id=envelope.correlationid or envelope.id,
        causation_id=envelope.id,
        traceparent=position and position.traceparent,
    )
