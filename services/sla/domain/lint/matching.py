"""What the linter looks for between definitions: those that never match, tickets left out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from math import prod
from typing import Final, NamedTuple

from msgspec import UNSET, UnsetType

from services.sla.domain.clocks.rulebook import read_date
from services.sla.domain.files.placed import History, Placed, PlacedVersion, in_force
from services.sla.domain.lint.findings import Finding, error, step, told, warning
from services.sla.domain.lint.targets import RANKS
from shared.contracts.promises import Value

_PRIORITY: Final = "priority"
_KINDS_MAX: Final = 1_000

_Tagged = tuple[bool, Value]
"""A value, and whether it is a truth value: true is not 1."""
_Kind = Mapping[str, _Tagged]
"""A kind of ticket: one value for each field that some definition asks for."""


class _Matcher(NamedTuple):
    """One definition as a question to a kind of ticket."""

    placed: Placed
    when: Mapping[str, frozenset[_Tagged]]
    date_field: str | UnsetType

    def covers(self, kind: _Kind, date_field: str | UnsetType) -> bool:
        """Tell whether it matches every such ticket, `date_field` being the date it surely has."""
        if self.date_field not in (UNSET, date_field):
            return False
        return all(name in kind and kind[name] in values for name, values in self.when.items())

    def kinds(self, *, without: str | None = None) -> list[_Kind]:
        """Return the kinds of tickets it asks for; none if they are too many to look through."""
        names = [name for name in self.when if name != without]
        if prod(len(self.when[name]) for name in names) > _KINDS_MAX:
            return []
        choices = [sorted(self.when[name], key=told) for name in names]
        return [dict(zip(names, values, strict=True)) for values in product(*choices)]


def check_matching(histories: Sequence[History]) -> Iterator[Finding]:
    """Yield definitions that never match, and priorities that are left without a promise."""
    matchers = _Matchers(histories)
    for place, history in enumerate(histories):
        for version in history:
            for number, definition in enumerate(version.definitions):
                yield from _impossible(matchers.of(definition))
                earlier = version.definitions[:number]
                yield from _shadowed(definition, earlier, version, histories[:place], matchers)
            others = [other for other in histories if other is not history]
            yield from _gaps(version, others, matchers)


class _Matchers:
    """Every definition's matcher, made once."""

    def __init__(self, histories: Iterable[History]) -> None:
        self._known = {
            definition.pointer: _matcher(definition)
            for history in histories
            for version in history
            for definition in version.definitions
        }

    def of(self, definition: Placed) -> _Matcher:
        return self._known[definition.pointer]

    def named(self, name: str, definitions: Iterable[Placed]) -> list[_Matcher]:
        return [self.of(one) for one in definitions if one.target.name == name]


def _matcher(definition: Placed) -> _Matcher:
    target = definition.target
    when = {name: _values(wanted) for name, wanted in target.when.items()}
    return _Matcher(definition, when, target.goal.date_field)


def _values(wanted: Value | tuple[Value, ...]) -> frozenset[_Tagged]:
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    return frozenset((isinstance(value, bool), value) for value in values)


def _impossible(matcher: _Matcher) -> Iterator[Finding]:
    """Yield a definition for a date that its own `when` rules out."""
    name = matcher.date_field
    if name is UNSET or name not in matcher.when:
        return
    if all(read_date(value) is None for _, value in matcher.when[name]):
        yield error(
            "definition_never_matches",
            f"{matcher.placed.pointer}/when/{step(name)}",
            f"The goal is the date in {name!r}, which `when` wants to be none; remove it here.",
        )


# --- Shadows ---------------------------------------------------------------------------------


def _shadowed(
    definition: Placed,
    earlier: Sequence[Placed],
    version: PlacedVersion,
    before: Sequence[History],
    matchers: _Matchers,
) -> Iterator[Finding]:
    """Yield a definition whose tickets earlier definitions take, at all times."""
    matcher, name = matchers.of(definition), definition.target.name
    own = matchers.named(name, earlier)
    takers = _takers(matcher, own)
    if takers:
        yield error("definition_shadowed", definition.pointer, _taken(name, takers))
        return
    for at in (*_times(version, before), *_later_takeovers(version, before)):
        others = matchers.named(name, _in_force(before, at))
        found = _takers(matcher, [*others, *own])
        if not found:
            return
        takers += [taker for taker in found if taker not in takers]
    yield warning("definition_shadowed", definition.pointer, _taken(name, takers))


