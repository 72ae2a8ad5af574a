"""The ledger from scratch: cycles are opened and ended instant by instant, then clocks are read."""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

from .calendar import ROUND_THE_CLOCK, Calendar, seconds, text
from .facts import Fact, Instant, replay, same


class Rules:
    """Calendars and policies of a scenario, looked up the way the file names them."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        listed = [ROUND_THE_CLOCK, *scenario.get("calendars", ())]
        self.calendars = {part["id"]: Calendar(part) for part in listed}
        self.policies: dict[str, list[dict[str, Any]]] = {}
        self.targets: dict[str, dict[str, Any]] = {}
        for version in scenario["policies"]:
            self.policies.setdefault(version["id"], []).append(version)
            for target in version["targets"]:
                self.targets.setdefault(target["name"], target)

    def takeovers(self) -> set[int]:
        """Return the instants at which a version for running cycles comes into force."""
        versions = [version for policy in self.policies.values() for version in policy]
        running = [v for v in versions if v.get("applies_to", "new") == "running"]
        return {seconds(version["effective_from"]) for version in running}

    def match(self, name: str, opened: int, now: Instant) -> "Definition | None":
        """Return the definition that counts now for a cycle that was opened then."""
        for versions in self.policies.values():
            version = judging(versions, opened, now.time)
            for place, target in enumerate(version["targets"] if version else ()):
                date_field = target["goal"].get("date_field")
                promised = now.fields.get(date_field) if date_field else None
                if target["name"] != name or (date_field and promised is None):
                    continue
                if all(matches(now, *wanted) for wanted in target.get("when", {}).items()):
                    date = None if promised is None else seconds(promised)
                    key = (version["id"], version["version"], place, date)
                    calendar = self.calendars[target.get("calendar", "24x7")]
                    return Definition(key, target, calendar, version["version"])
        return None


def judging(versions: list[dict[str, Any]], opened: int, now: int) -> dict[str, Any] | None:
    """Return the version of one policy that judges a cycle: the highest that may."""
    allowed = []
    for version in versions:
        since = seconds(version["effective_from"])
        if since <= opened or (since <= now and version.get("applies_to") == "running"):
            allowed.append(version)
    return max(allowed, key=lambda version: version["version"], default=None)


def matches(now: Instant, name: str, wanted: Any) -> bool:
    """Tell whether a field has the value, or one of the values."""
    choices = wanted if isinstance(wanted, list) else [wanted]
    return any(same(now.fields.get(name), choice) for choice in choices)


@dataclass(frozen=True)
class Definition:
    """A target of one version; with a date, that date belongs to what it is."""

    key: tuple[Any, ...]
    target: dict[str, Any]
    calendar: Calendar
    version: int


@dataclass(frozen=True)
class Stretch:
    """Time that a clock counts, by one definition; open at the end when `until` is None."""

    since: int
    until: int | None
    definition: Definition
    keeps_pauses: bool = True


@dataclass
class Clock:
    """One clock: what it counts, and how it ended."""

    target: str
    cycle: int
    generation: int
    definition: Definition
    came: int
    started: int
    stretches: list[Stretch]
    ended: int | None = None
    how: str = ""


@dataclass
class Cycle:
    """One cycle of a target; a continued one keeps the runs of those before it."""

    number: int
    opened: int
    runs: list[int]
    spells: list[tuple[int, int]] = field(default_factory=list)
    before: "Cycle | None" = None
    ended: int | None = None
    how: str = ""
    stopped_by: str = ""
    clocks: list[Clock] = field(default_factory=list)


@dataclass
class Track:
    """All cycles of one target name."""

    name: str
    shared: dict[str, Any]
    cycles: list[Cycle] = field(default_factory=list)
    is_over: bool = False

    def running(self) -> Cycle | None:
        """Return the cycle that runs, if one does."""
        last = self.cycles[-1] if self.cycles else None
        return last if last and last.ended is None else None


def ledger(rules: Rules, facts: list[Fact], read_at: int, takeovers: set[int]) -> list["Reading"]:
    """Return every clock of these facts, read at an instant, in no particular order."""
    instants = replay(facts, {instant for instant in takeovers if instant <= read_at})
    tracks = [Track(name, shared) for name, shared in rules.targets.items()]
    for now in instants:
        for track in tracks:
            step(track, now)
            for cycle in track.cycles:
                if cycle.ended is None or cycle.ended == now.time:
                    attach(rules, track, cycle, now)
    found = []
    for track in tracks:
        for cycle in track.cycles:
            found += [Reading(clock, instants, read_at) for clock in cycle.clocks]
    return found


def step(track: Track, now: Instant) -> None:
    """Let the field changes act, then each fact: it stops, then cancels, then starts."""
    if any(now.took(condition) for condition in track.shared["stop"]):
        stop(track, now, "a field")
    if any(now.took(condition) for condition in track.shared["start"]):
        start(track, now)
    for fact in now.facts:
        word = fact.type.removeprefix("ticket.")
        if any(fact.fires(condition) for condition in track.shared["stop"]):
            stop(track, now, word)
        if word in ("cancelled", "merged"):
            cancel(track, now, word)
        if word == "reopened":
            reopen(track, now)
        if any(fact.fires(condition) for condition in track.shared["start"]):
            start(track, now)


def stop(track: Track, now: Instant, word: str) -> None:
    """End the running cycle by a stop condition."""
    cycle = track.running()
    if cycle:
        cycle.ended, cycle.how, cycle.stopped_by = now.time, "stopped", word


def cancel(track: Track, now: Instant, word: str) -> None:
    """End the running cycle; nothing opens any more."""
    cycle = track.running()
    if cycle:
        cycle.ended, cycle.how = now.time, word
    track.is_over = True


def start(track: Track, now: Instant) -> None:
    """Open a cycle, the first or after a stop."""
    may_open = not track.cycles or track.shared.get("cycle", "once") == "repeat"
    if may_open and not track.is_over and not track.running():
        track.cycles.append(Cycle(len(track.cycles) + 1, now.time, [now.time]))


def reopen(track: Track, now: Instant) -> None:
    """Open the next cycle after a stop by resolving or closing."""
    last = track.cycles[-1] if track.cycles else None
    if track.is_over or not last or last.stopped_by not in ("resolved", "closed"):
        return
    assert last.ended is not None
    how = track.shared.get("on_reopen", "continue")
    if how == "new_cycle":
        track.cycles.append(Cycle(last.number + 1, now.time, [now.time]))
    if how == "continue":
        spells = [*last.spells, (last.ended, now.time)]
        runs = [*last.runs, now.time]
        track.cycles.append(Cycle(last.number + 1, now.time, runs, spells, before=last))


def attach(rules: Rules, track: Track, cycle: Cycle, now: Instant) -> None:
    """Give the cycle the clock of the definition that matches now; end it if the cycle ended."""
    matched = rules.match(track.name, cycle.opened, now)
    active = cycle.clocks[-1] if cycle.clocks and cycle.clocks[-1].how != "cancelled" else None
    if active and (matched is None or matched.key != active.definition.key):
        active.ended, active.how = now.time, "superseded" if matched else "cancelled"
        active = None
    if matched and not active:
        active = new_clock(track, cycle, matched, now.time)
        cycle.clocks.append(active)
    if active and cycle.ended is not None:
        active.ended, active.how = cycle.ended, cycle.how


def clock_before(cycle: Cycle, now: int) -> Clock | None:
    """Return the clock that a new one takes over from: superseded now, or stopped and reopened."""
    if cycle.clocks:
        last = cycle.clocks[-1]
        return last if last.how == "superseded" else None
    if cycle.before and cycle.before.clocks and now == cycle.opened:
        last = cycle.before.clocks[-1]
        return last if last.how == "stopped" else None
    return None


def new_clock(track: Track, cycle: Cycle, definition: Definition, now: int) -> Clock:
    """Start a clock as its own definition says, or let the stopped one run on."""
    number = len(cycle.clocks) + 1
    before = clock_before(cycle, now)
    start, stretches = cycle.runs[0], since_start(cycle, definition, now)
    on_change = definition.target.get("on_change", "ticket_start")
    if before and before.how == "stopped" and before.definition.key == definition.key:
        on_change = "carry_elapsed"
    if on_change == "change_time":
        start, stretches = now, [Stretch(now, None, definition)]
    if on_change == "carry_elapsed" and before:
        start, stretches = before.started, carried(before, definition, now)
    return Clock(track.name, cycle.number, number, definition, now, start, stretches)


def carried(before: Clock, definition: Definition, now: int) -> list[Stretch]:
    """Return all that was counted, as it was counted, and what follows."""
    *closed, last = before.stretches
    ended = Stretch(last.since, before.ended, last.definition, last.keeps_pauses)
    return [*closed, ended, Stretch(now, None, definition)]


def since_start(cycle: Cycle, definition: Definition, now: int) -> list[Stretch]:
    """Return the time since the cycle's start without the excluded spells."""
    keeps = definition.target.get("keep_pauses", True)
    ends = [spell[0] for spell in cycle.spells]
    stretches = []
    for since, until in zip(cycle.runs, [*ends, None], strict=True):
        if until is not None:
            stretches.append(Stretch(since, until, definition, keeps))
        else:
            stretches.append(Stretch(since, now, definition, keeps))
            stretches.append(Stretch(now, None, definition))
    return stretches


