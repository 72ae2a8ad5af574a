"""What is said about clocks, as the story of one P1 ticket: due at 240 minutes, warned at 180."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import UUID

import pytest

from services.sla.domain.clocks import judge
from services.sla.domain.defaults import default_calendars, default_policy
from services.sla.domain.history import Fact
from services.sla.domain.publish import (
    Arming,
    ClockKey,
    Draft,
    PublishedClocks,
    decide,
    evolve,
    timers,
)
from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, round_the_clock
from shared.contracts.base import EventData
from shared.contracts.intake import (
    Requester,
    Scope,
    TicketCancelled,
    TicketCreated,
    TicketHeld,
    TicketReopened,
    TicketResolved,
    TicketResumed,
)
from shared.contracts.routing import TicketPrioritized
from shared.contracts.sla import SlaMet, SlaPolicyPublished

ID = UUID(int=7)
START = datetime(2025, 6, 2, 9, tzinfo=UTC)
CALENDARS = {
    ROUND_THE_CLOCK: round_the_clock(),
    "office": WorkingCalendar.published(default_calendars("Europe/Berlin")[0]),
}
POLICY = SlaPolicyPublished(
    policy_id="p",
    version=1,
    targets=tuple(row for row in default_policy().targets if row.name == "resolution"),
)
CREATED = TicketCreated(
    ticket_id=ID,
    number="INC-000001",
    kind="incident",
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
RESOLVED = TicketResolved(ticket_id=ID, resolved_by="bo", resolution="new certificate")
REOPENED = TicketReopened(ticket_id=ID, reopened_by="ann", reason="again", reopen_count=1)
CANCELLED = TicketCancelled(ticket_id=ID, cancelled_by="ann", reason="a mistake")
HELD = TicketHeld(ticket_id=ID, reason="vendor")
RESUMED = TicketResumed(ticket_id=ID)


def ranked(priority: Any) -> TicketPrioritized:
    return TicketPrioritized(
        ticket_id=ID,
        priority=priority,
        impact="low",
        urgency="low",
        reasons=(),
        policy_version=1,
    )


def minutes(count: float) -> datetime:
    return START + timedelta(minutes=count)


class Desk:
    """Holds the facts learnt and the words said, and says them as (type, minutes) pairs."""

    def __init__(self, *told: tuple[float, EventData]) -> None:
        self.facts: list[Fact] = []
        self.published = PublishedClocks()
        self.drafts: list[Draft] = []
        for after, data in ((0, CREATED), (0, ranked("P1")), *told):
            self.learn(after, data)

    def learn(self, after: float, data: EventData) -> None:
        writer = "routing" if isinstance(data, TicketPrioritized) else "intake"
        sequence = 1 + sum(fact.writer == writer for fact in self.facts)
        self.facts.append(Fact(minutes(after), writer, sequence, data))

    def say(self, now: float, *, fire: float | None = None) -> list[tuple[str, float]]:
        self.drafts = decide(
            judge(self.facts, POLICY, CALENDARS, minutes(now)),
            self.published,
            minutes(now),
            fire_until=None if fire is None else minutes(fire),
        )
        self.published = reduce(evolve, (draft.data for draft in self.drafts), self.published)
        return [
            (draft.data.TYPE.removeprefix("sla."), (draft.time - START) / timedelta(minutes=1))
            for draft in self.drafts
        ]

    def armed(self, now: float) -> list[Arming]:
        return timers(judge(self.facts, POLICY, CALENDARS, minutes(now)), self.published)


def test_a_new_clock_is_said_once_with_its_due_time() -> None:
    desk = Desk()
    assert desk.say(1) == [("started", 0)]
    assert desk.drafts[0].data.due_at == minutes(240)
    assert desk.say(2) == []


def test_the_timers_are_the_warning_and_the_breach() -> None:
    assert Desk().armed(1) == [
        Arming("resolution:warn:75", "1.1", minutes(180)),
        Arming("resolution:breach", "1.1", minutes(240)),
    ]


def test_only_the_timer_says_warnings_and_breaches() -> None:
    desk = Desk()
    desk.say(1)
    assert desk.say(300) == []
    assert desk.say(300, fire=179) == []
    assert desk.say(300, fire=180) == [("warned", 180)]
    assert desk.armed(300) == [Arming("resolution:breach", "1.1", minutes(240))]
    assert desk.say(300, fire=240) == [("breached", 240)]
    assert desk.armed(300) == []
    assert desk.say(300, fire=300) == []


def test_a_timer_never_fires_beyond_the_reading() -> None:
    desk = Desk()
    desk.say(1)
    assert desk.say(200, fire=999) == [("warned", 180)]


def test_a_breach_at_the_very_instant_is_not_taken_back_by_the_next_look() -> None:
    desk = Desk()
    desk.say(1)
    assert desk.say(240, fire=240) == [("warned", 180), ("breached", 240)]
    assert desk.say(240) == []
    assert desk.say(241) == []


def test_a_solution_in_time_is_met_and_a_late_one_missed_after_its_breach() -> None:
    assert Desk((60, RESOLVED)).say(60) == [("started", 0), ("met", 60)]
    assert Desk((300, RESOLVED)).say(300) == [("started", 0), ("breached", 240), ("missed", 300)]


def test_a_pause_and_a_resumption_carry_their_own_times_and_the_new_due_time() -> None:
    desk = Desk()
    desk.say(1)
    desk.learn(60, HELD)
    assert desk.say(61) == [("paused", 60)]
    assert desk.drafts[0].data.elapsed_seconds == 3600
    assert desk.armed(61) == []
    desk.learn(100, RESUMED)
    assert desk.say(101) == [("resumed", 100)]
    assert desk.drafts[0].data.due_at == minutes(280)
    assert [arming.due_at for arming in desk.armed(101)] == [minutes(220), minutes(280)]


def test_a_pause_that_came_and_went_between_two_looks_still_moves_the_due_time() -> None:
    desk = Desk((60, HELD), (100, RESUMED))
    assert desk.say(101) == [("started", 0), ("resumed", 100)]


def test_a_late_solution_takes_the_breach_back_and_tells_the_end_anew() -> None:
    """The desk learns at 12:00 that a ticket closed late had been solved in time."""
    desk = Desk((300, RESOLVED))
    desk.say(300)
    desk.facts.append(Fact(minutes(50), "intake", 9, RESOLVED))
    assert desk.say(360) == [("breach_retracted", 360), ("met", 50)]
    assert desk.drafts[0].data.reason == "stopped_in_time"
    assert desk.say(361) == []


def test_a_late_hold_moves_the_breach() -> None:
    desk = Desk()
    desk.say(1)
    desk.say(250, fire=250)
    desk.learn(100, HELD)
    desk.learn(130, RESUMED)
    assert desk.say(255) == [("breach_retracted", 255), ("resumed", 130)]
    assert [arming.due_at for arming in desk.armed(255)] == [minutes(270)]
    assert desk.say(280, fire=270) == [("breached", 270)]


def test_a_breach_moved_to_an_earlier_instant_is_said_anew_at_once() -> None:
    desk = Desk((60, HELD), (100, RESUMED))
    desk.say(290, fire=290)
    desk.facts.append(Fact(minutes(80), "intake", 9, RESUMED))
    assert desk.say(300) == [("breach_retracted", 300), ("resumed", 80), ("breached", 260)]


def test_another_priority_cancels_the_clock_as_superseded_and_starts_the_next() -> None:
    desk = Desk()
    desk.say(1)
    desk.learn(30, ranked("P2"))
    assert desk.say(31) == [("cancelled", 30), ("started", 0)]
    assert desk.drafts[0].data.reason == "superseded"
    assert (desk.drafts[1].data.generation, desk.drafts[1].data.due_at) == (2, minutes(480))
    assert [arming.generation for arming in desk.armed(31)] == ["1.2", "1.2"]


def test_a_reopened_ticket_starts_a_next_cycle() -> None:
    desk = Desk((60, RESOLVED))
    desk.say(60)
    desk.learn(100, REOPENED)
    assert desk.say(101) == [("started", 0)]
    assert (desk.drafts[0].data.cycle, desk.drafts[0].data.due_at) == (2, minutes(280))


def test_a_cancelled_ticket_cancels_its_clock() -> None:
    desk = Desk((30, CANCELLED))
    assert desk.say(31) == [("started", 0), ("cancelled", 30)]
    assert desk.drafts[1].data.reason == "cancelled"


def test_a_clock_that_late_facts_undo_is_withdrawn_with_its_breach() -> None:
    desk = Desk((60, ranked("P2")))
    desk.say(61)
    desk.say(500, fire=500)
    desk.facts.append(Fact(minutes(50), "intake", 9, RESOLVED))
    assert desk.say(510) == [("met", 50), ("breach_retracted", 510), ("cancelled", 510)]
    assert {draft.data.reason for draft in desk.drafts[1:]} == {"withdrawn"}
    assert desk.say(511) == []


def test_a_withdrawn_clock_may_come_back() -> None:
    desk = Desk((60, ranked("P2")))
    desk.say(61)
    whole = list(desk.facts)
    desk.facts.append(Fact(minutes(50), "intake", 9, RESOLVED))
    desk.say(70)
    desk.facts = whole
    assert desk.say(71) == [("cancelled", 60), ("started", 0)]
    assert [draft.data.generation for draft in desk.drafts] == [1, 2]
    assert desk.say(72) == []


def test_where_another_system_judged_the_desk_says_nothing() -> None:
    desk = Desk()
    desk.published = evolve(
        desk.published,
        SlaMet(
            ticket_id=ID,
            target="resolution",
            stopped_at=minutes(60),
            due_at=None,
            elapsed_seconds=None,
            source_system="servicenow",
        ),
    )
    assert desk.say(300, fire=300) == []
    assert desk.armed(300) == []


def test_what_is_no_clocks_event_changes_nothing() -> None:
    told = evolve(PublishedClocks(), Desk().facts[0].data)
    assert told == PublishedClocks()


def test_the_fold_keeps_what_was_last_said() -> None:
    desk = Desk((60, HELD))
    desk.say(61)
    told = desk.published.clocks[ClockKey("resolution", 1, 1)]
    assert told.pause is not None
    assert (told.due_at, told.pause.reason, told.end) == (None, "vendor", None)


@pytest.mark.parametrize("row", default_policy().targets)
def test_every_default_promise_uses_a_default_calendar_and_warns(row: Any) -> None:
    assert row.calendar in CALENDARS
    assert row.warn_percent == 75


def test_the_default_promises_are_the_published_ones() -> None:
    hours = {
        (row.name, row.kind, row.priority): (row.calendar, row.goal_seconds / 3600)
        for row in default_policy().targets
    }
    assert hours == {
        ("resolution", "service_request", None): ("office", 24),
        ("response", None, "P1"): ("24x7", 0.25),
        ("response", None, "P2"): ("24x7", 0.5),
        ("response", None, "P3"): ("office", 4),
        ("response", None, "P4"): ("office", 8),
        ("resolution", "incident", "P1"): ("24x7", 4),
        ("resolution", "incident", "P2"): ("24x7", 8),
        ("resolution", "incident", "P3"): ("office", 24),
        ("resolution", "incident", "P4"): ("office", 48),
    }
