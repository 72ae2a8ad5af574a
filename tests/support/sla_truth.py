"""What sla must have come to, by the facts that a soak made up; and where its tables differ.

Nothing here is read from the service but what is to be judged: its journal and its read model.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from services.sla.domain.announcements.announcement import ClockKey, changes, due, key_of
from services.sla.domain.announcements.events import read_announcements
from services.sla.domain.clocks.clock import TicketClock
from services.sla.domain.clocks.history import Fact, in_order
from services.sla.domain.clocks.inheritance import due_times
from services.sla.domain.clocks.ledger import Ledger, judge
from services.sla.projections import READ_MODEL
from shared.calendar import SECOND_US, instant, microseconds
from shared.contracts.registry import Recorded, decode_record
from shared.contracts.sla import (
    SlaBreached,
    SlaBreachRetracted,
    SlaCancelled,
    SlaDueInherited,
    SlaMet,
    SlaMissed,
    SlaPaused,
    SlaResumed,
    SlaStarted,
    SlaWarned,
)
from shared.log.port import Record
from shared.postgres.pool import Connection
from shared.runtime.read_model import Fold
from shared.runtime.timers import GRACE
from support.sla_lives import RANKS, Life
from support.sla_rules import Rules

GRACE_US = GRACE.microseconds
CHUNK = 500
TICKETS_TABLES = ("clock", "ticket", "fact", "said")
CLOCKS = """
SELECT ticket_id::text, target, cycle, generation, kind, started_at, goal, calendar, policy_id,
    policy_version, is_paused, due_at, pause_reason, breached_at, outcome, stopped_at
FROM read.clock WHERE ticket_id = ANY($1::text[]::uuid[])
"""


class Moment(NamedTuple):
    """The end of a step, and of the one before it: what had come due by then has been said."""

    until_us: int
    length_us: int

    @property
    def at_us(self) -> int:
        """When the service looked last."""
        return self.until_us + GRACE_US

    def step_of(self, at_us: int) -> int:
        """Return the end of the step in which an instant lies."""
        return -(-at_us // self.length_us) * self.length_us


class Truth:
    """Judges lives by the facts delivered and the rules published so far."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def facts(self, life: Life, known_us: int) -> list[Fact]:
        """Return a ticket's facts as recorded by an instant, with the due times it took over."""
        own = [fact for fact in life.facts if fact.recorded_us <= known_us]
        return in_order([*own, *self._inherited(life, known_us)])

    def _inherited(self, life: Life, known_us: int) -> Iterator[Fact]:
        taken_over = self.heritage(life, known_us).items()
        for number, ((giver, target), (at_us, due_us)) in enumerate(taken_over, 1):
            taken = {"target": target, "due_us": due_us}
            yield Fact(at_us, at_us, RANKS["sla"], number, "inherited", giver, taken)

    def heritage(self, life: Life, known_us: int) -> dict[tuple[str, str], tuple[int, int]]:
        """Return since when and which due times a ticket took over, by giver and target."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for at_us, recorded_us, giver in life.bequests:
            if recorded_us <= known_us:
                facts = self.facts(giver, known_us)
                for target, due_us in due_times(facts, self._rules.book, at_us).items():
                    found[str(giver.ticket_id), target] = at_us, due_us
        return found

    def ledger(self, life: Life, until_us: int, read_us: int | None = None) -> Ledger:
        """Return the ledger as it was known at the end of a step, read then or at an instant."""
        facts = self.facts(life, until_us)
        read_us = until_us + GRACE_US if read_us is None else read_us
        return judge(facts, self._rules.book, read_us) if facts else ()


class Checked(NamedTuple):
    """What was found of one ticket: what differs, and whether all its clocks have ended."""

    differences: list[str]
    is_over: bool


class Checker:
    """Compares tickets with the truth, and counts what it saw."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.counts: Counter[str] = Counter()

    def check(
        self, life: Life, journal: Sequence[Recorded], rows: Sequence[Any], moment: Moment
    ) -> Checked:
        """Compare what sla said and shows of a ticket with what it had to."""
        ledger = self._published(life, journal, moment)
        said = [
            *_unsaid(journal, ledger, moment),
            *_said_twice(journal),
            *_shown_otherwise(rows, ledger),
            *self._breached_otherwise(life, journal, ledger, moment),
            *self._handed_over_otherwise(life, journal, moment),
        ]
        is_over = all(clock.stopped_us is not None for clock in ledger)
        found = [f"ticket {life.number}: {one}" for one in said]
        if found:  # a long run is not made twice to learn why
            found[-1] = "\n  ".join([found[-1], *_story(life, journal, ledger)])
        return Checked(found, is_over)

    def count(self, journal: Sequence[Recorded]) -> None:
        """Count what was said of a ticket."""
        self.counts.update(event.type for event in journal)

    def _published(self, life: Life, journal: Sequence[Recorded], moment: Moment) -> Ledger:
        """Return the ledger; clocks that drift as they were read when they were judged last.

        A ticket is judged when something of it is recorded or comes due, not for a reading.
        """
        ledger = self._truth.ledger(life, moment.until_us)
        if not any(map(_drifts, ledger)):
            return ledger
        recorded = (moment.step_of(fact.recorded_us) for fact in life.facts)
        told = (microseconds(event.recorded_at) for event in journal)
        judged_us = max((*recorded, *told))
        read = self._truth.ledger(life, moment.until_us, judged_us)
        then = {key_of(clock): clock for clock in read}
        self.counts["read as judged"] += 1
        return tuple(then.get(key_of(one), one) if _drifts(one) else one for one in ledger)

    def _breached_otherwise(
        self, life: Life, journal: Sequence[Recorded], ledger: Ledger, moment: Moment
    ) -> Iterator[str]:
        """Yield breaches that stand and were not said with their due instant in their own step."""
        told = {
            (event.data.target, event.data.cycle, event.data.generation): event
            for event in journal
            if isinstance(event.data, SlaBreached)
        }
        for clock in ledger:
            if clock.breached_us is None:
                continue
            event = told.get(key_of(clock))
            if event is None or microseconds(event.time) != clock.breached_us:
                yield f"{_named(clock)} breached {instant(clock.breached_us)}, said {event}"
                continue
            recorded_us = microseconds(event.recorded_at)
            before_us = moment.step_of(recorded_us - GRACE_US) - moment.length_us
            if clock.breached_us > recorded_us:
                yield f"{_named(clock)} breach recorded before it came due"
            elif clock.breached_us <= before_us and self._stood(life, clock, before_us):
                yield f"{_named(clock)} breached {event.time}, recorded {event.recorded_at}: late"
            self.counts["breaches learnt late"] += clock.breached_us <= before_us

    def _stood(self, life: Life, clock: TicketClock, until_us: int) -> bool:
        """Tell whether the same breach stood at the end of an earlier step."""
        return any(
            key_of(one) == key_of(clock)
            and one.breached_us == clock.breached_us
            and not _drifts(one)
            for one in self._truth.ledger(life, until_us)
        )

    def _handed_over_otherwise(
        self, life: Life, journal: Sequence[Recorded], moment: Moment
    ) -> Iterator[str]:
        told: dict[tuple[str, str], int] = {}
        for event in journal:
            data = event.data
            if isinstance(data, SlaDueInherited):
                key = str(data.from_ticket), data.target
                told.pop(key, None)
                if data.due_at is not None:
                    told[key] = microseconds(data.due_at)
        heritage = self._truth.heritage(life, moment.until_us)
        wanted = {key: due_us for key, (_, due_us) in heritage.items()}
        if told != wanted:
            yield f"took over {told}, not {wanted}"


