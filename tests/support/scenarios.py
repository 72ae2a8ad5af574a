"""Small scenarios in few words: one target, a history of `HH:MM` on a Monday, what comes out."""

from typing import Any

import msgspec

from services.sla.domain.files.scenario import Computed, Scenario
from services.sla.domain.scenarios.simulate import run

DAY = "2025-06-02"
OFFICE = {
    "id": "office",
    "zone": "Europe/Berlin",
    "weekly": {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
}


def at(time: str) -> str:
    """Return an instant: `HH:MM` is on the Monday, anything longer stands for itself."""
    return f"{DAY}T{time}:00Z" if len(time) == 5 else time


def target(seconds: int = 3600, **more: Any) -> dict[str, Any]:
    """Return a target `resolution`, kept by resolving or closing."""
    usual = {
        "name": "resolution",
        "kind": "sla",
        "goal": {"working_seconds": seconds},
        "start": ["created"],
        "stop": ["resolved", "closed"],
    }
    return {**usual, **more}


def event(time: str, kind: str, *, known: str | None = None, **data: Any) -> dict[str, Any]:
    """Return an event; `known` is when the desk learnt it."""
    found = {"time": at(time), "type": f"ticket.{kind}", "data": data}
    return found if known is None else {**found, "recorded_at": at(known)}


def policy(*targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return version 1 of the policy `standard`, in force since ever."""
    usual = {
        "id": "standard",
        "version": 1,
        "effective_from": "2000-01-01T00:00:00Z",
        "targets": list(targets),
    }
    return {**usual, **more}


def case(
    *events: dict[str, Any],
    targets: list[dict[str, Any]] | None = None,
    policies: list[dict[str, Any]] | None = None,
    until: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a scenario as the file has it."""
    return {
        "id": "case",
        "calendars": [OFFICE],
        "policies": policies or [policy(*(targets or [target()]))],
        "events": list(events),
        "until": None if until is None else at(until),
        **more,
    }


def outcome(*events: dict[str, Any], **more: Any) -> Computed:
    """Return what follows from a scenario."""
    return run(msgspec.convert(case(*events, **more), Scenario)).actual


def told(computed: Computed) -> list[str]:
    """Return what was published, in order, as `HH:MM word`."""
    return [f"{said.time:%H:%M} {said.type.removeprefix('sla.')}" for said in computed.emitted]
