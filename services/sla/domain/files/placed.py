"""Definitions with their places in a file, and which of them are in force when."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from services.sla.domain.files.scenario import PolicyPart
from shared.contracts.promises import Target


class Placed(NamedTuple):
    """One definition, the version it belongs to, and the pointer to it."""

    policy: PolicyPart
    target: Target
    pointer: str


class PlacedVersion(NamedTuple):
    """One version of a policy and its definitions; `until` is when the next one comes."""

    policy: PolicyPart
    definitions: tuple[Placed, ...]
    until: datetime | None


History = tuple[PlacedVersion, ...]
"""The versions of one policy, rising."""


def placed(policies: Sequence[PolicyPart]) -> tuple[Placed, ...]:
    """Return every definition, in the order of the file."""
    return tuple(
        Placed(policy, target, f"/policies/{place}/targets/{number}")
        for place, policy in enumerate(policies)
        for number, target in enumerate(policy.targets)
    )


def by_policy(policies: Sequence[PolicyPart], definitions: Sequence[Placed]) -> tuple[History, ...]:
    """Return the versions of each policy; of several policies, the one named first is first."""
    histories: dict[str, list[PolicyPart]] = {}
    for policy in policies:
        histories.setdefault(policy.id, []).append(policy)
    return tuple(tuple(_history(versions, definitions)) for versions in histories.values())


def _history(versions: list[PolicyPart], definitions: Sequence[Placed]) -> Iterator[PlacedVersion]:
    versions.sort(key=lambda policy: policy.version)
    for place, policy in enumerate(versions):
        own = tuple(one for one in definitions if one.policy is policy)
        later = [other.effective_from for other in versions[place + 1 :]]
        yield PlacedVersion(policy, own, min(later, default=None))


def in_force(history: History, at: datetime) -> PlacedVersion | None:
    """Return the highest version that has come by then."""
    for version in reversed(history):
        if version.policy.effective_from <= at:
            return version
    return None