@dataclass(frozen=True)
class Piece:
    """A part of a clock's life that runs, is paused, or is excluded."""

    since: int
    until: int | None
    state: str
    calendar: Calendar

    def seconds_until(self, instant: int) -> int:
        """Return its working time up to an instant."""
        end = instant if self.until is None else min(self.until, instant)
        return self.calendar.working_seconds(self.since, end)


class Reading:
    """A clock as it looks at an instant, over the facts known."""

    def __init__(self, clock: Clock, instants: list[Instant], read_at: int) -> None:
        self.clock = clock
        self.definition = clock.definition
        self.goal = clock.definition.target["goal"]
        self.end = read_at if clock.ended is None else clock.ended
        self.pieces = pieces(clock, instants, self.end)
        self.due = self.find_due()
        self.whole = self.goal.get("working_seconds", self.elapsed(self.due))
        self.breached = self.due if self.end > self.due else None
        last = [now for now in instants if now.time <= read_at][-1]
        self.is_paused = last.pauses(self.definition.target.get("pause", []))

    def elapsed(self, instant: int) -> int:
        """Return the unpaused working time since the start."""
        running = [piece for piece in self.pieces if piece.state == "running"]
        return sum(piece.seconds_until(instant) for piece in running)

    def reaches(self, amount: int, since: int | None = None) -> int:
        """Return the earliest instant at which `amount` has run, counted from `since`."""
        begin = self.clock.started if since is None else since
        if amount <= 0:
            return begin
        for piece in self.pieces:
            if piece.state != "running" or (piece.until is not None and piece.until <= begin):
                continue
            first = max(piece.since, begin)
            if piece.until is None:
                return piece.calendar.add_working_seconds(first, amount)
            held = piece.calendar.working_seconds(first, piece.until)
            if amount <= held:
                return piece.calendar.add_working_seconds(first, amount)
            amount -= held
        raise AssertionError

    def find_due(self) -> int:
        """Return the deadline."""
        calendar, started = self.definition.calendar, self.clock.started
        if "working_seconds" in self.goal:
            return self.reaches(self.goal["working_seconds"])
        if "date_field" in self.goal:
            return calendar.held_or_next_opening(max(self.definition.key[-1], started))
        at = self.goal.get("at", "same_time")
        due = calendar.add_working_days(started, self.goal["working_days"], at)
        for begin, held in self.rests():
            if begin < due:
                due = calendar.add_working_seconds(due, held)
        return due

    def rests(self) -> list[tuple[int, int]]:
        """Return pauses and excluded spells, joined where they touch: begin and working time."""
        joined: list[tuple[int, int]] = []
        touched = None
        for piece in self.pieces:
            if piece.state == "running" or piece.until is None:
                continue
            held = piece.seconds_until(piece.until)
            if piece.since == touched:
                joined[-1] = joined[-1][0], joined[-1][1] + held
            else:
                joined.append((piece.since, held))
            touched = piece.until
        return joined

    def warns_at(self, rule: dict[str, Any]) -> int:
        """Return when a warning is due, whether or not the clock lives to see it."""
        if "percent" in rule:
            share = Fraction(str(rule["percent"])) / 100
            return self.reaches(ceil(share * self.whole))
        if "before_due_seconds" in rule:
            return self.reaches(self.whole - rule["before_due_seconds"])
        if "after_due_seconds" in rule:
            return self.reaches(rule["after_due_seconds"], self.due)
        days = rule["before_due_working_days"]
        return self.definition.calendar.add_working_days(self.due, -days, "same_time")

    def warnings(self) -> list[tuple[int, int, dict[str, Any]]]:
        """Return place, instant and rule of each warning that the clock lives to see."""
        found = []
        for place, rule in enumerate(self.definition.target.get("warn", [])):
            at = self.warns_at(rule)
            if at >= self.clock.came and (self.clock.ended is None or at < self.clock.ended):
                found.append((place, at, rule))
        return found

    def outcome(self) -> str:
        """Return what became of the clock."""
        if self.clock.ended is not None and self.clock.how != "stopped":
            return self.clock.how
        if self.end > self.due:
            return "missed"
        if self.clock.ended is not None:
            return "met"
        return "paused" if self.is_paused and "date_field" not in self.goal else "open"

    def row(self) -> dict[str, Any]:
        """Return the clock as the ledger shows it."""
        paused = [piece for piece in self.pieces if piece.state == "paused"]
        return {
            "target": self.clock.target,
            "cycle": self.clock.cycle,
            "generation": self.clock.generation,
            "started_at": text(self.clock.started),
            "due_at": text(self.due),
            "outcome": self.outcome(),
            "stopped_at": None if self.clock.ended is None else text(self.clock.ended),
            "breached_at": None if self.breached is None else text(self.breached),
            "elapsed_seconds": self.elapsed(self.end),
            "paused_seconds": sum(piece.seconds_until(self.end) for piece in paused),
            "policy_version": self.definition.version,
        }


