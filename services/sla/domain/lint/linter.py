"""The linter: what is wrong with calendars and policies, seen before any ticket feels it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from services.sla.domain.files.placed import Placed, by_policy, placed
from services.sla.domain.files.scenario import CalendarPart, PolicyPart
from services.sla.domain.lint.calendars import check_calendars, readable
from services.sla.domain.lint.conditions import check_conditions
from services.sla.domain.lint.findings import Finding, error, warning
from services.sla.domain.lint.matching import check_matching
from services.sla.domain.lint.targets import LintContext, check_target
from shared.calendar import ROUND_THE_CLOCK

__all__ = ["Finding", "lint"]


def lint(
    calendars: Sequence[CalendarPart], policies: Sequence[PolicyPart], *, is_whole: bool = True
) -> list[Finding]:
    """Return everything found in one file, errors first, each in the order of the file.

    A file that is not whole may name calendars that a desk has, and hold some for its policies.
    """
    definitions = placed(policies)
    found = [
        *check_calendars(calendars),
        *(_unused(calendars, policies) if is_whole or policies else ()),
        *_versions(policies),
        *_differences(definitions),
        *check_matching(by_policy(policies, definitions)),
    ]
    around = LintContext(
        {part.id: part for part in reversed(calendars)}, readable(calendars), definitions, is_whole
    )
    for definition in definitions:
        found.extend(check_conditions(definition))
        found.extend(check_target(definition, around))
    return sorted(found, key=lambda finding: finding.severity != "error")


def _unused(calendars: Sequence[CalendarPart], policies: Sequence[PolicyPart]) -> Iterator[Finding]:
    used = {target.calendar for policy in policies for target in policy.targets}
    for place, part in enumerate(calendars):
        if part.id not in used and part.id != ROUND_THE_CLOCK:
            yield warning(
                "calendar_unused",
                f"/calendars/{place}/id",
                f"No target uses {part.id!r}; name it in one, or remove it.",
            )


def _versions(policies: Sequence[PolicyPart]) -> Iterator[Finding]:
    histories: dict[str, list[tuple[PolicyPart, str]]] = {}
    for place, policy in enumerate(policies):
        histories.setdefault(policy.id, []).append((policy, f"/policies/{place}"))
    for versions in histories.values():
        versions.sort(key=lambda placed_version: placed_version[0].version)
        for (before, before_at), (after, after_at) in pairwise(versions):
            if before.version == after.version:
                yield error(
                    "version_twice",
                    f"{after_at}/version",
                    f"Version {after.version} of {after.id!r} is at {before_at} too; give this one"
                    " the next number.",
                )
            elif after.effective_from <= before.effective_from:
                yield error(
                    "effective_from_not_rising",
                    f"{after_at}/effective_from",
                    f"Version {after.version} of {after.id!r} must come into force after version"
                    f" {before.version} ({before_at}); give it a later instant.",
                )
        yield from _never_in_force(versions)


def _never_in_force(versions: Sequence[tuple[PolicyPart, str]]) -> Iterator[Finding]:
    """Yield versions that a higher one has overtaken by the time they come."""
    for place, (policy, pointer) in enumerate(versions):
        for later, _ in versions[place + 1 :]:
            is_higher = later.version > policy.version
            if is_higher and later.effective_from <= policy.effective_from:
                yield warning(
                    "version_never_in_force",
                    pointer,
                    f"Version {policy.version} of {policy.id!r} is never in force, because version"
                    f" {later.version} is by then; remove it, or give it an earlier instant.",
                )
                break


def _differences(definitions: Sequence[Placed]) -> Iterator[Finding]:
    first: dict[str, Placed] = {}
    for definition in definitions:
        target = definition.target
        other = first.setdefault(target.name, definition)
        for name in ("start", "stop", "cycle", "on_reopen"):
            if getattr(target, name) != getattr(other.target, name):
                yield error(
                    "definitions_differ",
                    f"{definition.pointer}/{name}",
                    f"Target {target.name!r} has another {name} at {other.pointer}; write the same"
                    " in both, or give this definition a name of its own.",
                )
