"""A long past of a desk, made up quickly: every event valid, encoded, and where it belongs."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.reporting.domain.merkle import Tree, append, leaf
from services.sla.domain.rules.defaults import default_calendars
from shared.contracts.agreements import (
    AgreementPublished,
    AgreementSigned,
    AttainmentOf,
    Band,
    Measure,
)
from shared.contracts.availability import MaintenanceScheduled, OutageRecorded
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketResolved,
    TicketStarted,
)
from shared.contracts.knowledge import ArticleDrafted, ArticlePublished
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
_SERVICES: Final = ("mail", "vpn", "wiki")
_OPEN_EVERY: Final = 20
_COMMENT_EVERY: Final = 4
_ARTICLE_EVERY: Final = 100
_OUTAGE_EVERY: Final = 1_000
AGREEMENT: Final = "acme"


@dataclass(frozen=True)
class Past:
    """Events of so many tickets, in the order in which they were recorded."""

    tickets: int

    def outgoing(self, first: int = 0) -> Iterator[Outgoing]:
        """Yield every event as a writer would send it, from ticket `first` on."""
        for calendar in default_calendars("UTC"):
            yield from _written([(calendar, START)])
        if first == 0:
            yield from an_agreement()
        for number in range(first, self.tickets):
            yield from _life(number)
            if number % _ARTICLE_EVERY == 0:
                yield from _written(_of_an_article(number))
            if number % _OUTAGE_EVERY == 0:
                for told in _of_a_service(number):
                    yield from _written([told])


def ticket_id(number: int) -> UUID:
    """Return the id of the n-th ticket, spread like a random one."""
    return UUID(int=(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128), version=4)


def article_id(number: int) -> UUID:
    """Return the id of the article that was written when the n-th ticket came."""
    return UUID(int=ticket_id(number).int ^ 1)


def title(number: int) -> str:
    """Return a title of four words that many tickets share in part."""
    return " ".join(_WORDS[(number // 7**place + place) % len(_WORDS)] for place in range(4))


def _life(number: int) -> list[Outgoing]:
    """Return a ticket's events: most are resolved and closed, every twentieth is still open."""
    ident = ticket_id(number)
    at = _created_at(number)
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
    if number % _COMMENT_EVERY == 0:
        intake.append((_commented(number, ident), at + spent / 2))
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


def _commented(number: int, ident: UUID) -> TicketCommented:
    return TicketCommented(
        ticket_id=ident,
        comment_id=ident,
        author_id=f"agent-{number % 50}",
        author_role="agent",
        visibility="public",
        text=f"We look into {title(number)}.",
    )


def an_agreement() -> list[Outgoing]:
    """Return the stream of an agreement whose periods are years, signed by both."""
    measure = Measure(
        name="resolution",
        attainment=AttainmentOf(targets=("resolution",)),
        bands=(Band(below=0.9, credit_share=0.1),),
    )
    document = AgreementPublished(
        agreement_id=AGREEMENT,
        version=1,
        customer="acme",
        provider="desk",
        valid_from=START,
        review_date=START.date().isoformat(),
        review_period="year",
        zone="UTC",
        currency="EUR",
        fee_minor=100_000,
        measures=(measure,),
    )
    signed = [
        AgreementSigned(agreement_id=AGREEMENT, version=1, party=party, signatory="ann")
        for party in ("customer", "provider")
    ]
    return list(_written([(told, START) for told in (document, *signed)]))


def _of_an_article(number: int) -> list[tuple[EventData, datetime]]:
    at = _created_at(number)
    ident = article_id(number)
    drafted = ArticleDrafted(
        article_id=ident,
        number=f"KB-{number:07d}",
        author_id="bo",
        title=title(number),
        text=f"If you see {title(number + 3)}, start {title(number + 5)} again.",
        language="en",
        tags=("bench",),
    )
    return [(drafted, at), (ArticlePublished(article_id=ident, published_by="bo"), at)]


def _of_a_service(number: int) -> list[tuple[EventData, datetime]]:
    at = _created_at(number)
    outage = OutageRecorded(
        outage_id=f"outage-{number}",
        service=_SERVICES[number // _OUTAGE_EVERY % len(_SERVICES)],
        started_at=at,
        ended_at=at + timedelta(minutes=20),
        source="person",
    )
    maintenance = MaintenanceScheduled(
        maintenance_id=f"maintenance-{number}",
        service=outage.service,
        starts_at=at + timedelta(hours=2),
        ends_at=at + timedelta(hours=3),
    )
    return [(outage, at), (maintenance, at)]


def _created_at(number: int) -> datetime:
    return START + timedelta(minutes=number * _MINUTES_BETWEEN)


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


async def fill_log(dsn: str, past: Past, partitions: int, archive_dsn: str | None = None) -> int:
    """COPY the past into an embedded log that has its topics already; return how many records.

    With an archive, that of reporting, all of it is archived as well.
    """
    connection = await asyncpg.connect(dsn)
    archive = None if archive_dsn is None else await asyncpg.connect(archive_dsn)
    ends: defaultdict[tuple[str, int], int] = defaultdict(int)
    trees: defaultdict[tuple[str, int], Tree] = defaultdict(Tree)
    try:
        for batch in _batches(past.outgoing()):
            rows = [_place(out, ends, partitions) for out in batch]
            await connection.copy_records_to_table("record", columns=_RECORD, records=rows)
            if archive is not None:
                _grow(trees, rows)
                await archive.copy_records_to_table(
                    "record",
                    schema_name="archive",
                    columns=[*_RECORD, "timestamp_ms", "writer", "subject", "sequence"],
                    records=[(*row, 0, *_identity(row)) for row in rows],
                )
        await connection.executemany(
            "UPDATE partition SET next_offset = $3 WHERE topic = $1 AND partition = $2",
            [(*place, end) for place, end in ends.items()],
        )
        await connection.execute("ANALYZE")
        if archive is not None:
            await archive.executemany(
                "INSERT INTO archive.tree VALUES ($1, $2, $3, $4)",
                [(*place, tree.size, list(tree.peaks)) for place, tree in trees.items()],
            )
        return sum(ends.values())
    finally:
        await connection.close()
        if archive is not None:
            await archive.close()


_RECORD: Final = ("topic", "partition", "record_offset", "key", "value")
_SEQUENCE: Final = re.compile(rb'"sequence":"(\d+)"')
_Row = tuple[str, int, int, bytes, bytes]


def _identity(row: _Row) -> tuple[str, str, int]:
    found = _SEQUENCE.search(row[4])
    if found is None:
        raise ValueError("an event without a sequence")
    return writer_of(row[0]), row[3].decode(), int(found[1])


def _grow(trees: defaultdict[tuple[str, int], Tree], rows: Sequence[_Row]) -> None:
    leaves: defaultdict[tuple[str, int], list[bytes]] = defaultdict(list)
    for topic, partition, offset, key, value in rows:
        leaves[topic, partition].append(leaf(offset, key, value))
    for place, added in leaves.items():
        trees[place] = append(trees[place], added)


def _place(out: Outgoing, ends: defaultdict[tuple[str, int], int], partitions: int) -> _Row:
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
