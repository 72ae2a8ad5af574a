"""What the linter looks for in start, stop and pause: conditions that contradict each other."""

from collections.abc import Iterator, Sequence
from typing import Final

from services.sla.domain.clocks.history import is_same
from services.sla.domain.files.placed import Placed
from services.sla.domain.lint.findings import Finding, error, told, warning
from shared.contracts.promises import HELD_FOR, Condition, Target

_HELD: Final = "held"
_STATES: Final = ("held", "resolved", "closed")


def check_conditions(definition: Placed) -> Iterator[Finding]:
    """Yield what is wrong among the conditions of one definition."""
    target, pointer = definition.target, definition.pointer
    for name in ("start", "stop", "pause"):
        yield from _twice(getattr(target, name), f"{pointer}/{name}")
    yield from _starts_and_stops(target, pointer)
    yield from _starts_without_effect(target, pointer)
    yield from _stops_before_the_start(target, pointer)
    yield from _pauses_at_the_start(target, pointer)
    yield from _pauses_throughout(target, pointer)


def _twice(conditions: Sequence[Condition], pointer: str) -> Iterator[Finding]:
    for place, condition in enumerate(conditions):
        for other_place, other in enumerate(conditions):
            is_double = is_alike(condition, other) and other_place < place
            is_narrower = _is_part_of(condition, other) and not is_alike(condition, other)
            if is_double or is_narrower:
                yield warning(
                    "condition_twice",
                    f"{pointer}/{place}",
                    f"{told(other)} says this already; remove {told(condition)}.",
                )
                break


def _starts_and_stops(target: Target, pointer: str) -> Iterator[Finding]:
    """Yield starts that are a stop, where only the first start counts."""
    if target.cycle != "once":
        return
    for place, start in enumerate(target.start):
        for stop in target.stop:
            if _is_part_of(start, stop):
                yield error(
                    "start_is_stop",
                    f"{pointer}/start/{place}",
                    f"{told(start)} starts the only cycle and is the stop {told(stop)} too; remove"
                    " it from one of them, or write cycle: repeat.",
                )
            elif _is_part_of(stop, start):
                yield warning(
                    "start_is_stop",
                    f"{pointer}/start/{place}",
                    f"{told(start)} starts the only cycle, also as {told(stop)}, which is a stop;"
                    " say which holds start it, or write cycle: repeat.",
                )


def _starts_without_effect(target: Target, pointer: str) -> Iterator[Finding]:
    """Yield starts that come too late for the only cycle, since `created` is always the first."""
    if target.cycle != "once" or "created" not in target.start:
        return
    for place, start in enumerate(target.start):
        if start != "created" and not isinstance(start, dict):
            yield warning(
                "start_without_effect",
                f"{pointer}/start/{place}",
                f"The only cycle starts with the ticket, so that {told(start)} never starts one;"
                " remove it, or write cycle: repeat.",
            )


def _stops_before_the_start(target: Target, pointer: str) -> Iterator[Finding]:
    """Yield `created` as a stop; only a field that the ticket is created with starts before it."""
    if any(isinstance(start, dict) for start in target.start):
        return
    for place, stop in enumerate(target.stop):
        if stop == "created":
            finding = error if len(target.stop) == 1 else warning
            yield finding(
                "stop_never_comes",
                f"{pointer}/stop/{place}",
                "Nothing starts before the ticket is created, so that 'created' never stops"
                " anything; name a fact that comes later.",
            )


def _pauses_at_the_start(target: Target, pointer: str) -> Iterator[Finding]:
    """Yield pauses that hold for certain when the clock starts."""
    excluded: dict[int, list[Condition]] = {
        place: [start for start in target.start if _brings(start, pause)]
        for place, pause in enumerate(target.pause)
    }
    hit = [start for starts in excluded.values() for start in starts]
    is_always = all(any(is_alike(start, one) for one in hit) for start in target.start)
    for place, starts in excluded.items():
        for start in starts:
            finding = error if is_always else warning
            yield finding(
                "pause_excludes_start",
                f"{pointer}/pause/{place}",
                f"The clock is paused from the instant at which {told(start)} starts it; remove"
                f" {told(target.pause[place])} from pause, or start it by something else.",
            )


def _pauses_throughout(target: Target, pointer: str) -> Iterator[Finding]:
    """Yield pauses for a value that the definition itself asks for."""
    for place, pause in enumerate(target.pause):
        if not isinstance(pause, dict):
            continue
        for name, value in pause.items():
            wanted = target.when.get(name, ())
            values = wanted if isinstance(wanted, tuple) else (wanted,)
            if values and all(is_same(value, one) for one in values):
                yield error(
                    "pause_is_always",
                    f"{pointer}/pause/{place}",
                    f"This definition is for tickets with {name} = {told(value)} only, so that its"
                    " clock is always paused; remove this pause, or change `when`.",
                )


def is_alike(one: Condition, other: Condition) -> bool:
    """Tell whether two conditions are the same; true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[name], other[name]) for name in one)
    return not isinstance(one, dict) and one == other


def _is_part_of(one: Condition, other: Condition) -> bool:
    """Tell whether a fact that is the one is always the other."""
    if is_alike(one, other):
        return True
    return other == _HELD and isinstance(one, str) and one.startswith(HELD_FOR)


def _brings(start: Condition, pause: Condition) -> bool:
    """Tell whether the pause holds for certain once the start has come."""
    if isinstance(start, dict) or isinstance(pause, dict):
        return is_alike(start, pause)
    return (start in _STATES or start.startswith(HELD_FOR)) and _is_part_of(start, pause)
