"""The one function from a ticket's history and the rules to its ledger of clocks."""

from collections.abc import Iterator, Sequence

from services.sla.domain.clocks import Clock, Course, caps_of, course_of, read
from services.sla.domain.cycles import lives
from services.sla.domain.history import Fact, Moment, Spell, moments, spells
from services.sla.domain.rulebook import Conditions, Rulebook

Ledger = tuple[Clock, ...]
"""A ticket's clocks, by target as first named in the rules, cycle and generation."""


def judge(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Ledger:
    """Return every clock the ticket has had, as read at `at_us`; later facts do not count.

    `facts` are in order (`history.in_order`), each once. Live timers, rebuilds, explanations and
    what-ifs all ask this. Raises: InvalidInputError if a calendar does not hold as much working
    time as a goal needs.
    """
    return tuple(read(course) for course in courses(facts, rules, at_us))


def judge_just_before(facts: Sequence[Fact], rules: Rulebook, at_us: int) -> Ledger:
    """Return the ledger as read at `at_us`, versions that come into force then left out."""
    return tuple(read(course) for course in courses(facts, rules, at_us, at_us - 1))


def courses(
    facts: Sequence[Fact], rules: Rulebook, at_us: int, ruled_until_us: int | None = None
) -> Iterator[Course]:
    """Yield what each clock of the ledger has counted, for those who ask how it came about.

    Versions for running clocks that come after `ruled_until_us` are left out.
    """
    known = [fact for fact in facts if fact.time_us <= at_us]
    happened = moments(known)
    pauses = _Pauses(happened)
    caps = caps_of(known)
    for target in rules.targets:
        for life in lives(target, happened, at_us if ruled_until_us is None else ruled_until_us):
            yield course_of(life, pauses.of, caps.get(target.name, ()), at_us)


class _Pauses:
    """When which states held, each worked out once."""

    __slots__ = ("_known", "_moments")

    def __init__(self, happened: Sequence[Moment]) -> None:
        self._moments = happened
        self._known: dict[Conditions, Sequence[Spell]] = {}

    def of(self, pause: Conditions) -> Sequence[Spell]:
        if not pause.words and not pause.fields:
            return ()
        found = self._known.get(pause)
        if found is None:
            found = self._known[pause] = tuple(spells(self._moments, pause))
        return found
