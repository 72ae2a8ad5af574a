"""Legal histories of tickets, and legal ways in which a log may deliver them."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage, encode_event
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketHeld,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
    TicketUpdated,
)
from shared.contracts.registry import Recorded, decode_record
from shared.contracts.routing import TicketAssigned, TicketPrioritized
from shared.ids import event_id
from shared.log.port import Record

START = datetime(2026, 1, 5, 9, tzinfo=UTC)


def ends(ticket_id: UUID) -> list[EventData]:
    """Return the end of a ticket: solved and closed."""
    solved = TicketResolved(ticket_id=ticket_id, resolved_by="bo", resolution="done")
    closed = TicketClosed(
        ticket_id=ticket_id, closed_by="ann", code="solved", resolved_at=START, reopen_count=0
    )
    return [solved, closed]


def created(ticket_id: UUID, title: str = "VPN drops") -> TicketCreated:
    return TicketCreated(
        ticket_id=ticket_id,
        number=f"INC-{ticket_id.int:06d}",
        kind="incident",
        title=title,
        description="",
        requester=Requester(id="ann"),
        occurred_at=START,
        impact=None,
        urgency="high",
        scope=Scope(people=12),
        category="network",
        service=None,
        channel="api",
        origin="test",
    )


def intake_events(ticket_id: UUID, chance: Random) -> list[EventData]:
    """Return a random walk through a ticket's life."""
    events: list[EventData] = [
        created(ticket_id),
        TicketStarted(ticket_id=ticket_id, agent_id="bo"),
    ]
    for step in range(chance.randrange(8)):
        events += chance.choice(
            [
                [
                    TicketUpdated(
                        ticket_id=ticket_id,
                        title=f"title {step}",
                        description="",
                        impact="low",
                        urgency=None,
                        scope=Scope(),
                        category="system",
                        service=None,
                    )
                ],
                [
                    TicketHeld(ticket_id=ticket_id, reason=f"reason {step}"),
                    TicketResumed(ticket_id=ticket_id),
                ],
                [
                    TicketResolved(ticket_id=ticket_id, resolved_by="bo", resolution=f"try {step}"),
                    TicketReopened(
                        ticket_id=ticket_id, reopened_by="ann", reason="no", reopen_count=step + 1
                    ),
                ],
                [
                    TicketCommented(
                        ticket_id=ticket_id,
                        comment_id=UUID(int=ticket_id.int * 100 + step),
                        author_id="bo",
                        author_role="agent",
                        visibility="public",
                        text=f"comment {step}",
                    )
                ],
            ]
        )
    if chance.random() < 0.5:
        events += ends(ticket_id)
    return events


def routing_events(ticket_id: UUID, chance: Random) -> list[EventData]:
    events: list[EventData] = []
    for step in range(chance.randrange(4)):
        events += [
            TicketPrioritized(
                ticket_id=ticket_id,
                priority=chance.choice(["P1", "P2", "P3", "P4"]),
                impact="low",
                urgency="high",
                reasons=(f"reason {step}",),
                policy_version=1,
            ),
            TicketAssigned(
                ticket_id=ticket_id,
                group=f"group-{step}",
                agent_id=chance.choice([None, "bo", "cy"]),
                line=1,
                reassignment_count=step,
                reasons=(),
            ),
        ]
    return events


def written(writer: str, events: list[EventData]) -> list[Recorded]:
    """Return events as a writer's journal numbers them."""
    recorded: list[Recorded] = []
    for sequence, data in enumerate(events, 1):
        at = START + timedelta(minutes=sequence)
        value = encode_event(
            writer,
            data,
            sequence=sequence,
            event_id=event_id(writer, data.stream_id, sequence),
            time=at,
            recorded_at=at,
            lineage=Lineage(actor="test", correlation_id="c"),
        )
        record = Record(data.TYPE, 0, sequence, data.stream_id.encode(), value, 0)
        recorded.append(decode_record(record))
    return recorded


def day(seed: int, tickets: int = 3) -> list[Recorded]:
    """Return everything that happened to a few tickets, in the writers' own orders."""
    chance = Random(seed)
    events: list[Recorded] = []
    for number in range(1, tickets + 1):
        ticket_id = UUID(int=number)
        events += written("intake", intake_events(ticket_id, chance))
        events += written("routing", routing_events(ticket_id, chance))
    return events


def delivered(events: list[Recorded], seed: int) -> list[Recorded]:
    """Return one legal delivery: order within a topic kept, nothing across topics; some twice."""
    chance = Random(seed)
    topics: defaultdict[str, list[Recorded]] = defaultdict(list)
    for event in events:
        topics[event.type].append(event)
    for topic, waiting in topics.items():
        again = [event for event in waiting if chance.random() < 0.2]
        topics[topic] = waiting + again
    arrived: list[Recorded] = []
    while any(topics.values()):
        topic = chance.choice([name for name, waiting in topics.items() if waiting])
        arrived.append(topics[topic].pop(0))
    return arrived
