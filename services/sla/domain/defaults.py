"""What a new desk promises until its managers publish something else."""

from typing import Final

from shared.calendar import ROUND_THE_CLOCK
from shared.contracts.base import Priority
from shared.contracts.sla import SlaCalendarPublished, SlaPolicyPublished, Target

OFFICE: Final = "office"
STANDARD_POLICY: Final = "standard"
_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600

_RESPONSES: Final[tuple[tuple[Priority, str, int], ...]] = (
    ("P1", ROUND_THE_CLOCK, 15 * _MINUTE_SECONDS),
    ("P2", ROUND_THE_CLOCK, 30 * _MINUTE_SECONDS),
    ("P3", OFFICE, 4 * _HOUR_SECONDS),
    ("P4", OFFICE, 8 * _HOUR_SECONDS),
)
_RESOLUTIONS: Final[tuple[tuple[Priority, str, int], ...]] = (
    ("P1", ROUND_THE_CLOCK, 4 * _HOUR_SECONDS),
    ("P2", ROUND_THE_CLOCK, 8 * _HOUR_SECONDS),
    ("P3", OFFICE, 24 * _HOUR_SECONDS),
    ("P4", OFFICE, 48 * _HOUR_SECONDS),
)


def default_calendars(zone: str) -> tuple[SlaCalendarPublished, ...]:
    """Return `office`, Monday to Friday 09:00–18:00 in the IANA zone; `24x7` is built in."""
    return (
        SlaCalendarPublished(
            calendar_id=OFFICE,
            version=1,
            name="Office hours, Monday to Friday 09:00–18:00",
            zone=zone,
            weekly={
                "mon": (("09:00", "18:00"),),
                "tue": (("09:00", "18:00"),),
                "wed": (("09:00", "18:00"),),
                "thu": (("09:00", "18:00"),),
                "fri": (("09:00", "18:00"),),
            },
            special_days={},
        ),
    )


def default_policy() -> SlaPolicyPublished:
    """Return the standard policy; a service request is answered by its priority like an incident.

    Its resolution is promised in 24 office hours, whatever the priority.
    """
    requests = Target(
        name="resolution",
        kind="service_request",
        calendar=OFFICE,
        goal_seconds=24 * _HOUR_SECONDS,
    )
    responses = (
        Target(name="response", priority=priority, calendar=calendar, goal_seconds=seconds)
        for priority, calendar, seconds in _RESPONSES
    )
    resolutions = (
        Target(
            name="resolution",
            kind="incident",
            priority=priority,
            calendar=calendar,
            goal_seconds=seconds,
        )
        for priority, calendar, seconds in _RESOLUTIONS
    )
    return SlaPolicyPublished(
        policy_id=STANDARD_POLICY, version=1, targets=(requests, *responses, *resolutions)
    )
