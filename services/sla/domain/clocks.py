"""From a ticket's history to its clocks: what was promised, how much is used, what became of it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import floor
from typing import Final, Literal
from uuid import UUID

from services.sla.domain.history import (
    Cycle,
    Fact,
    Rank,
    Spell,
    TargetName,
    created_in,
    cycles,
    idle_spells,
    in_order,
    ranks,
)
from shared.calendar import WorkingCalendar
from shared.contracts.sla import ClockKind, SlaPolicyPublished, Target
from shared.errors import InvalidInputError

TARGETS: Final[tuple[TargetName, ...]] = ("response", "resolution")

ClockState = Literal["open", "paused", "met", "missed", "cancelled", "superseded"]
_LifeEnd = Literal["stopped", "cancelled", "superseded"]


@dataclass(frozen=True, slots=True)
class Clock:
    """One promise of a ticket, read at one instant.

    `missed` without `stopped_at` is overdue and still running. `due_at` is None while a pause keeps
    it open. `promised_at` is the due instant as it stood when the clock came to be, `stopped_at`
    the end whatever ended it, `breached_at` the due instant if the clock lived past it. Both
    `..._seconds` are working time, whole seconds rounded down, up to the end or the reading.
    """

    ticket_id: UUID
    target: TargetName
    cycle: int
    generation: int
    kind: ClockKind
    calendar: str
    goal_seconds: int
    policy_version: int
    started_at: datetime
    promised_at: datetime
    due_at: datetime | None
    state: ClockState
    stopped_at: datetime | None
    breached_at: datetime | None
    elapsed_seconds: int
    paused_seconds: int
    warn_percent: int | None
    warn_at: datetime | None
    pause_reason: str | None
    paused_at: datetime | None
    resumed_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Life:
    """The stretch of a cycle that one row of the policy rules."""

    cycle: int
    generation: int
    row: Target
    born_at: datetime
    ended_at: datetime | None = None
    end: _LifeEnd | None = None


@dataclass(frozen=True, slots=True)
class _Course:
    """The time since the ticket's start, with what does not count for one target."""

    ticket_id: UUID
    policy_version: int
    started_at: datetime
    spells: tuple[Spell, ...]
    calendar: WorkingCalendar

    def elapsed(self, until: datetime) -> float:
        """Return the working seconds that count."""
        return round(sum(self.calendar.working_seconds(*part) for part in self._running(until)), 6)

    def paused(self, until: datetime) -> float:
        """Return the working seconds on hold; the time between two cycles is not among them."""
        return sum(
            self.calendar.working_seconds(
                max(spell.start, self.started_at), min(spell.end or until, until)
            )
            for spell in self.spells
            if spell.reason is not None
        )

    def reaches(self, seconds: float, until: datetime) -> datetime:
        """Return the earliest instant at which so many seconds count, if it runs from `until`."""
        left = seconds
        for start, end in self._running(until):
            worked = self.calendar.working_seconds(start, end)
            if worked >= left:
                return self.calendar.add_working_seconds(start, left)
            left = round(left - worked, 6)
        return self.calendar.add_working_seconds(until, left)

    def _running(self, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        at = self.started_at
        for spell in self.spells:
            if spell.start >= until:
                break
            if at < spell.start:
                yield at, spell.start
            at = max(at, min(spell.end or until, until))
        if at < until:
            yield at, until


def judge(
    history: Iterable[Fact],
    policy: SlaPolicyPublished,
    calendars: Mapping[str, WorkingCalendar],
    until: datetime,
) -> tuple[Clock, ...]:
    """Return every clock the ticket has had, as read at `until`; later facts do not count.

    The result depends on the set of facts alone, not on their order or repetition. Clocks come by
    target, cycle, generation. Source: the SLA scenario semantics, with `on_reopen: continue` for
    resolutions, `ignore` for responses, and `on_change: ticket_start`.

    Raises: InvalidInputError if the policy names a calendar that is not in `calendars`.
    """
    facts = in_order(fact for fact in history if fact.time <= until)
    created = created_in(facts)
    if created is None:
        return ()
    created_at, ticket = created
    changes = ranks(facts, created_at, ticket.kind)
    found: list[Clock] = []
    for target in TARGETS:
        runs = cycles(facts, target)
        spells = idle_spells(facts, runs, target)
        for life in _lives(runs, _rows(policy, target, changes)):
            calendar = _calendar(calendars, life.row.calendar)
            course = _Course(ticket.ticket_id, policy.version, created_at, spells, calendar)
            found.append(_read(life, course, until))
    return tuple(found)


def _calendar(calendars: Mapping[str, WorkingCalendar], name: str) -> WorkingCalendar:
    calendar = calendars.get(name)
    if calendar is None:
        raise InvalidInputError(f"the policy names calendar {name}, which is not published")
    return calendar


def _rows(
    policy: SlaPolicyPublished, target: TargetName, changes: Iterable[Rank]
) -> list[tuple[datetime, Target | None]]:
    """Return which row rules `target` from when; None where the policy promises nothing."""
    found: list[tuple[datetime, Target | None]] = []
    for rank in changes:
        row = next((row for row in policy.targets if _matches(row, target, rank)), None)
        if row is not (found[-1][1] if found else None):
            found.append((rank.time, row))
    return found


def _matches(row: Target, target: TargetName, rank: Rank) -> bool:
    return (
        row.name == target
        and row.kind in (None, rank.kind)
        and row.priority in (None, rank.priority)
    )


def _lives(runs: Iterable[Cycle], rows: list[tuple[datetime, Target | None]]) -> Iterator[_Life]:
    """Cut each cycle where its row changes; a row that comes at the very end still gets a clock."""
    for run in runs:
        first = next((row for at, row in reversed(rows) if at <= run.opened_at), None)
        life = _Life(run.number, 1, first, run.opened_at) if first else None
        generation = 1 if life else 0
        for at, row in rows:
            if at <= run.opened_at or _is_over(run, at, row):
                continue
            if life is not None:
                yield replace(life, ended_at=at, end="superseded" if row else "cancelled")
            generation += 1 if row else 0
            life = _Life(run.number, generation, row, at) if row else None
        if life is not None:
            yield replace(life, ended_at=run.ended_at, end=run.end)


def _is_over(run: Cycle, at: datetime, row: Target | None) -> bool:
    """Tell whether a change to `row` comes too late for the cycle; its stop comes first."""
    if run.ended_at is None:
        return False
    return run.ended_at < at or (row is None and run.ended_at == at)


def _read(life: _Life, course: _Course, until: datetime) -> Clock:
    read_at = until if life.ended_at is None else life.ended_at
    goal_seconds = life.row.goal_seconds
    elapsed = course.elapsed(read_at)
    pause = _open_pause(life, course)
    due_at = None
    if pause is None or elapsed >= goal_seconds:
        due_at = course.reaches(goal_seconds, read_at)
    return Clock(
        ticket_id=course.ticket_id,
        target=life.row.name,
        cycle=life.cycle,
        generation=life.generation,
        kind="sla",
        calendar=life.row.calendar,
        goal_seconds=goal_seconds,
        policy_version=course.policy_version,
        started_at=course.started_at,
        promised_at=course.reaches(goal_seconds, life.born_at),
        due_at=due_at,
        state=_state(life, pause, due_at, read_at),
        stopped_at=life.ended_at,
        breached_at=due_at if due_at is not None and due_at < read_at else None,
        elapsed_seconds=floor(elapsed),
        paused_seconds=floor(round(course.paused(read_at), 6)),
        warn_percent=life.row.warn_percent,
        warn_at=_warn_at(life, course, read_at, is_paused=pause is not None),
        pause_reason=pause.reason if pause else None,
        paused_at=pause.start if pause else None,
        resumed_at=max(
            (spell.end for spell in course.spells if spell.end and spell.end <= read_at),
            default=None,
        ),
    )


def _open_pause(life: _Life, course: _Course) -> Spell | None:
    """Return the hold that keeps a clock that has not ended from running."""
    last = course.spells[-1] if course.spells else None
    return last if life.end is None and last is not None and last.end is None else None


def _state(
    life: _Life, pause: Spell | None, due_at: datetime | None, read_at: datetime
) -> ClockState:
    is_late = due_at is not None and due_at < read_at
    if life.end == "stopped":
        return "missed" if is_late else "met"
    if life.end is not None:
        return life.end
    if is_late:
        return "missed"
    return "paused" if pause else "open"


def _warn_at(
    life: _Life, course: _Course, read_at: datetime, *, is_paused: bool
) -> datetime | None:
    """Return when the warned share of the goal is used, None if the clock cannot live to see it."""
    if life.row.warn_percent is None:
        return None
    used_seconds = -(-life.row.goal_seconds * life.row.warn_percent // 100)
    if is_paused and course.elapsed(read_at) < used_seconds:
        return None
    warn_at = course.reaches(used_seconds, read_at)
    is_after_end = life.ended_at is not None and warn_at >= life.ended_at
    return None if warn_at < life.born_at or is_after_end else warn_at
