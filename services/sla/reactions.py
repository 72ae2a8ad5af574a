"""What sla does of its own accord: judge a ticket again whenever something about it is known."""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from services.sla import queries
from services.sla.domain import publication
from services.sla.domain.clocks import Clock
from services.sla.domain.facts import facts_of
from services.sla.domain.history import in_order
from services.sla.domain.inheritance import Bequest, bequests, due_times, inherited
from services.sla.domain.ledger import Ledger, WithoutDeadline, judge_each
from services.sla.domain.publication import Knowledge, Said, learn
from services.sla.domain.voice import event_of, hear
from services.sla.handlers import Agreements
from shared.calendar import SECOND_US, instant, microseconds
from shared.contracts.base import TicketData
from shared.contracts.envelope import Lineage
from shared.contracts.registry import Recorded
from shared.contracts.sla import SlaDueInherited, SlaPolicyPublished, SlaStarted
from shared.journal.journal import Draft
from shared.runtime.service import Service
from shared.runtime.unit import Batch, Timer, Unit, lineage_after

_WRITER: Final = "sla"
_NEVER_US: Final = 0
_AGAIN: Final = timedelta(hours=1)
LOOK_EVERY_SECONDS: Final = 60
_PAUSE_SECONDS: Final = 5
_JUDGING_MAX_US: Final = 60 * SECOND_US  # what a transaction read may be so old when it is recorded
_log: Final = structlog.get_logger()


class _Heritage(NamedTuple):
    """Due times that one ticket hands over to another."""

    giver: UUID
    bequest: Bequest
    dues: dict[str, int]
    lineage: Lineage


async def react(batch: Batch, unit: Unit) -> None:
    """Judge the tickets that other services told something about.

    A version for running cycles wakes every ticket under way when it comes into force.
    """
    causes: dict[str, Recorded] = {}
    for event in batch.events:
        if _is_of_a_ticket(event):
            cause = causes.setdefault(event.stream_id, event)
            if event.time < cause.time:  # of several, the one that reaches back furthest
                causes[event.stream_id] = event
    if causes:
        await _judge_again(unit, causes.keys(), causes)
    await _wake_the_overtaken(batch, unit)


def _is_of_a_ticket(event: Recorded) -> bool:
    """Tell whether the event may change a ticket's clocks."""
    if event.writer == _WRITER:
        return isinstance(event.data, SlaDueInherited)
    return isinstance(event.data, TicketData)


async def on_due(due: Sequence[Timer], unit: Unit) -> None:
    """Judge the tickets whose warning or breach has come."""
    await _judge_again(unit, {timer.stream_id for timer in due}, {})


class Reviewer:
    """Reviews the periods of agreements that ended, looking once a minute. Several replicas may.

    A step is short, so that the loop it is in shows that it lives.
    """

    def __init__(self) -> None:
        self._look_at = 0.0

    async def __call__(self, service: Service) -> None:
        """Review a few periods if it is time to look, else pause a little."""
        wait_seconds = self._look_at - asyncio.get_running_loop().time()
        if wait_seconds > 0:
            await asyncio.sleep(min(wait_seconds, _PAUSE_SECONDS))
        elif not await Agreements(service, service.work_pool).review_all():
            self._look_at = asyncio.get_running_loop().time() + LOOK_EVERY_SECONDS


async def _wake_the_overtaken(batch: Batch, unit: Unit) -> None:
    """Wake the tickets that a version for running cycles may take over when it comes into force.

    Topics have no order among each other: the version may be read before the start of a clock that
    was judged without it, and that nobody saw run then. Such a ticket is woken when it is read.
    """
    wakes: dict[str, datetime] = {}
    for event in batch.events:
        data = event.data
        if isinstance(data, SlaPolicyPublished) and data.applies_to == "running":
            at = data.effective_from or event.time
            for ticket_id in await queries.tickets_under_way(unit.connection):
                wakes[ticket_id] = min(at, wakes.get(ticket_id, at))
    started = [event for event in batch.events if isinstance(event.data, SlaStarted)]
    if started:
        rules = await queries.load_rules(unit.connection, unit.journal)
        for event in started:
            judged_us = microseconds(event.recorded_at) - _JUDGING_MAX_US
            for at_us in rules.rulebook.takeovers_after(judged_us)[:1]:
                at = instant(at_us)
                wakes[event.stream_id] = min(at, wakes.get(event.stream_id, at))
    unit.add_timers([Timer(ticket_id, "takeover", at) for ticket_id, at in wakes.items()])