def _drifts(clock: TicketClock) -> bool:
    """Tell whether a clock is overdue by a due time that moves on with each reading.

    A pause that lasts is taken to end at the reading, and moves the due time of working days by the
    working time it holds. That may stay behind the reading: while nobody works, or if the pause
    began under a calendar of shorter days. No fact makes such a breach or clears it.
    """
    pause = clock.pause
    return pause is not None and clock.breached_us is not None and pause.start_us < clock.due_us


def _story(life: Life, journal: Sequence[Recorded], ledger: Ledger) -> Iterator[str]:
    """Yield all that is to be known of a ticket, for who asks where a difference comes from."""
    for one in (life, *(bequest.giver for bequest in life.bequests)):
        yield f"facts of ticket {one.number}:"
        for fact in one.facts:
            what = f"{fact.type} {fact.reason or ''} {fact.changes or ''}"
            late_seconds = (fact.recorded_us - fact.time_us) // SECOND_US
            late = f", {late_seconds} s late" if late_seconds else ""
            yield f"  {instant(fact.time_us)} {what}{late}"
    for bequest in life.bequests:
        yield f"takes over from {bequest.giver.number} at {instant(bequest.at_us)}"
    yield "said:"
    for event in journal:
        data = msgspec.structs.asdict(event.data)
        yield f"  {event.time} {event.type}, at {event.recorded_at}: {data}"
    yield "by the rules:"
    for clock in ledger:
        ended = "" if clock.stopped_us is None else f", ended {instant(clock.stopped_us)}"
        yield (
            f"  {_named(clock)} v{clock.definition.version} since {instant(clock.started_us)}:"
            f" {clock.outcome}, due {instant(clock.due_us)}{ended}, pause {clock.pause}"
        )


def _unsaid(journal: Sequence[Recorded], ledger: Ledger, moment: Moment) -> Iterator[str]:
    knowledge, _ = read_announcements(journal)
    until_us = moment.until_us + 1
    for said in due(ledger, knowledge, until_us):
        if said.clock is not None and _is_postponed(said.clock, said.time_us):
            continue
        yield f"{said.type} of {said.key} at {instant(said.time_us)} is not said by its timer"
    for said in changes(ledger, knowledge, moment.at_us, until_us):
        yield f"{said.type} of {said.key} at {instant(said.time_us)} is not said"


