"""Bodies of sla's requests."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import Query
from msgspec import Meta
from msgspec.structs import asdict

from shared.contracts.agreements import (
    DAY_SECONDS,
    AgreementPublished,
    AgreementSigned,
    AttainmentOf,
    AvailabilityOf,
    Band,
    Day,
    Measure,
    Measures,
    Minor,
    Party,
    RemedyKind,
    ReviewPeriod,
    Services,
    Version,
)
from shared.contracts.availability import (
    AvailabilityPromised,
    MaintenanceScheduled,
    OutageRecorded,
    OutageSource,
    ServiceEvent,
    Share,
)
from shared.contracts.base import Count, Instant, Key, Name, Priority
from shared.contracts.promises import AppliesTo, Targets
from shared.contracts.sla import Holidays, SpecialDays, Weekly
from shared.http.commands import Body
from shared.http.documents import Document
from shared.http.period import From, To


class NewPolicy(Body, frozen=True, kw_only=True):
    """The next version of one policy, whole; in force from now on, or from `effective_from`.

    `applies_to: running` takes running clocks over to it.
    """

    effective_from: Instant | None = None
    applies_to: AppliesTo = "new"
    targets: Targets


class NewCalendar(Body, frozen=True, kw_only=True):
    """Working hours, whole."""

    zone: Key
    weekly: Weekly
    holidays: Holidays = ()
    special_days: SpecialDays = {}  # noqa: RUF012 msgspec copies it


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


class ServiceQuery:
    """What a query asks about services: by default the year up to now, or up to `to`."""

    def __init__(
        self,
        service: Annotated[str | None, Query(description="of this service only")] = None,
        start: From = None,
        to: To = None,
        zone: Annotated[str, Query(description="IANA zone of dates and periods")] = "UTC",
    ) -> None:
        self.service = service
        self.start = start
        self.to = to
        self.zone = zone


Dimension = Literal[
    "policy", "group", "month", "priority", "customer", "site", "service", "category"
]


class AskedVerdicts:
    """What a query asks about verdicts."""

    def __init__(  # noqa: PLR0913 one query parameter per filter
        self,
        *,
        start: From = None,
        end: To = None,
        by: Annotated[list[Dimension] | None, Query()] = None,
        zone: Annotated[str, Query(description="IANA zone of dates and months")] = "UTC",
        target: Annotated[list[str] | None, Query()] = None,
        priority: Annotated[list[Priority] | None, Query()] = None,
        customer: Annotated[list[str] | None, Query()] = None,
        service: Annotated[list[str] | None, Query()] = None,
    ) -> None:
        self.start, self.end, self.zone = start, end, zone
        self.by = tuple(dict.fromkeys(by or ()))
        self.targets, self.priorities = target or (), priority or ()
        self.customers, self.services = customer or (), service or ()


SERVICE_DOCUMENTS: Final[list[Document[ServiceEvent]]] = [
    Document(
        "/outages/{id:path}",
        NewOutage,
        OUTAGE_EXAMPLE,
        lambda body, key: OutageRecorded(outage_id=key, **asdict(body)),
        "Record an outage, or what is known of it now",
    ),
    Document(
        "/maintenance/{id:path}",
        NewMaintenance,
        MAINTENANCE_EXAMPLE,
        lambda body, key: MaintenanceScheduled(maintenance_id=key, **asdict(body)),
        "Schedule a maintenance, or cancel it",
    ),
    Document(
        "/services/{id:path}/availability",
        NewAvailability,
        NewAvailability(share_min=0.999),
        lambda body, key: AvailabilityPromised(service=key, **asdict(body)),
        "Promise how available a service shall be",
    ),
]


class NewAgreement(Body, frozen=True, kw_only=True):
    """A version of an agreement, whole, as `agreement.published` has it."""

    version: Version
    customer: Key
    provider: Key
    services: Services = ()
    valid_from: Instant
    valid_until: Instant | None = None
    review_date: Day
    review_period: ReviewPeriod
    zone: Key
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217")]
    fee_minor: Minor
    measures: Measures
    credit_share_max: Share = 1.0
    kind: RemedyKind = "credit"
    settling_seconds: Count = DAY_SECONDS


class NewSignature(Body, frozen=True, kw_only=True):
    """A party signs a version, now or at an instant that is past."""

    version: Version
    party: Party
    signatory: Name
    signed_at: Instant | None = None


class NewReview(Body, frozen=True, kw_only=True):
    """The period to review: `2026-03`, `2026-Q1` or `2026`, as the agreement reviews."""

    period: Key


REVIEW_EXAMPLE: Final = NewReview(period="2026-03")
_AGREEMENT_EXAMPLE: Final = NewAgreement(
    version=1,
    customer="acme",
    provider="desk",
    services=("mail",),
    valid_from=datetime(2026, 1, 1, tzinfo=UTC),
    review_date="2026-12-01",
    review_period="month",
    zone="Europe/Berlin",
    currency="EUR",
    fee_minor=1_000_000,
    measures=(
        Measure(
            name="solved in time",
            attainment=AttainmentOf(targets=("resolution",), priorities=("P1", "P2")),
            bands=(Band(below=0.95, credit_share=0.05), Band(below=0.9, credit_share=0.1)),
        ),
        Measure(
            name="mail is up",
            availability=AvailabilityOf(service="mail"),
            bands=(Band(below=0.999, credit_share=0.05),),
            impact_cost_minor_per_hour=50_000,
        ),
    ),
    credit_share_max=0.15,
)

AgreementWord = tuple[AgreementPublished | AgreementSigned, datetime | None]
"""What is told about an agreement, and since when it is so; None is now."""
AGREEMENT_DOCUMENTS: Final[list[Document[AgreementWord]]] = [
    Document(
        "/agreements/{id}",
        NewAgreement,
        _AGREEMENT_EXAMPLE,
        lambda body, key: (AgreementPublished(agreement_id=key, **asdict(body)), None),
        "Publish a version of an agreement",
    ),
    Document(
        "/agreements/{id}/sign-offs",
        NewSignature,
        NewSignature(version=1, party="customer", signatory="Ann Example"),
        lambda body, key: (
            AgreementSigned(
                agreement_id=key, version=body.version, party=body.party, signatory=body.signatory
            ),
            body.signed_at,
        ),
        "Sign a version for a party",
        method="POST",
    ),
]
