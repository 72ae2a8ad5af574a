"""The rules that sla's soak publishes on its way, and the rulebook that they must come to."""

from random import Random
from typing import NamedTuple

import msgspec

from services.sla.domain.clocks.rulebook import PolicyVersion, Rulebook, calendar_version, rulebook
from services.sla.domain.files.scenario import CalendarPart
from services.sla.domain.rules.defaults import OFFICE, default_calendars, default_policy
from services.sla.domain.rules.publishing import PolicyWanted, RulesWanted
from shared.calendar import ROUND_THE_CLOCK, WorkingCalendar, instant, microseconds, round_the_clock
from shared.contracts.promises import Condition, Goal, Target, WarnRule
from shared.contracts.sla import SlaCalendarPublished, SlaPolicyPublished
from support.sla_lives import DAY_US

ZONE = "Europe/Berlin"
HOUR = 3600
LEAD_US = 2 * DAY_US
UNPROMISED = 0.3
WARNINGS = (
    WarnRule(percent=75),
    WarnRule(percent=50),
    WarnRule(percent=100),
    WarnRule(before_due_seconds=HOUR),
    WarnRule(after_due_seconds=2 * HOUR),
    WarnRule(before_due_working_days=1),
)
PAUSES: tuple[tuple[Condition, ...], ...] = (
    ("held",),
    ("held:vendor",),
    ("held:vendor", "held:requester", {"group": "vendor"}),
    ({"group": "vendor"},),
)
KINDS = ("running", "peak", "new", "calendar", "planned running", "no peak", "planned new")
"""What is changed in turn; what is planned comes into force two days after it is published."""


class Change(NamedTuple):
    """A rule to publish: a peak or its end, or calendars and policies."""

    at_us: int
    kind: str
    wanted: RulesWanted | None