def pieces(clock: Clock, instants: list[Instant], end: int) -> list[Piece]:
    """Cut a clock's life where pauses begin and end; after `end` no pause holds."""
    found: list[Piece] = []
    rests_since, calendar = None, clock.definition.calendar
    for stretch in clock.stretches:
        if rests_since is not None and rests_since < stretch.since:
            found.append(Piece(rests_since, stretch.since, "excluded", calendar))
        found += cut(stretch, instants, end)
        rests_since, calendar = stretch.until, stretch.definition.calendar
    return found


def cut(stretch: Stretch, instants: list[Instant], end: int) -> list[Piece]:
    """Cut one stretch at every instant, and at `end`."""
    conditions = stretch.definition.target.get("pause", []) if stretch.keeps_pauses else []
    calendar = stretch.definition.calendar
    inside = {now.time for now in instants if now.time > stretch.since} | {end}
    if stretch.until is not None:
        inside = {time for time in inside if time < stretch.until}
    edges = sorted(time for time in inside if stretch.since < time <= end)
    found = []
    for since, until in zip([stretch.since, *edges], [*edges, stretch.until], strict=True):
        if since == until:
            continue
        state = [now for now in instants if now.time <= since][-1]
        is_paused = since < end and state.pauses(conditions)
        found.append(Piece(since, until, "paused" if is_paused else "running", calendar))
    return found
