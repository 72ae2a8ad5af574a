"""I1–I6 on a world at rest; each broken one is a sentence."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from uuid import UUID

from shared.contracts.intake import TicketCreated, TicketResolved
from shared.contracts.registry import Recorded, decode_record
from shared.runtime.read_model import Fold
from shared.runtime.timers import GRACE
from simulation.rules import DUE, MODEL
from simulation.world import START, World


def broken(world: World) -> list[str]:
    """Return what does not hold."""
    events = [
        (decode_record(record), record.timestamp_ms)
        for held in world.log.records.values()
        for record in held
    ]
    logged = [event for event, _ in events]
    return [
        *(f"a task died: {fault}" for fault in world.faults),
        *_acknowledged(world, logged),
        *_dense(world, logged),
        *_live_is_replay(world, logged),
        *_offsets(world),
        *_clocks(events),
        *_outboxes(world),
    ]


def _acknowledged(world: World, logged: list[Recorded]) -> list[str]:
    counts = Counter((type_, stream) for type_, stream, _ in _distinct(logged))
    return [
        f"I1: {what} was acknowledged and is {counts[what]} times in the log"
        for what in sorted(world.acknowledged)
        if counts[what] != 1
    ]


def _distinct(logged: Iterable[Recorded]) -> set[tuple[str, str, str]]:
    """Return events by id: a re-send is the same event."""
    return {(event.type, event.stream_id, event.event_id) for event in logged}


def _dense(world: World, logged: list[Recorded]) -> list[str]:
    found: defaultdict[tuple[str, str], dict[int, set[bytes]]] = defaultdict(dict)
    for event in logged:
        found[event.writer, event.stream_id].setdefault(event.sequence, set()).add(event.value)
    wrong = [
        f"I2: {stream} has sequences {sorted(there)} in the log"
        for stream, there in found.items()
        if sorted(there) != list(range(1, len(there) + 1))
        or any(len(values) > 1 for values in there.values())
    ]
    for writer, store in (("intake", world.intake), ("sla", world.sla)):
        for stream, sequence in store.rows("journal"):
            if sequence not in found[writer, stream]:
                wrong.append(f"I2: {writer} {stream} {sequence} is in the journal only")
    return wrong


def _live_is_replay(world: World, logged: list[Recorded]) -> list[str]:
    fold = Fold(MODEL)
    for event in logged:
        fold.add(event)
    wrong: list[str] = []
    for table in MODEL.tables:
        names = [column.name for column in table.columns]
        replayed = {
            tuple(map(str, row[: len(table.key)])): dict(zip(names, row, strict=True))
            for row in fold.rows(table)
        }
        live = {
            key: {name: row.get(name) for name in names}
            for key, row in world.sla.rows(table.name).items()
        }
        if live != replayed:
            wrong.append(f"I3: {table.name} is {live}, replayed {replayed}")
    return wrong


def _offsets(world: World) -> list[str]:
    """The offset is at the end, and each record before it was applied by one transaction."""
    read, kept = world.sla.rows("offset"), world.sla.rows("archive")
    wrong: list[str] = []
    for place, held in world.log.records.items():
        counts = [kept.get((*place, offset), 0) for offset in range(len(held))]
        if read.get(tuple(place), 0) != len(held):
            wrong.append(f"I4: sla is at {read.get(tuple(place), 0)} of {len(held)} in {place}")
        if set(counts) - {1}:
            wrong.append(f"I4: the records of {place} were applied {counts} times")
    return wrong


def _clocks(events: list[tuple[Recorded, int]]) -> list[str]:
    """A breach for every ticket not resolved in time; none if the log said so before it was due."""
    wrong: list[str] = []
    born = {e.stream_id: e.time for e, _ in events if isinstance(e.data, TicketCreated)}
    counts = Counter((kind, stream) for kind, stream, _ in _distinct(e for e, _ in events))
    for ticket, at in born.items():
        due = at + DUE
        heard = [
            stamp
            for e, stamp in events
            if e.stream_id == ticket and isinstance(e.data, TicketResolved) and e.time <= due
        ]
        due_ms = (due + GRACE - START).total_seconds() * 1000
        if counts["sla.started", ticket] != 1:
            wrong.append(f"I5: the clock of {UUID(ticket).int} was started more or less than once")
        breaches = counts["sla.breached", ticket]
        if breaches > 1:
            wrong.append(f"I5: {UUID(ticket).int} was breached {breaches} times")
        if not heard and not breaches:
            wrong.append(f"I5: {UUID(ticket).int} was due and never breached")
        if heard and min(heard) < due_ms and breaches:
            wrong.append(f"I5: {UUID(ticket).int} was breached, though the log knew better in time")
    return wrong


def _outboxes(world: World) -> list[str]:
    return [
        f"I6: {name} has {len(store.rows('outbox'))} rows in its outbox"
        for name, store in (("intake", world.intake), ("sla", world.sla))
        if store.rows("outbox")
    ]
