"""Events about services that sla owns: outages, maintenance, and how available they shall be."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import Meta

from shared.contracts.base import EventData, Instant, Key

OutageSource = Literal["alert", "person"]
Share = Annotated[float, Meta(ge=0, le=1, description="a share of 1, such as 0.999")]


class OutageRecorded(EventData, frozen=True, kw_only=True):
    """A service was down from `started_at` to `ended_at`, which is null while it lasts.

    Told again for the same outage, the newest recording counts; `is_withdrawn` takes it back.
    """

    TYPE: ClassVar[str] = "service.outage_recorded"
    STREAM: ClassVar[str] = "outage_id"

    outage_id: Key
    service: Key
    started_at: Instant
    ended_at: Instant | None = None
    source: OutageSource
    ticket_id: UUID | None = None
    is_withdrawn: bool = False


class MaintenanceScheduled(EventData, frozen=True, kw_only=True):
    """A service may be down from `starts_at` to `ends_at` without breaking a promise.

    Told again for the same maintenance, the newest word counts.
    """

    TYPE: ClassVar[str] = "service.maintenance_scheduled"
    STREAM: ClassVar[str] = "maintenance_id"

    maintenance_id: Key
    service: Key
    starts_at: Instant
    ends_at: Instant
    is_cancelled: bool = False


class AvailabilityPromised(EventData, frozen=True, kw_only=True):
    """At least `share_min` of its agreed service time, a calendar, the service shall be up.

    A period is measured by what was promised last before it ended; the first promise is taken to
    have held before, too.
    """

    TYPE: ClassVar[str] = "service.availability_promised"
    STREAM: ClassVar[str] = "service"

    service: Key
    share_min: Share
    calendar: Key = "24x7"


ServiceEvent = OutageRecorded | MaintenanceScheduled | AvailabilityPromised
