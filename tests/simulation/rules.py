"""What the simulated desk decides and keeps: small rules over the real event contracts.

Intake's tickets carry no rules. Sla starts a clock for each, and breaches it when it is due unless
the ticket was resolved in time. The read model takes one facet from three topics of one writer, so
that a fold which trusted the order of arrival would show.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from support.memory_store import MemoryStore, Row, Transaction

from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.intake import TicketCreated, TicketResolved, TicketStarted
from shared.contracts.promises import Goal
from shared.contracts.registry import Recorded
from shared.contracts.sla import SlaBreached, SlaStarted
from shared.journal.handler import Decider
from shared.journal.journal import Draft
from shared.journal.snapshots import Compaction
from shared.log.port import Record
from shared.runtime.quarantine import Parked
from shared.runtime.read_model import HISTORY, Facet, History, ReadModel, Table, read_histories
from shared.runtime.unit import Batch, Timer, Unit, lineage_after

DUE = timedelta(seconds=2)
TOPICS = ("ticket.created", "ticket.started", "ticket.resolved", "sla.started", "sla.breached")
KEEP = "keep each record, and count how often it is kept"


class Birth(Facet, frozen=True):
    title: str


class Progress(Facet, frozen=True):
    status: str


_STATUS = {TicketCreated: "new", TicketStarted: "in_progress", TicketResolved: "resolved"}


def project(event: Recorded) -> Any:
    """Facets of one writer from three topics: arrival order would show."""
    yield History.of(event)
    if isinstance(event.data, TicketCreated):
        yield Birth(event.data.title)
    if type(event.data) in _STATUS:
        yield Progress(_STATUS[type(event.data)])


MODEL = ReadModel((Table("ticket", {"ticket_id": UUID}, (Birth, Progress)), HISTORY), project)


@dataclass(frozen=True)
class Do:
    """A command: the event that shall be there afterwards."""

    event: EventData


def decide(command: Do, there: frozenset[str]) -> list[EventData]:
    return [] if command.event.TYPE in there else [command.event]


DECIDER = Decider[Do, frozenset[str]](
    frozenset(), decide, lambda s, e, _: s | {e.TYPE}, Compaction[Do](tail_max=1)
)


async def keep(connection: Any, records: Sequence[Record]) -> list[Parked]:
    """Archive each record in the transaction that moves past it, as reporting does."""
    await connection.execute(KEEP, records)
    return []


async def keep_rows(_: MemoryStore, tx: Transaction, records: Sequence[Record]) -> list[Row]:
    """Carry out `KEEP`."""
    for record in records:
        place = (record.topic, record.partition, record.offset)
        await tx.lock("archive", place)
        tx.put("archive", place, (tx.get("archive", place) or 0) + 1)
    return []


async def react(batch: Batch, unit: Unit) -> None:
    """Start a clock for each ticket, once; arm or disarm its timer."""
    causes = {event.stream_id: event for event in batch.events if event.writer == "intake"}
    if not causes:
        return
    histories = await read_histories(unit.connection, causes)
    journals = await unit.journal.read(unit.connection, causes)
    for ticket, cause in causes.items():
        facts, own = histories[ticket], journals[ticket]
        born = next((fact for fact in facts if isinstance(fact.data, TicketCreated)), None)
        if born is None:
            continue
        due = born.time + DUE
        if not own:
            started = SlaStarted(
                ticket_id=UUID(ticket),
                target="resolution",
                started_at=born.time,
                due_at=due,
                goal=Goal(working_seconds=2),
                calendar="24x7",
                policy_id="standard",
                policy_version=1,
            )
            unit.append(ticket, 0, [Draft(started, born.time)], lineage_after(cause, "sla"))
        is_settled = _is_kept(facts, due) or any(e.type == "sla.breached" for e in own)
        unit.set_timers(ticket, [] if is_settled else [Timer(ticket, "breach", due)])


async def on_due(due: Sequence[Timer], unit: Unit) -> None:
    """Breach what is due and was not resolved in time, as far as is known."""
    streams = {timer.stream_id: timer for timer in due}
    histories = await read_histories(unit.connection, streams)
    journals = await unit.journal.read(unit.connection, streams)
    for ticket, timer in streams.items():
        own = journals[ticket]
        if _is_kept(histories[ticket], timer.due_at) or any(e.type == "sla.breached" for e in own):
            continue
        breached = SlaBreached(ticket_id=UUID(ticket), target="resolution", due_at=timer.due_at)
        lineage = Lineage(actor="sla", correlation_id=ticket)
        unit.append(ticket, len(own), [Draft(breached, timer.due_at)], lineage)


def _is_kept(facts: Sequence[Recorded], due: datetime) -> bool:
    return any(isinstance(fact.data, TicketResolved) and fact.time <= due for fact in facts)
