"""What a new desk promises until its managers publish something else."""

from datetime import UTC, datetime
from typing import Final

from services.sla.domain.clocks.facts import PEAK
from shared.calendar import ROUND_THE_CLOCK
from shared.contracts.promises import Condition, Goal, Target, Value, WarnRule
from shared.contracts.sla import SlaCalendarPublished, SlaPolicyPublished

OFFICE: Final = "office"
STANDARD_POLICY: Final = "standard"
_SINCE: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600
_WARN: Final = (WarnRule(percent=75),)
_RANKS: Final[Value | tuple[Value, ...]] = ("P1", "P2", "P3", "P4")
_REPLY_STOPS: Final[tuple[Condition, ...]] = ("started", "agent_reply", "resolved", "closed")

_RESPONSES: Final = (
    ("P1", ROUND_THE_CLOCK, 15 * _MINUTE_SECONDS),
    ("P2", ROUND_THE_CLOCK, 30 * _MINUTE_SECONDS),
    ("P3", OFFICE, 4 * _HOUR_SECONDS),
    ("P4", OFFICE, 8 * _HOUR_SECONDS),
)
_RESOLUTIONS: Final = (
    ("P1", ROUND_THE_CLOCK, 4 * _HOUR_SECONDS),
    ("P2", ROUND_THE_CLOCK, 8 * _HOUR_SECONDS),
    ("P3", OFFICE, 24 * _HOUR_SECONDS),
    ("P4", OFFICE, 48 * _HOUR_SECONDS),
)
_REQUEST_SECONDS: Final = 24 * _HOUR_SECONDS
_PEAK_SECONDS: Final = 48 * _HOUR_SECONDS


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
    """Return the standard policy.

    A service request is answered by its priority like an incident; its resolution is promised in
    24 office hours, in 48 if it came while a peak was declared. Nothing is promised before the
    ticket is ranked; what is promised then counts from its creation.
    """
    requests = (
        _resolution({"kind": "service_request", PEAK: True}, OFFICE, _PEAK_SECONDS),
        _resolution({"kind": "service_request"}, OFFICE, _REQUEST_SECONDS),
    )
    responses = (_response(rank, calendar, seconds) for rank, calendar, seconds in _RESPONSES)
    incidents = (
        _resolution({"kind": "incident", "priority": rank}, calendar, seconds)
        for rank, calendar, seconds in _RESOLUTIONS
    )
    return SlaPolicyPublished(
        policy_id=STANDARD_POLICY,
        version=1,
        effective_from=_SINCE,
        targets=(*requests, *responses, *incidents),
        calendars={OFFICE: 1},
    )


def _response(rank: str, calendar: str, seconds: int) -> Target:
    return Target(
        name="response",
        kind="sla",
        calendar=calendar,
        when={"priority": rank},
        goal=Goal(working_seconds=seconds),
        start=("created",),
        stop=_REPLY_STOPS,
        on_reopen="ignore",
        warn=_WARN,
    )


def _resolution(when: dict[str, Value | tuple[Value, ...]], calendar: str, seconds: int) -> Target:
    return Target(
        name="resolution",
        kind="sla",
        calendar=calendar,
        when={"priority": _RANKS, **when},
        goal=Goal(working_seconds=seconds),
        start=("created",),
        stop=("resolved", "closed"),
        pause=("held",),
        warn=_WARN,
    )
