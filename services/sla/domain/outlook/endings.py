"""Which promises end with a version of the rules: some tickets have no such clock any more."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product
from typing import Final, get_args

import msgspec

from services.sla.domain.clocks.facts import PEAK
from services.sla.domain.clocks.rulebook import Definition, Fields, Rulebook, TargetRules
from shared.contracts.base import Kind, Priority
from shared.contracts.promises import Value

_SAMPLES_MAX: Final = 5_000
_A_DATE: Final = "2100-01-01T00:00:00Z"
_CLOSED: Final[Mapping[str, tuple[Value, ...]]] = {
    "kind": get_args(Kind),
    "priority": get_args(Priority),
    PEAK: (True, False),
}
"""Fields with all the values that they take, once a ticket is ranked."""


class Ended(msgspec.Struct, frozen=True):
    """A policy's target that some new tickets have no more.

    `when` has the fields and values of such tickets; null stands for what no rule names.
    """

    policy_id: str
    target: str
    when: dict[str, list[Value]]


def ended(before: Rulebook, after: Rulebook, at_us: int) -> Iterator[Ended]:
    """Yield what tickets that open at `at_us` were promised by `before`, and are not by `after`.

    Each kind of ticket that rules can tell apart is asked about, of very many kinds the first.
    """
    heirs = {rules.name: rules for rules in after.targets}
    for rules in before.targets:
        heir = heirs.get(rules.name)
        domains = _domains([*_current(rules, at_us), *(_current(heir, at_us) if heir else ())])
        lost: dict[str, list[Fields]] = {}
        for values in islice(product(*domains.values()), _SAMPLES_MAX):
            fields = dict(zip(domains, values, strict=True))
            held = rules.matching(fields, at_us, at_us)
            if held and (heir is None or heir.matching(fields, at_us, at_us) is None):
                lost.setdefault(held.policy_id, []).append(fields)
        for policy_id, kinds in lost.items():
            yield Ended(policy_id, rules.name, _shared(kinds, domains))


def _current(rules: TargetRules, at_us: int) -> Iterator[Definition]:
    for versions in rules.policies:
        for version in reversed(versions):
            if version.effective_us <= at_us:
                yield from version.definitions
                break


def _domains(definitions: Sequence[Definition]) -> dict[str, list[Value]]:
    """Return the fields that definitions ask for, each with the values that make a difference."""
    found: dict[str, dict[tuple[bool, Value], Value]] = {}
    for definition in definitions:
        for name, values in definition.when:
            known = found.setdefault(name, {})
            known.update((tagged, tagged[1]) for tagged in sorted(values, key=str))
        if definition.date_field is not None:
            found.setdefault(definition.date_field, {})[False, _A_DATE] = _A_DATE
    return {
        name: list(_CLOSED.get(name) or {**values, (False, None): None}.values())
        for name, values in sorted(found.items())
    }


def _shared(kinds: Sequence[Fields], domains: Mapping[str, list[Value]]) -> dict[str, list[Value]]:
    """Return the values that occur, of each field that tells these kinds from others."""
    found: dict[str, list[Value]] = {}
    for name, domain in domains.items():
        values = [one for one in domain if any(_is(kind[name], one) for kind in kinds)]
        if len(values) < len(domain) or name == "priority":
            found[name] = values
    return found


def _is(value: Value, other: Value) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)
