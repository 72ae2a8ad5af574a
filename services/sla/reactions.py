"""What sla does of its own accord: judge a ticket again whenever something about it is known."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Final, NamedTuple
from uuid import UUID

import structlog

from services.sla import queries
from services.sla.domain.announcements import announcement
from services.sla.domain.announcements.announcement import AnnouncedClocks, Announcement, learn
from services.sla.domain.announcements.events import event_of, is_past, read_announcements
from services.sla.domain.clocks.clock import TicketClock
from services.sla.domain.clocks.facts import Peaks, facts_of
from services.sla.domain.clocks.history import Fact, in_order, may_move
from services.sla.domain.clocks.inheritance import (
    Bequest,
    bequests,
    due_times,
    inherited,
    told_heir,
)
from services.sla.domain.clocks.ledger import Judgement, Ledger, WithoutDeadline, judge_each
from services.sla.domain.rules.published import Rules
from shared.calendar import SECOND_US, instant, microseconds
from shared.contracts.base import EventData, TicketData
from shared.contracts.envelope import Lineage
from shared.contracts.registry import Recorded
from shared.contracts.sla import SlaDueInherited, SlaPolicyPublished, SlaStarted
from shared.journal.journal import Draft
from shared.runtime.unit import Batch, Timer, Unit, lineage_after

_WRITER: Final = "sla"
_NEVER_US: Final = 0
_AGAIN: Final = timedelta(hours=1)
_JUDGING_MAX_US: Final = 60 * SECOND_US  # what a transaction read may be so old when it is recorded
_TAKEOVERS: Final = "takeovers"  # no ticket has such an id
_WAKE_AT_ONCE: Final = 1_000
_FIRST_TICKET: Final = UUID(int=0)
_log: Final = structlog.get_logger()


class _News(NamedTuple):
    """Something read of a ticket; `is_moving` if it may change clocks, or hands due times over."""

    event: Recorded
    fact: Fact | None
    bequest: Bequest | None
    is_moving: bool


async def react(batch: Batch, unit: Unit) -> None:
    """Judge the tickets that others told something about, event by event, as they were read.

    Each event that may move a clock is judged by what was read before it, so batches make no
    difference (ADR 0022).
    A version for running cycles has every ticket under way woken when it comes into force.
    """
    told = [event for event in batch.folded if _is_of_a_ticket(event)]
    if not all(event.history for event in told):
        await _judge_each(told, unit)
    await _wake_the_overtaken(batch, unit)


async def _judge_each(told: Iterable[Recorded], unit: Unit) -> None:
    rules = await queries.load_rules(unit.connection, unit.journal)
    news = [*_news(told, rules)]
    names = {one.event.stream_id for one in news if one.is_moving and not one.event.history}
    if not names:
        return
    judging = await _Judging.of(unit, rules, names, news)
    for one in news:
        judging.take_in(one)


def _is_of_a_ticket(event: Recorded) -> bool:
    """Tell whether the event may change a ticket's clocks."""
    if event.writer == _WRITER:
        return isinstance(event.data, SlaDueInherited)
    return isinstance(event.data, TicketData)


def _news(events: Iterable[Recorded], rules: Rules) -> Iterator[_News]:
    """Yield what is a fact to the clocks, or hands due times over; no rule may ask for a fact."""
    for event in events:
        fact = next(facts_of((event,), rules.peaks), None)
        bequest = next(bequests((event,)), None)
        may = fact is not None and may_move(fact, rules.rulebook)
        if fact is not None or bequest is not None:
            yield _News(event, fact, bequest, may or bequest is not None)


async def on_due(due: Sequence[Timer], unit: Unit) -> None:
    """Judge the tickets whose warning or breach has come; wake more of those to be taken over."""
    takeovers = [timer for timer in due if timer.stream_id == _TAKEOVERS]
    if takeovers:
        await _wake_more(takeovers, unit)
    if names := dict.fromkeys(t.stream_id for t in due if t.stream_id != _TAKEOVERS):
        rules = await queries.load_rules(unit.connection, unit.journal)
        judging = await _Judging.of(unit, rules, names)
        for name in names:
            judging.judge(name)


