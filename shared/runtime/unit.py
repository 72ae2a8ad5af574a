"""The unit of work of a reaction: what it decides is written with the offsets that caused it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID

import msgspec

from shared.contracts.base import EventData
from shared.contracts.envelope import Envelope, Lineage
from shared.contracts.registry import Recorded
from shared.contracts.sendable import UnsendableError
from shared.journal.journal import Append, Draft, Journal
from shared.log.port import Record
from shared.postgres.pool import Connection
from shared.runtime.quarantine import Parked
from shared.runtime.weather import MovedOnError

IN_NO_HURRY: Final = "SET LOCAL synchronous_commit TO off"
DISARM: Final = """
WITH judged_anew AS (DELETE FROM kernel.parked_timer WHERE stream_id = ANY($1::text[]))
DELETE FROM kernel.timer t WHERE stream_id = ANY($1::text[]) AND NOT EXISTS (
    SELECT FROM unnest($2::text[], $3::text[]) k(s, n) WHERE k.s = t.stream_id AND k.n = t.name
)
"""
_ARM: Final = """
INSERT INTO kernel.timer (stream_id, name, due_at, armed_at)
SELECT *, $4::timestamptz FROM unnest($1::text[], $2::text[], $3::timestamptz[])
ON CONFLICT (stream_id, name) DO UPDATE SET due_at = EXCLUDED.due_at, armed_at = EXCLUDED.armed_at
"""
_DELIVER: Final = """
INSERT INTO kernel.delivery (id, target, body, stream_id, sequence, next_at, since)
SELECT *, $6::timestamptz, $6 FROM
    unnest($1::uuid[], $2::text[], $3::bytea[], $4::text[], $5::bigint[])
ON CONFLICT (id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Inbound:
    """What another system wrote to one of our topics, as taken from the log.

    `place` is how many events of its batch came before it.
    """

    record: Record
    envelope: Envelope
    data: EventData
    place: int = 0


@dataclass(frozen=True)
class Batch:
    """What a reaction is told of: events, and what other systems wrote.

    `folded` are all events, as they were read: the read model shows them already. `events` are
    those among them that nobody imported; to the others nobody reacts.
    """

    folded: Sequence[Recorded]
    inbound: Sequence[Inbound]

    @cached_property
    def events(self) -> Sequence[Recorded]:
        """The events that are no other system's past."""
        return [event for event in self.folded if not event.history]

    def in_order(self) -> Iterator[Recorded | Inbound]:
        """Yield both as they were read, so that each is decided on what came before it."""
        place = 0
        for inbound in self.inbound:
            yield from self.events[place : inbound.place]
            yield inbound
            place = inbound.place
        yield from self.events[place:]


class Timer(msgspec.Struct, frozen=True, gc=False):
    """An instant at which a stream's rules must be asked again."""

    stream_id: str
    name: str
    due_at: datetime


class Outbound(msgspec.Struct, frozen=True, gc=False):
    """A body for a URL. Those of one stream go to one URL by `sequence`, as far as they wait.

    `stream_id` is the writer's, for sequences of two writers have no order.
    """

    id: UUID
    target: str
    body: bytes
    stream_id: str
    sequence: int


@dataclass(slots=True)
class Unit:
    """Collects what a reaction decides; the kernel writes it in the same transaction.

    `fire_until` is set for timers only: the instant up to which they may decide.
    """

    connection: Connection
    journal: Journal
    now: datetime
    fire_until: datetime | None = None
    parked: list[Parked] = field(default_factory=list[Parked])
    _appends: list[Append] = field(default_factory=list[Append])
    _timers: dict[str, list[Timer]] = field(default_factory=dict[str, list[Timer]])
    _more_timers: dict[tuple[str, str], Timer] = field(default_factory=dict[tuple[str, str], Timer])
    _deliveries: dict[UUID, Outbound] = field(default_factory=dict[UUID, Outbound])

    def append(
        self, stream_id: str, expected: int, drafts: Sequence[Draft], lineage: Lineage
    ) -> None:
        """Append drafts after sequence `expected`; without drafts, nothing."""
        if drafts:
            self._appends.append(Append(stream_id, expected, tuple(drafts), lineage))

    def set_timers(self, stream_id: str, timers: Sequence[Timer]) -> None:
        """Replace all timers of the stream."""
        self._timers[stream_id] = list(timers)

    def add_timers(self, timers: Sequence[Timer]) -> None:
        """Arm timers beside those that their streams have; one of the same name is replaced."""
        self._more_timers.update({(timer.stream_id, timer.name): timer for timer in timers})

    def deliver(self, outbound: Outbound) -> None:
        """Have something sent, at least once; the same id again changes nothing (R9)."""
        self._deliveries[outbound.id] = outbound

    async def flush(self) -> None:
        """Write what was collected.

        A transaction that decided nothing need not wait for the disk: a crash that undoes it undoes
        the offsets with the rows, and they are read again. What was decided may be on its way
        already, so it must be durable before anyone sees it.

        Raises: UnsendableError for an event that no log would take; MovedOnError when a writer was
        quicker on one of the streams. The transaction must then be undone, and in the second case
        the batch be tried again.
        """
        if not self._appends:
            await self.connection.execute(IN_NO_HURRY)
        else:
            await self._append_all()
        if self._timers:
            timers = [timer for armed in self._timers.values() for timer in armed]
            await self.connection.execute(
                DISARM,
                list(self._timers),
                [timer.stream_id for timer in timers],
                [timer.name for timer in timers],
            )
            await self._arm(timers)
        if self._more_timers:
            await self._arm(self._more_timers.values())
        if self._deliveries:
            outbound = self._deliveries.values()
            await self.connection.execute(
                _DELIVER,
                list(self._deliveries),
                [one.target for one in outbound],
                [one.body for one in outbound],
                [one.stream_id for one in outbound],
                [one.sequence for one in outbound],
                self.now,
            )

    async def _append_all(self) -> None:
        for fate in await self.journal.append(self.connection, self._appends):
            if isinstance(fate, UnsendableError):
                raise fate
            if not fate:
                raise MovedOnError("a stream moved on while a reaction decided")

    async def _arm(self, timers: Collection[Timer]) -> None:
        await self.connection.execute(
            _ARM,
            [timer.stream_id for timer in timers],
            [timer.name for timer in timers],
            [timer.due_at for timer in timers],
            self.now,
        )


def lineage_after(cause: Recorded, actor: str) -> Lineage:
    """Return the lineage of what `actor` decides because of `cause`."""
    return Lineage(
        actor=actor,
        correlation_id=cause.correlation_id,
        causation_id=cause.event_id,
        traceparent=cause.traceparent,
        history=cause.history,
    )
