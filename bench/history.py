"""A long past of a desk, made up quickly: every event valid, encoded, and where it belongs."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.sla.domain.defaults import default_calendars
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketClosed,
    TicketCreated,
    TicketResolved,
    TicketStarted,
)
from shared.contracts.promises import Goal
from shared.contracts.registry import writer_of
from shared.contracts.routing import TicketAssigned, TicketPrioritized
from shared.contracts.sla import SlaMet, SlaMissed, SlaStarted
from shared.ids import event_id
from shared.log.partitioner import partition_of
from shared.log.port import Outgoing

START: Final = datetime(2024, 1, 1, tzinfo=UTC)
_MINUTES_BETWEEN: Final = 0.5
_LINEAGE: Final = Lineage(actor="bench", correlation_id="bench")
_WORDS: Final = [
    *("VPN", "printer", "mail", "laptop", "badge", "network", "login", "password", "screen"),
    *("server", "backup", "phone", "disk", "update", "licence", "account", "monitor", "keyboard"),
    *("access", "portal", "invoice", "calendar", "meeting", "sync", "driver"),
]
_PRIORITIES: Final = ("P1", "P2", "P3", "P3", "P3", "P4")
_GROUPS: Final = tuple(f"group-{number}" for number in range(12))
_CATEGORIES: Final = ("hardware", "software", "network", "system")
_OPEN_EVERY: Final = 20


@dataclass(frozen=True)
class Past:
    """Events of so many tickets, in the order in which they were recorded."""

    tickets: int

    def outgoing(self, first: int = 0) -> Iterator[Outgoing]:
        """Yield every event as a writer would send it, from ticket `first` on."""
        for calendar in default_calendars("UTC"):
            yield from _written([(calendar, START)])
        for number in range(first, self.tickets):
            yield from _life(number)


def ticket_id(number: int) -> UUID:
    """Return the id of the n-th ticket, spread like a random one."""
    return UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128), version=4)


def title(number: int) -> str:
    """Return a title of four words that many tickets share in part."""
    return " ".join(_WORDS[(number // 7**place + place) % len(_WORDS)] for place in range(4))


def _life(number: int) -> list[Outgoing]:
    """Return a ticket's events: most are resolved and closed, every twentieth is still open."""
    ident = ticket_id(number)
    at = START + timedelta(minutes=number * _MINUTES_BETWEEN)
    priority = _PRIORITIES[number % len(_PRIORITIES)]
    spent = timedelta(minutes=20 + number * 37 % 4_000)
    is_open = number % _OPEN_EVERY == 0
    clock: dict[str, Any] = {"ticket_id": ident, "target": "resolution"}
    due = at + timedelta(hours=24)
    intake: list[tuple[EventData, datetime]] = [
        (_created(number, ident, at), at),
        (TicketStarted(ticket_id=ident, agent_id=f"agent-{number % 50}"), at + spent / 4),
    ]
    sla: list[tuple[EventData, datetime]] = [
        (
            SlaStarted(
                **clock,
                started_at=at,
                due_at=due,
                goal=Goal(working_seconds=86_400),
                calendar="24x7",
                policy_id="standard",
                policy_version=1,
            ),
            at,
        )
    ]
    if not is_open:
        end = at + spent
        ended = SlaMet if end <= due else SlaMissed
        intake += [
            (TicketResolved(ticket_id=ident, resolved_by="bo", resolution="Replaced it."), end),
            (
                TicketClosed(
                    ticket_id=ident, closed_by="ann", code="solved", resolved_at=end, reopen_count=0
                ),
                end + timedelta(hours=1),
            ),
        ]
        elapsed = int(spent.total_seconds())
        sla.append((ended(**clock, stopped_at=end, due_at=due, elapsed_seconds=elapsed), end))
    routing: list[tuple[EventData, datetime]] = [
        (
            TicketPrioritized(
                ticket_id=ident,
                priority=priority,
                impact="low",
                urgency="medium",
                reasons=("impact low × urgency medium",),
                policy_version=1,
            ),
            at,
        ),
        (
            TicketAssigned(
                ticket_id=ident,
                group=_GROUPS[number % len(_GROUPS)],
                agent_id=f"agent-{number % 50}",
                line=1,
                reassignment_count=number % 3,
                reasons=("first line",),
            ),
            at,
        ),
    ]
    return [*_written(intake), *_written(routing), *_written(sla)]


def _created(number: int, ident: UUID, at: datetime) -> TicketCreated:
    return TicketCreated(
        ticket_id=ident,
        number=f"INC-{number:07d}",
        kind="incident",
        title=title(number),
        description=f"It says {title(number + 11)} since this morning.",
        requester=Requester(id=f"user-{number % 9_973}", department="sales"),
        occurred_at=at,
        impact=None,
        urgency="medium",
        scope=Scope(people=1),
        category=_CATEGORIES[number % len(_CATEGORIES)],
        service=None,
        channel="portal",
        origin="bench",
    )


def _written(events: Sequence[tuple[EventData, datetime]]) -> Iterator[Outgoing]:
    for sequence, (data, at) in enumerate(events, 1):
        writer, stream = writer_of(data.TYPE), data.stream_id
        value = encode_event(
            writer,
            data,
            sequence=sequence,
            event_id=event_id(writer, stream, sequence),
            time=at,
            recorded_at=at,
            lineage=_LINEAGE,
        )
        yield Outgoing(data.TYPE, stream.encode(), value)


async def fill_log(dsn: str, past: Past, partitions: int) -> int:
    """COPY the past into an embedded log that has its topics already; return how many records."""
    connection = await asyncpg.connect(dsn)
    ends: defaultdict[tuple[str, int], int] = defaultdict(int)
    try:
        for batch in _batches(past.outgoing()):
            rows = [_place(out, ends, partitions) for out in batch]
            await connection.copy_records_to_table(
                "record",
                columns=["topic", "partition", "record_offset", "key", "value"],
                records=rows,
            )
        await connection.executemany(
            "UPDATE partition SET next_offset = $3 WHERE topic = $1 AND partition = $2",
            [(*place, end) for place, end in ends.items()],
        )
        await connection.execute("ANALYZE")
        return sum(ends.values())
    finally:
        await connection.close()


def _place(
    out: Outgoing, ends: defaultdict[tuple[str, int], int], partitions: int
) -> tuple[str, int, int, bytes, bytes]:
    place = out.topic, partition_of(out.key, partitions)
    offset, ends[place] = ends[place], ends[place] + 1
    return (*place, offset, out.key, out.value)


def _batches(events: Iterator[Outgoing], size: int = 20_000) -> Iterator[list[Outgoing]]:
    batch: list[Outgoing] = []
    for event in events:
        batch.append(event)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