async def _judge_again(
    unit: Unit, ticket_ids: Collection[str], causes: Mapping[str, Recorded]
) -> None:
    rules = await queries.load_rules(unit.connection, unit.journal)
    histories = await queries.read_moving(unit.connection, ticket_ids, rules.rulebook)
    journals = await unit.journal.read(unit.connection, ticket_ids)
    lengths = {ticket_id: len(events) for ticket_id, events in journals.items()}
    now_us = microseconds(unit.now)
    fired_us = _NEVER_US if unit.fire_until is None else microseconds(unit.fire_until) + 1
    heritage: list[_Heritage] = []
    for ticket_id in ticket_ids:
        events = histories[ticket_id]
        knowledge, is_foreign = hear(journals[ticket_id])
        facts = in_order(facts_of(events, rules.peaks))
        if not facts or is_foreign:
            unit.set_timers(ticket_id, [])
            continue
        # Clocks of machines step back and differ; what was said stays said.
        recorded = (microseconds(event.recorded_at) for event in journals[ticket_id])
        at_us = max([now_us, *recorded])
        judgement = judge_each(facts, rules.rulebook, at_us)
        ledger = judgement.ledger
        said = _say(ledger, knowledge, at_us, min(fired_us, now_us + 1))
        uuid = UUID(ticket_id)
        lineage = lineage_after(causes.get(ticket_id) or _last_told(events), _WRITER)
        drafts = [Draft(event_of(one, uuid), instant(one.time_us)) for one in said]
        unit.append(ticket_id, lengths[ticket_id], drafts, lineage)
        lengths[ticket_id] += len(drafts)
        heritage.extend(
            _Heritage(uuid, one, due_times(facts, rules.rulebook, one.at_us), lineage)
            for one in bequests(events)
        )
        timers = [*_timers(ticket_id, ledger, knowledge)]
        later = [fact.time_us for fact in facts if fact.time_us > at_us]
        takeovers = rules.rulebook.takeovers_after(at_us)
        for name, coming in ("later", later), ("takeover", takeovers):
            timers += [Timer(ticket_id, name, instant(coming_us)) for coming_us in coming[:1]]
        if judgement.without_deadline:
            timers.append(Timer(ticket_id, "again", unit.now + _AGAIN))
            _warn_of(ticket_id, judgement.without_deadline)
        unit.set_timers(ticket_id, timers)
    if heritage:
        await _hand_over(unit, heritage, lengths)


def _warn_of(ticket_id: str, clocks: Iterable[WithoutDeadline]) -> None:
    for one in clocks:
        _log.warning(
            "clock_without_deadline",
            ticket_id=ticket_id,
            target=one.target,
            policy=f"{one.policy_id} v{one.policy_version}",
            calendar=one.calendar,
            reason=one.reason,
        )


def _last_told(events: Sequence[Recorded]) -> Recorded:
    """Return what others said last of the ticket."""
    return next((event for event in reversed(events) if event.writer != _WRITER), events[-1])


async def _hand_over(unit: Unit, heritage: Sequence[_Heritage], lengths: dict[str, int]) -> None:
    """Tell heirs which due times they take over; each judges itself again when it hears of it."""
    heirs = {str(one.bequest.heir) for one in heritage}
    journals = await unit.journal.read(unit.connection, heirs)
    for one in heritage:
        heir = str(one.bequest.heir)
        journal = journals[heir]
        if hear(journal).is_foreign:
            continue
        time = instant(one.bequest.at_us)
        drafts = [
            Draft(event, time) for event in inherited(one.giver, one.bequest, one.dues, journal)
        ]
        length = lengths.setdefault(heir, len(journal))
        unit.append(heir, length, drafts, one.lineage)
        lengths[heir] += len(drafts)


def _say(ledger: Ledger, knowledge: Knowledge, at_us: int, fired_us: int) -> list[Said]:
    """Return what timers have to say, then the news; and learn both."""
    timed = publication.due(ledger, knowledge, fired_us)
    for one in timed:
        learn(knowledge, one)
    said = publication.news(ledger, knowledge, at_us, fired_us)
    for one in said:
        learn(knowledge, one)
    return [*timed, *said]


def _timers(ticket_id: str, ledger: Ledger, knowledge: Knowledge) -> Iterator[Timer]:
    """Yield the warnings and breaches still to come, also those that are due already.

    What a pause postpones has no instant until the clock resumes.
    """
    for clock in ledger:
        key = publication.key_of(clock)
        told = knowledge.get(key)
        name = f"{clock.target}:{clock.cycle}.{clock.generation}"
        rules = clock.definition.target.warn
        for place, at_us in clock.warnings:
            if told is not None and rules[place] in told.warned:
                continue
            if not _is_postponed(clock, at_us):
                yield Timer(ticket_id, f"{name}:warn:{place}", instant(at_us))
        is_over = clock.stopped_us is not None or clock.outcome == "paused"
        if not is_over and (told is None or told.breach_us != clock.due_us):
            yield Timer(ticket_id, f"{name}:breach", instant(clock.due_us))


def _is_postponed(clock: Clock, at_us: int) -> bool:
    is_dated = clock.definition.date_field is not None
    return clock.pause is not None and at_us > clock.pause.start_us and not is_dated