class Rules:
    """What is published when, and what is in force by that; `start_us` is when the desk starts.

    `first` is published before there are tickets, so that all targets are known to each of them.
    """

    def __init__(self, chance: Random, start_us: int, days: int) -> None:
        self._chance = chance
        every = max(3, min(14, days // 8))
        self.first = self._change("new", start_us, 0)
        self.changes = [
            self._change(KINDS[place % len(KINDS)], start_us + day * DAY_US, place)
            for place, day in enumerate(range(1, days, every))
        ]
        self._calendars = {ROUND_THE_CLOCK: round_the_clock()}
        self._versions: list[PolicyVersion] = []
        (office,) = default_calendars(ZONE)
        self._pins: dict[str, int] = {}
        self._calendar(office)
        first = default_policy()
        self._targets = first.targets
        self._version(first.targets, microseconds(first.effective_from or instant(start_us)), "new")
        self.book = self._book()

    def peaks(self) -> list[tuple[int, int]]:
        """Return the times with a peak; the last may last for ever."""
        marks = [(c.at_us, c.kind == "peak") for c in self.changes if c.wanted is None]
        ends = [at_us for at_us, is_peak in marks if not is_peak]
        return [
            (at_us, min((end for end in ends if end > at_us), default=1 << 62))
            for at_us, is_peak in marks
            if is_peak
        ]

    def take(self, change: Change) -> list[PolicyVersion | WorkingCalendar]:
        """Put a change into the rulebook; return what the service has to publish for it."""
        wanted = change.wanted
        if wanted is None:
            return []
        found: list[PolicyVersion | WorkingCalendar] = []
        for part in wanted.calendars:
            version = self._pins.get(part.id, 0) + 1
            found.append(
                self._calendar(
                    SlaCalendarPublished(
                        calendar_id=part.id,
                        version=version,
                        name=part.id,
                        zone=part.zone,
                        weekly=part.weekly,
                        holidays=part.holidays,
                        special_days=part.special_days,
                    )
                )
            )
            found.append(self._version(self._targets, change.at_us, "new"))
        for policy in wanted.policies:
            since = policy.effective_from
            since_us = change.at_us if since is None else microseconds(since)
            self._targets = policy.targets
            found.append(self._version(policy.targets, since_us, policy.applies_to))
        self.book = self._book()
        return found

    def _book(self) -> Rulebook:
        return rulebook(self._versions, self._calendars)

    def _calendar(self, published: SlaCalendarPublished) -> WorkingCalendar:
        name, calendar = published.calendar_id, WorkingCalendar.published(published)
        self._pins[name] = published.version
        self._calendars[name] = calendar
        self._calendars[calendar_version(name, published.version)] = calendar
        return calendar

    def _version(self, targets: tuple[Target, ...], since_us: int, applies: str) -> PolicyVersion:
        used = {target.calendar for target in targets}
        self._versions.append(
            PolicyVersion(
                policy_id="standard",
                version=len(self._versions) + 1,
                effective_us=since_us,
                applies_to=applies,
                targets=targets,
                calendars={name: pin for name, pin in self._pins.items() if name in used},
            )
        )
        return self._versions[-1]

    def _change(self, kind: str, at_us: int, place: int) -> Change:
        if "peak" in kind:
            return Change(at_us, kind, None)
        if kind == "calendar":
            return Change(at_us, kind, RulesWanted(calendars=(self._office(at_us, place),)))
        planned = at_us + LEAD_US if "planned" in kind else None
        policy = PolicyWanted(
            id="standard",
            effective_from=None if planned is None else instant(planned),
            applies_to="running" if "running" in kind else "new",
            targets=tuple(self._draw_targets()),
        )
        return Change(at_us, kind, RulesWanted(policies=(policy,)))

    def _office(self, at_us: int, place: int) -> CalendarPart:
        """Return office hours that differ from one version to the next, with holidays ahead."""
        opens, closes = self._chance.choice((("08:00", "17:00"), ("09:00", "18:00")))
        windows = (("08:30", "12:00"), ("13:00", closes)) if place % 2 else ((opens, closes),)
        days = [instant(at_us + self._chance.randrange(1, 40) * DAY_US).date() for _ in range(4)]
        return CalendarPart(
            id=OFFICE,
            zone=ZONE,
            weekly=dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), windows),
            holidays=("--12-25", "--12-26", "--01-01", *{day.isoformat() for day in days[:3]}),
            special_days={days[3].isoformat(): (("10:00", "14:00"),)},
        )

    def _draw_targets(self) -> list[Target]:
        """Return targets under the names of the default ones, and one for questions."""
        chance = self._chance
        factor = chance.choice((0.5, 0.75, 1.0, 1.5))
        pause, on_change = chance.choice(PAUSES), chance.choice(("ticket_start", "carry_elapsed"))
        is_unpromised = chance.random() < UNPROMISED
        found: list[Target] = []
        for target in default_policy().targets:
            seconds = target.goal.working_seconds
            goal = Goal(working_seconds=int(seconds * factor) // 60 * 60)
            if target.when.get("priority") == "P4":
                if is_unpromised:
                    continue
                goal = Goal(working_days=chance.randrange(1, 4), at="end_of_day")
            is_solution = target.name == "resolution"
            found.append(
                msgspec.structs.replace(
                    target,
                    goal=goal,
                    pause=pause if is_solution else (),
                    warn=tuple(chance.sample(WARNINGS, chance.randrange(1, 3))),
                    on_change=on_change if is_solution else "change_time",
                    keep_pauses=chance.random() < 0.8,
                )
            )
        found.append(
            Target(
                name="answer",
                kind="ola",
                calendar=OFFICE,
                when={"category": ("network", "software")},
                goal=Goal(working_seconds=4 * HOUR),
                start=("requester_message",),
                stop=("agent_reply", "resolved"),
                cycle="repeat",
                on_reopen="ignore",
            )
        )
        return found


def says_the_same(published: list[object], expected: list[PolicyVersion | WorkingCalendar]) -> bool:
    """Tell whether the service published just that: so many rules, with these versions."""
    policies = [one for one in published if isinstance(one, SlaPolicyPublished)]
    wanted = [one for one in expected if isinstance(one, PolicyVersion)]
    return len(published) == len(expected) and [
        (
            p.version,
            p.applies_to,
            p.targets,
            p.calendars,
            microseconds(p.effective_from or instant(0)),
        )
        for p in policies
    ] == [(v.version, v.applies_to, v.targets, v.calendars, v.effective_us) for v in wanted]