async def _wake_the_overtaken(batch: Batch, unit: Unit) -> None:
    """Have the tickets woken that a version for running cycles may take over, once it is in force.

    One timer goes through those under way, some at a time. It fires when all is read that was in
    the log with the version, so whoever was judged without it is known by then; whoever is judged
    later wakes itself. Only a ticket that is over may have a clock which is read later still: it
    is woken when that is read.
    """
    for event in batch.events:
        data = event.data
        if isinstance(data, SlaPolicyPublished) and data.applies_to == "running":
            unit.add_timers([_takeover(data.effective_from or event.time, _FIRST_TICKET)])
    wakes: dict[str, datetime] = {}
    started = [event for event in batch.events if isinstance(event.data, SlaStarted)]
    if started:
        rules = await queries.load_rules(unit.connection, unit.journal)
        for event in started:
            judged_us = microseconds(event.recorded_at) - _JUDGING_MAX_US
            for at_us in rules.rulebook.takeovers_after(judged_us)[:1]:
                at = instant(at_us)
                wakes[event.stream_id] = min(at, wakes.get(event.stream_id, at))
    unit.add_timers([Timer(ticket_id, "takeover", at) for ticket_id, at in wakes.items()])


def _takeover(at: datetime, position: UUID) -> Timer:
    """Return what wakes the tickets from `position` on, for a version in force from `at` on."""
    return Timer(_TAKEOVERS, f"takeover:{at.isoformat()}:{position}", at)


def _position(takeover: Timer) -> UUID:
    return UUID(takeover.name.rpartition(":")[2])


async def _wake_more(takeovers: Sequence[Timer], unit: Unit) -> None:
    """Wake the next tickets under way, and go on behind them when these have been judged.

    All versions asked for are in force, and a ticket is judged by all of them, so one way through
    the tickets does for all: from the first place that any has reached.
    """
    at, position = min(((one.due_at, _position(one)) for one in takeovers), key=itemgetter(1))
    tickets = await queries.tickets_under_way(unit.connection, position, _WAKE_AT_ONCE + 1)
    unit.add_timers([Timer(str(one), "takeover", at) for one in tickets[:_WAKE_AT_ONCE]])
    behind = max(at, unit.now + timedelta(microseconds=1))  # those woken are claimed before it
    unit.add_timers([_takeover(behind, one) for one in tickets[_WAKE_AT_ONCE:]])


class _Ticket:
    """What was told of a ticket so far, and what sla said of it."""

    def __init__(
        self, name: str, events: Sequence[Recorded], journal: Sequence[Recorded], peaks: Peaks
    ) -> None:
        self.name = name
        self.events = events
        self.facts = [*facts_of(events, peaks)]
        self.bequests = {*bequests(events)}
        self.told_heir = told_heir(journal)
        self.length = len(journal)
        self.recorded_us = max((microseconds(event.recorded_at) for event in journal), default=0)
        self.announced, self._has_foreign = read_announcements(journal)
        self._is_past = any(map(is_past, events))

    @property
    def is_foreign(self) -> bool:
        """Whether another system judged it, by what was told so far."""
        return self._has_foreign and self._is_past

    def hear(self, news: _News) -> None:
        """Take in what was read next."""
        if news.fact is not None:
            self.facts.append(news.fact)
        if news.bequest is not None:
            self.bequests.add(news.bequest)
        self._is_past |= is_past(news.event)


