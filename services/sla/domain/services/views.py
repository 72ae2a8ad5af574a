"""What lists of outages and maintenance show."""

from datetime import datetime
from uuid import UUID

import msgspec


class OutageView(msgspec.Struct, frozen=True):
    """An outage as it was recorded last."""

    outage_id: str
    service: str
    started_at: datetime
    ended_at: datetime | None
    source: str
    ticket_id: UUID | None
    is_withdrawn: bool


class MaintenanceView(msgspec.Struct, frozen=True):
    """A maintenance as it was told last."""

    maintenance_id: str
    service: str
    starts_at: datetime
    ends_at: datetime
    is_cancelled: bool
