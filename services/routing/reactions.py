"""What routing does of its own accord: triage new tickets, escalate breached ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.routing.domain.policy import DEFAULT_POLICY
from services.routing.domain.state import TicketRouting, evolve
from services.routing.domain.triage import Agent, escalate, triage
from services.routing.queries import read_roster
from shared.contracts.base import EventData
from shared.contracts.envelope import Lineage
from shared.contracts.intake import (
    TicketCancelled,
    TicketClosed,
    TicketCreated,
    TicketMerged,
    TicketReopened,
    TicketResolved,
    TicketUpdated,
)
from shared.contracts.registry import Recorded
from shared.contracts.routing import RoutingPolicyPublished, TicketAssigned
from shared.contracts.sla import SlaBreached, SlaBreachRetracted
from shared.journal.journal import Draft
from shared.runtime.read_model import read_histories
from shared.runtime.unit import Batch, Unit, lineage_after

_WRITER: Final = "routing"


@dataclass(slots=True)
class _Desk:
    """What decisions of one batch share; assignments made count at once."""

    policy: RoutingPolicyPublished
    roster: dict[str, Agent]

    def note(self, news: Sequence[EventData]) -> None:
        for event in news:
            if isinstance(event, TicketAssigned) and event.agent_id in self.roster:
                agent = self.roster[event.agent_id]
                self.roster[event.agent_id] = replace(agent, workload=agent.workload + 1)


async def react(batch: Batch, unit: Unit) -> None:
    """Decide, for each ticket of the batch, what everything known of it calls for."""
    causes = {
        event.stream_id: event
        for event in batch.events
        if isinstance(event.data, TicketCreated | TicketUpdated | SlaBreached)
    }
    if not causes:
        return
    histories = await read_histories(unit.connection, causes)
    journals = await unit.journal.read(unit.connection, [*causes, DEFAULT_POLICY])
    policy = journals[DEFAULT_POLICY][-1].data if journals[DEFAULT_POLICY] else None
    if not isinstance(policy, RoutingPolicyPublished):
        return
    desk = _Desk(policy, dict(await read_roster(unit.connection)))
    for ticket_id, cause in causes.items():
        news, lineage = _decide(desk, cause, histories[ticket_id], journals[ticket_id])
        drafts = [Draft(event, unit.now) for event in news]
        unit.append(ticket_id, len(journals[ticket_id]), drafts, lineage)


def _decide(
    desk: _Desk, cause: Recorded, history: Sequence[Recorded], journal: Sequence[Recorded]
) -> tuple[list[EventData], Lineage]:
    """Return what is new for one ticket, and what caused it.

    Breaches are taken from the history, not from the batch, so that one that came before its
    ticket's creation is not lost; state remembers those that were escalated.
    """
    lineage = lineage_after(cause, _WRITER)
    record = _record(history)
    if record is None or not _is_open(history):
        return [], lineage
    state = TicketRouting()
    for event in journal:
        state = evolve(state, event.data, event.causation_id)
    news: list[EventData] = list(triage(record, state, desk.policy, desk.roster))
    for event in news:
        state = evolve(state, event)
    desk.note(news)
    for breach in _standing_breaches(history):
        further = escalate(
            record,
            state,
            desk.policy,
            desk.roster,
            cause=breach.event_id,
            reason=_reason(breach),
        )
        if further:
            news += further
            desk.note(further)
            return news, lineage_after(breach, _WRITER)  # one step at a time; one cause each
    return news, lineage


def _standing_breaches(history: Sequence[Recorded]) -> list[Recorded]:
    """Return breaches of promises to the requester that no late fact took back."""
    standing: dict[tuple[str, int, int], Recorded] = {}
    for event in sorted(history, key=lambda fact: fact.sequence):
        data = event.data
        if isinstance(data, SlaBreached) and data.kind == "sla" and not event.history:
            standing[data.target, data.cycle, data.generation] = event
        elif isinstance(data, SlaBreachRetracted):
            standing.pop((data.target, data.cycle, data.generation), None)
    return list(standing.values())


def _reason(breach: Recorded) -> str:
    data = breach.data
    if not isinstance(data, SlaBreached):
        return "breach"
    return f"the {data.target} promise was due at {data.due_at:%Y-%m-%dT%H:%M:%SZ} and was not kept"


def _record(history: Sequence[Recorded]) -> TicketCreated | TicketUpdated | None:
    """Return the ticket's record as last corrected; None while its creation is not known here."""
    records = [event for event in history if isinstance(event.data, TicketCreated | TicketUpdated)]
    newest = max(records, key=lambda event: event.sequence, default=None)
    if newest is None or not any(isinstance(event.data, TicketCreated) for event in records):
        return None
    return newest.data if isinstance(newest.data, TicketCreated | TicketUpdated) else None


def _is_open(history: Sequence[Recorded]) -> bool:
    ended = TicketResolved | TicketClosed | TicketCancelled | TicketMerged
    turns = [event for event in history if isinstance(event.data, ended | TicketReopened)]
    newest = max(turns, key=lambda event: event.sequence, default=None)
    return newest is None or isinstance(newest.data, TicketReopened)
