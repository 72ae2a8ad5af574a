"""Bodies of sla's requests."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import Query
from msgspec import Meta
from msgspec.structs import asdict

from shared.contracts.availability import (
    AvailabilityPromised,
    MaintenanceScheduled,
    OutageRecorded,
    OutageSource,
    ServiceEvent,
    Share,
)
from shared.contracts.base import Instant, Key
from shared.contracts.promises import AppliesTo, Target
from shared.contracts.sla import SpecialDate, Weekday, Window
from shared.http.auth import Role
from shared.http.commands import Body
from shared.http.documents import Document


class NewPolicy(Body, frozen=True, kw_only=True):
    """The next version of one policy, whole; in force from now on, or from `effective_from`.

    `applies_to: running` takes running clocks over to it.
    """

    effective_from: Instant | None = None
    applies_to: AppliesTo = "new"
    targets: Annotated[tuple[Target, ...], Meta(min_length=1, max_length=200)]


class NewCalendar(Body, frozen=True, kw_only=True):
    """Working hours, whole."""

    zone: Key
    weekly: dict[Weekday, tuple[Window, ...]]
    holidays: tuple[Annotated[str, Meta(pattern=r"^(\d{4}|-)-\d\d-\d\d$")], ...] = ()
    special_days: dict[SpecialDate, tuple[Window, ...]] = {}  # noqa: RUF012 msgspec copies it


class Peak(Body, frozen=True, kw_only=True):
    """Whether service requests come in such numbers that they take longer."""

    is_peak: bool


class NewOutage(Body, frozen=True, kw_only=True):
    """An outage, whole; put again with `ended_at` when the service is back."""

    service: Key
    started_at: Instant
    ended_at: Instant | None = None
    source: OutageSource = "person"
    ticket_id: UUID | None = None
    is_withdrawn: bool = False


class NewMaintenance(Body, frozen=True, kw_only=True):
    """A maintenance, whole: time that does not count as agreed service time."""

    service: Key
    starts_at: Instant
    ends_at: Instant
    is_cancelled: bool = False


class NewAvailability(Body, frozen=True, kw_only=True):
    """How available a service shall be in its agreed service time."""

    share_min: Share
    calendar: Key = "24x7"


_NOON: Final = datetime(2026, 3, 2, 12, tzinfo=UTC)
OUTAGE_EXAMPLE: Final = NewOutage(service="mail", started_at=_NOON, source="alert")
MAINTENANCE_EXAMPLE: Final = NewMaintenance(
    service="mail", starts_at=_NOON, ends_at=_NOON + timedelta(hours=2)
)


class Asked:
    """What a query asks about services; dates mean midnight in the zone."""

    def __init__(
        self,
        service: Annotated[str | None, Query(description="of this service only")] = None,
        start: Annotated[
            str | None, Query(alias="from", description="date or instant; else a year before to")
        ] = None,
        to: Annotated[str | None, Query(description="date or instant; else now")] = None,
        zone: Annotated[str, Query(description="IANA zone of dates and periods")] = "UTC",
    ) -> None:
        self.service = service
        self.start = start
        self.to = to
        self.zone = zone


_TELLERS: Final = (Role.AGENT, Role.MANAGER, Role.INTEGRATION)
SERVICE_DOCUMENTS: Final[list[Document[ServiceEvent]]] = [
    Document(
        "/outages/{id}",
        NewOutage,
        OUTAGE_EXAMPLE,
        lambda body, key: OutageRecorded(outage_id=key, **asdict(body)),
        _TELLERS,
        "Record an outage, or what is known of it now",
    ),
    Document(
        "/maintenance/{id}",
        NewMaintenance,
        MAINTENANCE_EXAMPLE,
        lambda body, key: MaintenanceScheduled(maintenance_id=key, **asdict(body)),
        _TELLERS,
        "Schedule a maintenance, or cancel it",
    ),
    Document(
        "/services/{id:path}/availability",
        NewAvailability,
        NewAvailability(share_min=0.999),
        lambda body, key: AvailabilityPromised(service=key, **asdict(body)),
        (Role.MANAGER,),
        "Promise how available a service shall be",
    ),
]
