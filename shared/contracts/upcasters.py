"""Old versions of an event's data, lifted one version at a time to the newest."""

from collections.abc import Callable
from typing import Any

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]


def ticket_reported_v1_to_v2(data: Data) -> Data:
    """Group the flat requester fields and the number of affected people, as version 2 has them."""
    lifted = dict(data)
    names = {"id": "requester_id", "name": "requester_name"}
    requester = {new: lifted.pop(old) for new, old in names.items() if old in lifted}
    if requester:
        lifted["requester"] = requester
    if "affected_people" in lifted:
        lifted["scope"] = {"people": lifted.pop("affected_people")}
    return lifted


_STOPS = {
    "response": ["started", "agent_reply", "resolved", "closed"],
    "resolution": ["resolved", "closed"],
}
"""What ended the clocks of version 1, by target."""


def sla_policy_v1_to_v2(data: Data) -> Data:
    """Say what version 1 took for granted: created starts, solutions stop, holds pause."""
    return {**data, "targets": [_target(target) for target in data.get("targets", [])]}


def _target(old: Data) -> Data:
    name = old.get("name")
    wanted = {field: old.get(field) for field in ("kind", "priority") if old.get(field) is not None}
    warn = old.get("warn_percent", 75)
    return {
        "name": name,
        "kind": "sla",
        "calendar": old.get("calendar"),
        "when": {"priority": ["P1", "P2", "P3", "P4"], **wanted},
        "goal": {"working_seconds": old.get("goal_seconds")},
        "start": ["created"],
        "stop": _STOPS.get(str(name)),
        "pause": ["held"] if name == "resolution" else [],
        "on_reopen": "continue" if name == "resolution" else "ignore",
        "warn": [] if warn is None else [{"percent": warn}],
    }


def sla_started_v1_to_v2(data: Data) -> Data:
    """Name the goal by its kind, and the only policy there was."""
    lifted = dict(data)
    goal = {"working_seconds": lifted.pop("goal_seconds", None)}
    return {**lifted, "goal": goal, "policy_id": "standard"}


def sla_warned_v1_to_v2(data: Data) -> Data:
    """Make the percentage one of several rules."""
    lifted = dict(data)
    return {**lifted, "rule": {"percent": lifted.pop("percent", None)}}


_SENT_AS: dict[tuple[str, int], dict[str, str]] = {
    ("ticket.reported", 1): {
        "required field `id` - at `$.requester`": "required field `requester_id`",
        "required field `requester`": "required field `requester_id`",
        "`$.requester.id`": "`$.requester_id`",
        "`$.requester.name`": "`$.requester_name`",
        "`$.scope.people`": "`$.affected_people`",
    },
}
"""How the words of msgspec about lifted data name what was sent."""


def as_sent(event_type: str, version: int, complaint: str) -> str:
    """Return a complaint about lifted data in the names of the version that was sent."""
    for new, old in _SENT_AS.get((event_type, version), {}).items():
        complaint = complaint.replace(new, old)
    return complaint


UPCASTERS: dict[tuple[str, int], Upcaster] = {
    ("ticket.reported", 1): ticket_reported_v1_to_v2,
    ("sla.policy_published", 1): sla_policy_v1_to_v2,
    ("sla.started", 1): sla_started_v1_to_v2,
    ("sla.warned", 1): sla_warned_v1_to_v2,
}