def _is_postponed(clock: TicketClock, at_us: int) -> bool:
    """Tell whether a pause that lasts moves a warning on; it is owed when the clock resumes.

    A warning some working days before due moves with due, and may lie in the pause.
    """
    return clock.pause is not None and at_us > clock.pause.start_us


def _said_twice(journal: Sequence[Recorded]) -> Iterator[str]:
    """Yield what was said again although it stood."""
    standing: dict[tuple[Any, ...], set[Any]] = {}
    for event in journal:
        data = event.data
        if isinstance(data, SlaDueInherited):
            continue
        key = data.target, data.cycle, data.generation
        stands = standing.setdefault(key, set())
        word, ends = _word(event)
        if word in stands:
            yield f"{event.type} of {key} at {event.time} is said twice"
        stands -= {one for one in stands if one[0] in ends}
        if ends != EVERYTHING:
            stands.add(word)


EVERYTHING = ("started", "breached", "warned", "course", "end")


def _word(event: Recorded) -> tuple[tuple[Any, ...], tuple[str, ...]]:  # noqa: PLR0911 one answer per kind
    """Return what an event makes true, and which kinds of such things it puts out of force."""
    data = event.data
    match data:
        case SlaStarted():
            return ("started", msgspec.json.encode(data)), ("started", "course", "end")
        case SlaBreached():
            return ("breached",), ()
        case SlaBreachRetracted():
            return ("retracted", event.sequence), ("breached",)
        case SlaWarned():
            return ("warned", data.rule), ()
        case SlaPaused():
            return ("course", "paused", event.time, data.reason), ("course",)
        case SlaResumed():
            return ("course", "runs", data.due_at), ("course",)
        case SlaCancelled(reason="withdrawn"):
            return ("withdrawn", event.sequence), EVERYTHING
        case SlaMet() | SlaMissed() | SlaCancelled():
            return ("end", event.type, msgspec.json.encode(data), event.time), ("end", "started")
        case _:
            return ("unknown", event.sequence), ()


def _shown_otherwise(rows: Sequence[Any], ledger: Ledger) -> Iterator[str]:
    """Yield how the read model's rows differ from the ledger."""
    shown = {ClockKey(row["target"], row["cycle"], row["generation"]): row for row in rows}
    for clock in ledger:
        row = shown.pop(key_of(clock), None)
        if row is None:
            yield f"{_named(clock)} is not shown"
            continue
        for name, value in _row(clock).items():
            if row[name] != value:
                yield f"{_named(clock)} shows {name} {row[name]}, not {value}"
    for key, row in shown.items():  # a late fact undid the clock
        if (row["outcome"], row["breached_at"], row["stopped_at"]) != ("cancelled", None, None):
            yield f"{key} is shown, and no such clock is there"


def _row(clock: TicketClock) -> Mapping[str, Any]:
    """Return what the read model has to show of a clock."""
    definition = clock.definition
    target = definition.target
    found: dict[str, Any] = {
        "kind": target.kind,
        "started_at": instant(clock.started_us),
        "goal": msgspec.to_builtins(target.goal),
        "calendar": target.calendar,
        "policy_id": definition.policy_id,
        "policy_version": definition.version,
        "breached_at": None if clock.breached_us is None else instant(clock.breached_us),
    }
    if clock.stopped_us is None:
        is_paused = clock.outcome == "paused" and clock.pause is not None
        return found | {
            "outcome": None,
            "stopped_at": None,
            "is_paused": is_paused,
            "due_at": None if is_paused else instant(clock.due_us),
            "pause_reason": clock.pause.reason if is_paused and clock.pause else None,
        }
    is_judged = clock.outcome in ("met", "missed")
    return found | {
        "outcome": clock.outcome if is_judged else "cancelled",
        "stopped_at": instant(clock.stopped_us) if is_judged else None,
    }


def _named(clock: TicketClock) -> str:
    return f"{clock.target} {clock.cycle}.{clock.generation}"


async def rebuilt_otherwise(
    connection: Connection, kept: Mapping[bytes, Sequence[Record]]
) -> list[str]:
    """Return how the rows of some tickets differ from those that their records fold to."""
    fold = Fold(READ_MODEL)
    for records in kept.values():
        for record in records:
            fold.add(decode_record(record))
    streams = [key.decode() for key in kept]
    found: list[str] = []
    for table in READ_MODEL.tables:
        if table.name in TICKETS_TABLES:
            key = table.key_columns[0]
            columns = ", ".join(column.name for column in table.columns)
            rows = await connection.fetch(
                f"SELECT {columns} FROM read.{table.name}"
                f" WHERE {key.name} = ANY($1::text[]::{key.sql_type}[])",
                streams,
            )
            width = len(table.key)
            live = {(str(row[0]), *row[1:width]): row[width:] for row in map(tuple, rows)}
            for folded in fold.rows(table):
                place, values = tuple(folded[:width]), tuple(folded[width:])
                if live.pop(place, None) != values:
                    found.append(f"{table.name} {place} is not what a rebuild folds")
            found += [f"{table.name} {place} is in no rebuild" for place in live]
    return found