def _takers(matcher: _Matcher, earlier: Sequence[_Matcher]) -> list[_Matcher]:
    """Return those who take all its tickets together; none if some are left."""
    found: list[_Matcher] = []
    for kind in matcher.kinds():
        taker = next((one for one in earlier if one.covers(kind, matcher.date_field)), None)
        if taker is None:
            return []
        if taker not in found:
            found.append(taker)
    return found


def _taken(name: str, takers: Sequence[_Matcher]) -> str:
    places = ", ".join(taker.placed.pointer for taker in takers)
    return (
        f"It never counts, because {places} matches all its tickets first and is for {name!r} too;"
        " move it up, or remove it."
    )


def _times(version: PlacedVersion, others: Sequence[History]) -> Iterator[datetime]:
    """Yield when it comes into force, and when versions of others do in its time."""
    start = version.policy.effective_from
    yield start
    for history in others:
        for other in history:
            at = other.policy.effective_from
            if start < at and (version.until is None or at < version.until):
                yield at


def _later_takeovers(version: PlacedVersion, others: Sequence[History]) -> Iterator[datetime]:
    """Yield when versions of others come that also rule the cycles opened in its time."""
    for history in others:
        for other in history:
            at = other.policy.effective_from
            is_later = version.until is not None and at >= version.until
            if is_later and other.policy.applies_to == "running":
                yield at


def _in_force(histories: Iterable[History], at: datetime) -> Iterator[Placed]:
    for history in histories:
        version = in_force(history, at)
        if version is not None:
            yield from version.definitions


# --- Gaps ------------------------------------------------------------------------------------


def _gaps(
    version: PlacedVersion, others: Sequence[History], matchers: _Matchers
) -> Iterator[Finding]:
    """Yield what a version promises for some priorities and nobody for the rest."""
    in_force_then = [list(_in_force(others, at)) for at in _times(version, others)]
    told_of: list[tuple[str, _Kind, frozenset[str]]] = []
    for kind, matcher in _ranked(version, matchers):
        name = matcher.placed.target.name
        missing: set[str] = set()
        for definitions in in_force_then:
            found = matchers.named(name, [*version.definitions, *definitions])
            missing |= _uncovered(kind, matcher, found)
        for known_name, known, ranks in told_of:
            if known_name == name and known.items() <= kind.items():
                missing -= ranks
        if missing:
            told_of.append((name, kind, frozenset(missing)))
            yield _gap(matcher.placed, kind, missing)


def _ranked(version: PlacedVersion, matchers: _Matchers) -> list[tuple[_Kind, _Matcher]]:
    """Return the kinds of tickets promised something by priority, the most general ones first."""
    found: list[tuple[_Kind, _Matcher]] = []
    for definition in version.definitions:
        matcher = matchers.of(definition)
        if any((False, rank) in matcher.when.get(_PRIORITY, ()) for rank in RANKS):
            found.extend((kind, matcher) for kind in matcher.kinds(without=_PRIORITY))
    return sorted(found, key=lambda one: len(one[0]))


def _uncovered(kind: _Kind, matcher: _Matcher, found: Sequence[_Matcher]) -> set[str]:
    return {
        rank
        for rank in RANKS
        if not any(
            one.covers({**kind, _PRIORITY: (False, rank)}, matcher.date_field) for one in found
        )
    }


def _gap(definition: Placed, kind: _Kind, missing: Iterable[str]) -> Finding:
    where = " and ".join(f"{name} = {told(value)}" for name, (_, value) in kind.items())
    return warning(
        "priority_gap",
        f"{definition.pointer}/when/{_PRIORITY}",
        f"No definition of {definition.target.name!r} is for {', '.join(sorted(missing))}"
        f"{' where ' + where if where else ''}; add one, or leave priority out of the last one.",
    )
