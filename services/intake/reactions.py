"""What intake decides on what it reads: reports become tickets, links are noted, news goes out."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, cast
from uuid import UUID

from services.intake.domain.commands import CreateTicket, LinkTicket, TicketCommand
from services.intake.domain.record import (
    RecordRules,
    Submission,
    accept,
    event_origin,
    is_ownable,
    numbered,
    require_unclaimed,
    require_whole,
)
from services.intake.domain.ticket import Ticket
from services.intake.handlers import DECIDER, pass_given, reporters
from services.intake.queries import claims
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCreated, TicketMerged, TicketReported, TicketResolved
from shared.contracts.limits import require_within
from shared.contracts.registry import Recorded
from shared.contracts.routing import TicketEscalated
from shared.errors import DeskError
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


def make_react(rules: RecordRules, notify_url: str | None) -> React:
    """Return intake's reaction; escalations and solutions are posted to `notify_url`, if any."""

    async def react(batch: Batch, unit: Unit) -> None:
        await pass_given(unit.connection, [event.data for event in batch.events])
        await _decide(batch, unit, rules)
        if notify_url is not None:
            for event in batch.events:
                if isinstance(event.data, TicketEscalated | TicketResolved):
                    unit.deliver(_notice(event, notify_url))

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

    def ticket(self, ticket_id: UUID) -> Ticket:
        """Return a ticket as it stands by now."""
        return self.states[str(ticket_id)].state

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


class _Opening(NamedTuple):
    """A report that can become a ticket, as far as it can be told without other tickets."""

    inbound: Inbound
    submission: Submission
    command: CreateTicket

    @property
    def needs(self) -> Iterator[tuple[UUID, list[TicketCommand]]]:
        """The tickets it is decided by, with what is asked of them."""
        yield self.submission.ticket_id, []
        if self.submission.record.split_from is not None:
            yield self.submission.record.split_from, []


class _Linking(NamedTuple):
    """Something to note on a ticket that another one was merged into, or split off from."""

    event: Recorded
    command: LinkTicket

    @property
    def needs(self) -> Iterator[tuple[UUID, list[TicketCommand]]]:
        """The ticket it is decided by, with what is asked of it."""
        yield self.command.ticket_id, [self.command]


async def _decide(batch: Batch, unit: Unit, rules: RecordRules) -> None:
    """Make tickets of reports; note on a ticket what was merged into it or split off from it."""
    wanted = [one for told in batch.in_order() if (one := _wanted(told, unit, rules)) is not None]
    if not wanted:
        return
    asked: dict[str, list[TicketCommand]] = {}
    for ticket_id, commands in (need for one in wanted for need in one.needs):
        asked.setdefault(str(ticket_id), []).extend(commands)
    openings = [one for one in wanted if isinstance(one, _Opening)]
    await _reserve({one.inbound.envelope.source for one in openings}, unit)
    wholes = {str(whole) for one in openings if (whole := one.submission.record.split_from)}
    known = await reporters(unit.journal, unit.connection, wholes) if wholes else {}
    streams = _Streams(unit, await read_states(unit.connection, DECIDER, asked), known)
    count = len(openings)
    numbers = iter(await draw(unit.connection, count) if count else ())
    for one in wanted:
        if isinstance(one, _Opening):
            _open(one, next(numbers), streams)
        elif streams.ticket(one.command.ticket_id).created is not None:
            streams.decide(one.command, one.event.time, lineage_after(one.event, _WRITER))
        # else it was split from a ticket that this desk did not have then


async def _reserve(sources: Collection[str], unit: Unit) -> None:
    """Keep the sources of the log for nobody, so that no system comes by one over HTTP."""
    fresh = [(source, "") for source in sorted(sources) if is_ownable(source)]
    if fresh:
        await unit.connection.executemany(claims.CLAIM_SOURCE, fresh)


def _wanted(told: Recorded | Inbound, unit: Unit, rules: RecordRules) -> _Opening | _Linking | None:
    """Return what is called for; a report that breaks a rule is parked, and costs no number."""
    if not isinstance(told, Inbound):
        link = _link_of(told)
        return None if link is None else _Linking(told, link)
    try:
        refuse_repeated_keys(told.record.value or b"")
        require_within(told.envelope)
        require_within(told.data)
        submission = _submission(told, unit.now)
        named = reported_ticket_id(told.envelope.source, told.envelope.id)
        require_unclaimed(submission.record.ticket_id, named, "/data/ticket_id")
        return _Opening(told, submission, accept(submission, rules))
    except DeskError as error:
        _park(told, error, unit)
        return None


def _open(opening: _Opening, number: int, streams: _Streams) -> None:
    """Make the ticket; a system splits off only from what it reported itself."""
    inbound, submission, command = opening
    record = submission.record
    try:
        if record.split_from is not None:
            reporter = streams.reporters.get(str(record.split_from))
            is_theirs = is_same(reporter, inbound.envelope.source)
            require_whole(record, streams.ticket(record.split_from), is_theirs=is_theirs)
        streams.decide(numbered(command, number), submission.reported_at, submission.lineage)
    except DeskError as error:
        _park(inbound, error, streams.unit)


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


def _submission(inbound: Inbound, at: datetime) -> Submission:
    envelope, record = inbound.envelope, cast("TicketReported", inbound.data)
    position = TraceContext.parse(envelope.traceparent)
    return Submission(
        ticket_id=record.ticket_id or reported_ticket_id(envelope.source, envelope.id),
        record=record,
        reported_at=at,
        origin=event_origin(envelope.source, envelope.id),
        lineage=Lineage(
            actor=envelope.source,
            correlation_id=envelope.correlationid or envelope.id,
            causation_id=envelope.id,
            traceparent=position and position.traceparent,
        ),
    )
