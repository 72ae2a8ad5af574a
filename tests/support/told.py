"""Random tickets told event by event to a log, and a read model that follows it, at any pace."""

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import msgspec

from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketRated,
    TicketReopened,
    TicketResolved,
)
from shared.contracts.registry import TOPICS, decode_record, writer_of
from shared.contracts.routing import TicketAssigned, TicketPrioritized
from shared.contracts.sla import SlaMet, SlaMissed
from shared.ids import event_id
from shared.log.embedded import EmbeddedLog
from shared.log.port import Outgoing, Record, TopicPartition
from shared.postgres.pool import Connection, Pool
from shared.replay.rebuild import read_log
from shared.runtime.read_model import Fold, ReadModel, write
from support.histories import created

START = datetime(2025, 1, 30, 21, 7, tzinfo=UTC)
LINEAGE = Lineage(actor="test", correlation_id="test")


@dataclass
class Story:
    """Tickets of two years to which things happen; each has its writers' sequences."""

    chance: Random
    born: dict[UUID, datetime] = field(default_factory=dict[UUID, datetime])
    sequences: defaultdict[tuple[str, str], int] = field(
        default_factory=lambda: defaultdict[tuple[str, str], int](int)
    )

    def goes_on(self, tickets: int, events: int) -> list[Outgoing]:
        """Return what so many new tickets and so many further events make, in the log's order."""
        told: list[Outgoing] = []
        for _ in range(tickets):
            ticket_id = UUID(int=len(self.born) + 1)
            at = START + timedelta(days=self.chance.choice([1, 60, 700]) * self.chance.random())
            self.born[ticket_id] = at
            category = self.chance.choice([None, "mail", "vpn"])
            told.append(
                self.say(msgspec.structs.replace(created(ticket_id), category=category), at)
            )
        for _ in range(events):
            ticket_id, at = self.chance.choice(list(self.born.items()))
            later = at + timedelta(hours=2 ** (12 * self.chance.random()))
            told.append(self.say(self._anything(ticket_id), later))
        return told

    def say(self, data: EventData, at: datetime) -> Outgoing:
        """Return the event as the next of its writer's stream."""
        writer, stream = writer_of(data.TYPE), data.stream_id
        self.sequences[writer, stream] += 1
        sequence = self.sequences[writer, stream]
        value = encode_event(
            writer,
            data,
            sequence=sequence,
            event_id=event_id(writer, stream, sequence),
            time=at,
            recorded_at=at,
            lineage=LINEAGE,
        )
        return Outgoing(data.TYPE, stream.encode(), value)

    def _anything(self, ticket_id: UUID) -> EventData:
        chance = self.chance
        count = chance.randrange(4)
        at = START + timedelta(days=chance.randrange(800))
        clock = {"ticket_id": ticket_id, "target": chance.choice(["response", "resolution"])}
        ended = {"stopped_at": at, "due_at": at, "elapsed_seconds": 60}
        return chance.choice(
            [
                lambda: TicketPrioritized(
                    ticket_id=ticket_id,
                    priority=chance.choice(["P1", "P2", "P3", "P4"]),
                    impact="low",
                    urgency="high",
                    reasons=(),
                    policy_version=1,
                ),
                lambda: TicketAssigned(
                    ticket_id=ticket_id,
                    group=f"group-{count}",
                    agent_id=None,
                    line=1,
                    reassignment_count=count,
                    reasons=(),
                ),
                lambda: TicketResolved(ticket_id=ticket_id, resolved_by="bo", resolution="done"),
                lambda: TicketClosed(
                    ticket_id=ticket_id,
                    closed_by="ann",
                    code="solved",
                    resolved_at=self.born[ticket_id] + timedelta(hours=3 ** chance.randrange(8)),
                    reopen_count=count,
                ),
                lambda: TicketReopened(
                    ticket_id=ticket_id, reopened_by="ann", reason="no", reopen_count=count
                ),
                lambda: TicketCancelled(ticket_id=ticket_id, cancelled_by="ann", reason="none"),
                lambda: TicketRated(ticket_id=ticket_id, rated_by="ann", score=1 + count),
                lambda: TicketCommented(
                    ticket_id=ticket_id,
                    comment_id=UUID(int=chance.getrandbits(100)),
                    author_id="bo",
                    author_role="agent",
                    visibility="public",
                    text="hello",
                ),
                lambda: SlaMet(**clock, **ended),
                lambda: SlaMissed(**clock, **ended),
            ]
        )()


@dataclass
class Follower:
    """A read model that reads a log: a few records per transaction, topics in any order."""

    model: ReadModel
    log: EmbeddedLog
    pool: Pool
    chance: Random
    positions: dict[TopicPartition, int] = field(default_factory=dict[TopicPartition, int])

    async def hear(self, told: list[Outgoing]) -> None:
        """Have the events written to the log and applied."""
        await self.log.writer("test").send(told)
        ends = await self.log.end_offsets(TOPICS)
        waiting: defaultdict[TopicPartition, deque[Record]] = defaultdict(deque)
        async for records in read_log(self.log, self.positions, ends):
            for record in records:
                waiting[TopicPartition(record.topic, record.partition)].append(record)
        while any(waiting.values()):
            batch: list[Record] = []
            for _ in range(self.chance.randrange(1, 20)):
                places = [place for place, records in waiting.items() if records]
                if places:
                    batch.append(waiting[self.chance.choice(places)].popleft())
            async with self.pool.acquire() as connection, connection.transaction():
                await self.apply(connection, batch)
        self.positions = {**self.positions, **ends}

    async def apply(self, connection: Connection, records: list[Record]) -> None:
        """Write what the records make, and move the offsets."""
        fold = Fold(self.model)
        for record in records:
            fold.add(decode_record(record))
        await write(connection, self.model, fold, "read")
        await connection.executemany(
            "INSERT INTO kernel.consumer_offset AS o VALUES ($1, $2, $3)"
            " ON CONFLICT (topic, partition)"
            " DO UPDATE SET next_offset = greatest(o.next_offset, EXCLUDED.next_offset)",
            [(record.topic, record.partition, record.offset + 1) for record in records],
        )
