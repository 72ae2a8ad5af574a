"""What sla does of its own accord: judge a ticket again whenever something about it is known."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from services.sla.domain.clocks import judge
from services.sla.domain.history import Fact
from services.sla.domain.publish import PublishedClocks, decide, evolve, timers
from services.sla.queries import load_rules
from shared.contracts.base import TicketData
from shared.contracts.registry import Recorded
from shared.journal.journal import Draft
from shared.runtime.read_model import read_histories
from shared.runtime.unit import Batch, Timer, Unit, lineage_after

_WRITER: Final = "sla"


async def react(batch: Batch, unit: Unit) -> None:
    """Judge the tickets that other services told something about."""
    causes = {
        event.stream_id: event
        for event in batch.events
        if event.writer != _WRITER and isinstance(event.data, TicketData)
    }
    if causes:
        await _judge_again(unit, causes.keys(), causes)


async def on_due(due: Sequence[Timer], unit: Unit) -> None:
    """Judge the tickets whose warning or breach has come."""
    await _judge_again(unit, {timer.stream_id for timer in due}, {})


async def _judge_again(
    unit: Unit, ticket_ids: Collection[str], causes: Mapping[str, Recorded]
) -> None:
    rules = await load_rules(unit.connection, unit.journal)
    histories = await read_histories(unit.connection, ticket_ids)
    journals = await unit.journal.read(unit.connection, ticket_ids)
    for ticket_id in ticket_ids:
        known = [event for event in histories[ticket_id] if event.writer != _WRITER]
        policy = rules.policy_for(known) if known else None
        if policy is None:
            continue
        published = PublishedClocks()
        for event in journals[ticket_id]:
            published = evolve(published, event.data)
        facts = [Fact(e.time, e.writer, e.sequence, e.data) for e in known]
        ledger = judge(facts, policy, rules.calendars, unit.now)
        news = decide(ledger, published, unit.now, fire_until=unit.fire_until)
        for draft in news:
            published = evolve(published, draft.data)
        unit.append(
            ticket_id,
            len(journals[ticket_id]),
            [Draft(draft.data, draft.time) for draft in news],
            lineage_after(causes.get(ticket_id, known[-1]), _WRITER),
        )
        unit.set_timers(
            ticket_id,
            [
                *_looks_again(ticket_id, facts, unit.now),
                *(
                    Timer(ticket_id, f"{arming.clock}:{arming.generation}", arming.due_at)
                    for arming in timers(ledger, published)
                ),
            ],
        )


def _looks_again(ticket_id: str, facts: Sequence[Fact], now: datetime) -> list[Timer]:
    """Return a timer for facts that our clock has not come to; their writer's clock is ahead."""
    later = min((fact.time for fact in facts if fact.time > now), default=None)
    return [] if later is None else [Timer(ticket_id, "later", later)]
