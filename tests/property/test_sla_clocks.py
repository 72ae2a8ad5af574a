"""Random histories: the ledger depends on the set of facts, and everything is said exactly once."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sla.domain.clocks import Clock, judge
from services.sla.domain.defaults import default_calendars, default_policy
from services.sla.domain.history import Fact
from services.sla.domain.publish import PublishedClocks, decide, evolve, key_of, timers
from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, round_the_clock
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketCancelled,
    TicketClosed,
    TicketCommented,
    TicketCreated,
    TicketHeld,
    TicketReopened,
    TicketResolved,
    TicketResumed,
    TicketStarted,
)
from shared.contracts.routing import TicketPrioritized

ID = UUID(int=7)
START = datetime(2025, 6, 6, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HORIZON = 8 * 1440
CALENDARS = {
    ROUND_THE_CLOCK: round_the_clock(),
    "office": WorkingCalendar.published(default_calendars("Europe/Berlin")[0]),
}
LIFE = (
    TicketCommented(
        ticket_id=ID,
        comment_id=UUID(int=8),
        author_id="bo",
        author_role="agent",
        visibility="public",
        text="On it.",
    ),
    TicketStarted(ticket_id=ID, agent_id="bo"),
    TicketHeld(ticket_id=ID, reason="vendor"),
    TicketHeld(ticket_id=ID, reason="requester"),
    TicketResumed(ticket_id=ID),
    TicketResolved(ticket_id=ID, resolved_by="bo", resolution="solved"),
    TicketClosed(ticket_id=ID, closed_by="bo", code="x", resolved_at=None, reopen_count=0),
    TicketReopened(ticket_id=ID, reopened_by="ann", reason="again", reopen_count=1),
    TicketCancelled(ticket_id=ID, cancelled_by="ann", reason="a mistake"),
)


def created(kind):
    return TicketCreated(
        ticket_id=ID,
        number="INC-000001",
        kind=kind,
        title="VPN drops",
        description="",
        requester=Requester(id="ann"),
        occurred_at=START,
        impact=None,
        urgency=None,
        scope=Scope(),
        category=None,
        service=None,
        channel="api",
        origin="test",
    )


def ranked(priority):
    return TicketPrioritized(
        ticket_id=ID,
        priority=priority,
        impact="low",
        urgency="low",
        reasons=(),
        policy_version=1,
    )


moments = st.one_of(
    st.integers(0, 40), st.integers(0, 600), st.sampled_from((15, 240, 480)), st.integers(0, 9000)
)


@st.composite
def histories(draw):
    """A ticket's facts in true order; any lifecycle, also ones that intake would refuse."""
    lived = draw(st.lists(st.tuples(moments, st.sampled_from(LIFE)), max_size=8))
    rank = st.sampled_from(("P1", "P2", "P3", "P4")).map(ranked)
    ordered = sorted(draw(st.lists(st.tuples(moments, rank), max_size=3)), key=lambda x: x[0])
    told = [(0, created(draw(st.sampled_from(("incident", "service_request")))))]
    told += sorted(lived, key=lambda pair: pair[0])
    facts = [Fact(START + m * MINUTE, "intake", n, d) for n, (m, d) in enumerate(told, 1)]
    facts += [Fact(START + m * MINUTE, "routing", n, d) for n, (m, d) in enumerate(ordered, 1)]
    return facts


def ledger_of(facts, now):
    return judge(facts, default_policy(), CALENDARS, now)


def folded(drafts, published):
    return reduce(evolve, (draft.data for draft in drafts), published)


@settings(max_examples=150, deadline=None)
@given(facts=histories(), data=st.data(), now=st.integers(0, HORIZON))
def test_any_order_and_any_duplication_give_the_same_ledger(facts, data, now) -> None:
    shuffled = data.draw(st.permutations(facts))
    again = data.draw(st.lists(st.sampled_from(facts), max_size=5))
    read_at = START + now * MINUTE
    assert ledger_of([*shuffled, *again], read_at) == ledger_of(facts, read_at)


@settings(max_examples=150, deadline=None)
@given(facts=histories(), now=st.integers(0, HORIZON), fire=st.none() | st.integers(0, HORIZON))
def test_deciding_twice_says_nothing_new(facts, now, fire) -> None:
    read_at = START + now * MINUTE
    fire_until = None if fire is None else START + fire * MINUTE
    ledger = ledger_of(facts, read_at)
    drafts = decide(ledger, PublishedClocks(), read_at, fire_until=fire_until)
    assert all(draft.time <= read_at for draft in drafts)
    published = folded(drafts, PublishedClocks())
    assert decide(ledger, published, read_at, fire_until=fire_until) == []


def stands(clock: Clock):
    """Return what must stand published of a clock once all timers have fired."""
    is_breached = clock.breached_at is not None
    return (clock.stopped_at is not None, clock.breached_at if is_breached else None)


@settings(max_examples=200, deadline=None)
@given(facts=histories(), data=st.data())
def test_whatever_the_arrivals_the_published_clocks_become_the_ledger(facts, data) -> None:
    """Facts arrive in any order, some twice, with looks and timers between; then all is told."""
    arrivals = data.draw(st.permutations(facts))
    published, known = PublishedClocks(), []
    now = START + 9000 * MINUTE
    for fact in arrivals:
        known.append(fact)
        now += MINUTE
        fire_until = now if data.draw(st.booleans()) else None
        ledger = ledger_of(known, now)
        drafts = decide(ledger, published, now, fire_until=fire_until)
        published = folded(drafts, published)
        assert decide(ledger, published, now, fire_until=fire_until) == []
    now += MINUTE
    ledger = ledger_of(facts, now)
    published = folded(decide(ledger, published, now, fire_until=now), published)
    seen = {key_of(clock): clock for clock in ledger}
    for key, told in published.clocks.items():
        if key in seen:
            assert (told.end is not None, told.breached_due_at) == stands(seen[key])
            if told.end is None:
                assert told.due_at == seen[key].due_at
                assert (told.pause is not None) == (seen[key].due_at is None)
        else:
            assert told.end.reason == "withdrawn"
            assert told.breached_due_at is None
    assert seen.keys() <= published.clocks.keys()
    assert all(arming.due_at > now for arming in timers(ledger, published))


@settings(max_examples=150, deadline=None)
@given(facts=histories(), now=st.integers(0, HORIZON))
def test_a_clock_is_late_exactly_when_it_used_up_its_goal(facts, now) -> None:
    for clock in ledger_of(facts, START + now * MINUTE):
        if clock.breached_at is not None:
            assert clock.elapsed_seconds >= clock.goal_seconds
        if clock.elapsed_seconds > clock.goal_seconds:
            assert clock.breached_at == clock.due_at
        if clock.state in ("met", "missed") and clock.stopped_at is not None:
            assert (clock.state == "met") == (clock.stopped_at <= clock.due_at)
        if clock.due_at is None:
            assert clock.state == "paused"
