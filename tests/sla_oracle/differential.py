"""The product against the evaluator; what differs is made as small as it can be."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import msgspec

from services.sla.domain.files.scenario import Scenario
from services.sla.domain.scenarios.simulate import run
from shared.errors import InvalidInputError

from . import actual
from .calendar import seconds
from .differ import comparable
from .generate import Generator, retime

PARTS = ("clocks", "warnings", "emitted", "known_at", "arithmetic")
LISTS = ("events", "policies", "arithmetic")
OPTIONAL = ("when", "pause", "warn", "keep_pauses", "on_change", "calendar")


def made(seed: int, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the scenario of a seed; most have facts exactly at their deadlines and warnings."""
    scenario = Generator(seed, without).scenario()
    if seed % 3:
        found = actual(scenario)
        instants = [clock["due_at"] for clock in found["clocks"]]
        instants += [warning["at"] for warning in found["warnings"]]
        scenario = retime(scenario, sorted(set(instants)), seed)
    return scenario


def product(scenario: dict[str, Any]) -> dict[str, Any]:
    """Return what the product says."""
    return msgspec.to_builtins(run(msgspec.convert(scenario, Scenario)).actual)


def difference(scenario: dict[str, Any]) -> str:
    """Return the first part in which both differ and how; nothing when they agree."""
    expected, got = comparable(actual(scenario)), comparable(product(scenario))
    if is_unsettled(scenario):
        expected["emitted"] = got["emitted"] = []
    for part in PARTS:
        if expected[part] != got[part]:
            missing = [row for row in expected[part] if row not in got[part]]
            extra = [row for row in got[part] if row not in expected[part]]
            if not missing and not extra:
                missing, extra = expected[part], got[part]
            return f"{part}:\n  evaluator {missing}\n  product   {extra}"
    return ""


def takeovers(scenario: dict[str, Any]) -> set[int]:
    """Return when versions for running cycles come into force during the history."""
    first = min(seconds(event["time"]) for event in scenario["events"])
    versions = [v for v in scenario["policies"] if v.get("applies_to") == "running"]
    return {at for at in (seconds(v["effective_from"]) for v in versions) if at >= first}


def is_unsettled(scenario: dict[str, Any]) -> bool:
    """Tell whether the text leaves open what is published.

    That is so when a version takes over after `until` and before the last record.
    """
    recorded = {seconds(event.get("recorded_at") or event["time"]) for event in scenario["events"]}
    times = {seconds(event["time"]) for event in scenario["events"]}
    until = seconds(scenario["until"]) if scenario.get("until") else max(times)
    between = {instant for instant in takeovers(scenario) if until < instant < max(recorded)}
    return bool(between)


def smaller(scenario: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the scenario with one thing less."""
    for part in LISTS:
        for place in range(len(scenario[part])):
            yield without_item(scenario, (part,), place)
    for place in range(len(scenario["expect"]["known_at"])):
        yield without_item(scenario, ("expect", "known_at"), place)
    for number, policy in enumerate(scenario["policies"]):
        for place, target in enumerate(policy["targets"]):
            yield without_item(scenario, ("policies", number, "targets"), place)
            for option in OPTIONAL:
                if option in target:
                    less = deepcopy(scenario)
                    del less["policies"][number]["targets"][place][option]
                    yield less
    for number, calendar in enumerate(scenario["calendars"]):
        for part in ("holidays", "special_days"):
            if calendar.get(part):
                less = deepcopy(scenario)
                del less["calendars"][number][part]
                yield less
        yield without_item(scenario, ("calendars",), number)
    for number, event in enumerate(scenario["events"]):
        if "id" in event:
            less = deepcopy(scenario)
            del less["events"][number]["id"]
            yield less
        for option in ("recorded_at", *(f"data.{name}" for name in event["data"])):
            less = deepcopy(scenario)
            inner = less["events"][number]
            if option == "recorded_at":
                if inner.pop("recorded_at", None) is None:
                    continue
            else:
                del inner["data"][option.removeprefix("data.")]
            yield less


def without_item(
    scenario: dict[str, Any], path: tuple[str | int, ...], place: int
) -> dict[str, Any]:
    """Return a copy that lacks one item of a list."""
    less = deepcopy(scenario)
    inner: Any = less
    for step in path:
        inner = inner[step]
    del inner[place]
    return less


def differs_in(scenario: dict[str, Any], part: str) -> bool:
    """Tell whether a scenario is still valid and still differs in the same part."""
    try:
        return difference(scenario).startswith(part)
    except (InvalidInputError, msgspec.ValidationError, KeyError, IndexError, ValueError):
        return False


def shrunken(
    scenario: dict[str, Any], part: str, differs: Callable[..., bool] = differs_in
) -> dict[str, Any]:
    """Return the smallest scenario that still differs."""
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for less in smaller(scenario):
            if differs(less, part):
                scenario, is_smaller = less, True
                break
    return scenario