class _Judging:
    """Judges tickets in one transaction, event by event; it has read before all it asks for."""

    def __init__(self, unit: Unit, rules: Rules, tickets: Mapping[str, _Ticket]) -> None:
        self._unit = unit
        self._book = rules.rulebook
        self._tickets = tickets
        self._now_us = microseconds(unit.now)
        self._fired_us = _NEVER_US if unit.fire_until is None else microseconds(unit.fire_until) + 1

    @classmethod
    async def of(
        cls, unit: Unit, rules: Rules, names: Collection[str], news: Sequence[_News] = ()
    ) -> "_Judging":
        """Read what was known before of these tickets, and of those that take over from them."""
        told = [one.event for one in news if one.event.stream_id in names]
        events = await queries.read_moving(unit.connection, names, rules.rulebook, told)
        heirs = {str(heir) for known in (*events.values(), told) for heir, _ in bequests(known)}
        events |= await queries.read_created(unit.connection, heirs.difference(names))
        journals = await unit.journal.read(unit.connection, {*names, *heirs})
        tickets = {
            name: _Ticket(name, events.get(name, ()), journal, rules.peaks)
            for name, journal in journals.items()
        }
        return cls(unit, rules, tickets)

    def take_in(self, news: _News) -> None:
        """Take in what was read next, if somebody asks for it; judge if that may move a clock.

        What another system judged is not judged again.
        """
        ticket = self._tickets.get(news.event.stream_id)
        if ticket is None:
            return
        ticket.hear(news)
        if news.is_moving and not news.event.history:
            self.judge(ticket.name, news.event)

    def judge(self, name: str, cause: Recorded | None = None) -> None:
        """Say what has become true of a ticket, by what is known of it now, and arm its timers."""
        ticket = self._tickets[name]
        facts = in_order(ticket.facts)
        if not facts or ticket.is_foreign:
            self._unit.set_timers(name, [])
            return
        # Clocks of machines step back and differ; what was said stays said.
        at_us = max(self._now_us, ticket.recorded_us)
        judgement = judge_each(facts, self._book, at_us)
        said = _announce(
            judgement.ledger, ticket.announced, at_us, min(self._fired_us, self._now_us + 1)
        )
        uuid = UUID(name)
        lineage = lineage_after(cause or _last_told(ticket.events), _WRITER)
        self._append(ticket, ((event_of(one, uuid), one.time_us) for one in said), lineage)
        for bequest in sorted(ticket.bequests):
            self._hand_over(uuid, bequest, due_times(facts, self._book, bequest.at_us), lineage)
        self._arm(ticket, facts, judgement, at_us)

    def _hand_over(
        self, giver: UUID, bequest: Bequest, dues: dict[str, int], lineage: Lineage
    ) -> None:
        """Tell an heir which due times it takes over; it is judged again when sla hears of it."""
        heir = self._tickets[str(bequest.heir)]
        if not heir.is_foreign:
            told = [*inherited(giver, bequest, dues, heir.told_heir)]
            self._append(heir, ((event, bequest.at_us) for event in told), lineage)
            heir.told_heir[giver, bequest.at_us] = {**dues}

    def _append(
        self, ticket: _Ticket, said: Iterable[tuple[EventData, int]], lineage: Lineage
    ) -> None:
        drafts = [Draft(event, instant(time_us)) for event, time_us in said]
        self._unit.append(ticket.name, ticket.length, drafts, lineage)
        ticket.length += len(drafts)

    def _arm(
        self, ticket: _Ticket, facts: Sequence[Fact], judgement: Judgement, at_us: int
    ) -> None:
        timers = [*_timers(ticket.name, judgement.ledger, ticket.announced)]
        later = [fact.time_us for fact in facts if fact.time_us > at_us]
        for name, coming in ("later", later), ("takeover", self._book.takeovers_after(at_us)):
            timers += [Timer(ticket.name, name, instant(coming_us)) for coming_us in coming[:1]]
        if judgement.without_deadline:
            timers.append(Timer(ticket.name, "again", self._unit.now + _AGAIN))
            _warn_of(ticket.name, judgement.without_deadline)
        self._unit.set_timers(ticket.name, timers)


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


def _announce(
    ledger: Ledger, announced: AnnouncedClocks, at_us: int, fired_us: int
) -> list[Announcement]:
    """Return what timers have to say, then the news; and learn both."""
    timed = announcement.due(ledger, announced, fired_us)
    for one in timed:
        learn(announced, one)
    said = announcement.changes(ledger, announced, at_us, fired_us)
    for one in said:
        learn(announced, one)
    return [*timed, *said]


def _timers(ticket_id: str, ledger: Ledger, announced: AnnouncedClocks) -> Iterator[Timer]:
    """Yield the warnings and breaches still to come, also those that are due already.

    What a pause postpones has no instant until the clock resumes.
    """
    for clock in ledger:
        key = announcement.key_of(clock)
        told = announced.get(key)
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


def _is_postponed(clock: TicketClock, at_us: int) -> bool:
    is_dated = clock.definition.date_field is not None
    return clock.pause is not None and at_us > clock.pause.start_us and not is_dated
