"""What a scenario states against what was computed."""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from services.sla.domain.files.scenario import ClockPart, Computed, Emission, Scenario, WarningPart


class Mismatch(NamedTuple):
    """One stated thing that did not come out; `pointer` leads to it in the scenario."""

    pointer: str
    stated: Any
    computed: Any


def mismatches(case: Scenario, actual: Computed) -> list[Mismatch]:
    """Return every stated thing that differs. What is not stated may be anything."""
    expect = case.expect
    found: list[Mismatch] = []
    if expect.clocks is not UNSET:
        found.extend(_ledger("/expect/clocks", expect.clocks, actual.clocks))
    if expect.warnings is not UNSET:
        found.extend(_warnings(expect.warnings, actual.warnings))
    if expect.emitted is not UNSET:
        found.extend(_emitted(expect.emitted, actual.emitted))
    if expect.known_at is not UNSET:
        for place, (stated, known) in enumerate(zip(expect.known_at, actual.known_at, strict=True)):
            pointer = f"/expect/known_at/{place}/clocks"
            found.extend(_ledger(pointer, stated.clocks, known.clocks))
    for place, (asked, answered) in enumerate(zip(case.arithmetic, actual.arithmetic, strict=True)):
        found.extend(_stated(f"/arithmetic/{place}", asked, answered))
    return found


def _ledger(
    pointer: str, stated: Sequence[ClockPart], computed: Sequence[ClockPart]
) -> Iterator[Mismatch]:
    left = {_name(clock): clock for clock in computed}
    for place, clock in enumerate(stated):
        found = left.pop(_name(clock), None)
        if found is None:
            yield Mismatch(f"{pointer}/{place}", clock, None)
        else:
            yield from _stated(f"{pointer}/{place}", clock, found)
    for clock in left.values():
        yield Mismatch(f"{pointer}/-", None, clock)


def _warnings(stated: Sequence[WarningPart], computed: Sequence[WarningPart]) -> Iterator[Mismatch]:
    left = Counter(_known(warning) for warning in computed)
    for place, warning in enumerate(stated):
        if left[_known(warning)]:
            left[_known(warning)] -= 1
        else:
            yield Mismatch(f"/expect/warnings/{place}", warning, None)
    for warning in computed:
        if left[_known(warning)]:
            left[_known(warning)] -= 1
            yield Mismatch("/expect/warnings/-", None, warning)


def _emitted(stated: Sequence[Emission], computed: Sequence[Emission]) -> Iterator[Mismatch]:
    for place, (one, other) in enumerate(zip_longest(stated, computed)):
        if one is None or other is None:
            yield Mismatch(f"/expect/emitted/{place if one else '-'}", one, other)
        else:
            yield from _stated(f"/expect/emitted/{place}", one, other)


def _stated(pointer: str, stated: msgspec.Struct, computed: msgspec.Struct) -> Iterator[Mismatch]:
    for field in msgspec.structs.fields(stated):
        wanted, found = getattr(stated, field.name), getattr(computed, field.name)
        if wanted is not UNSET and wanted != found:
            yield Mismatch(f"{pointer}/{field.encode_name}", wanted, found)


def _name(clock: ClockPart) -> tuple[str, int, int]:
    return clock.target, clock.cycle, clock.generation


def _known(warning: WarningPart) -> tuple[Hashable, ...]:
    at: datetime = warning.at
    return warning.target, warning.cycle, warning.generation, warning.rule, at
