"""Agreements between a customer and a provider, their signatures, and the remedies that come due.

Money is an integer of the currency's minor unit, such as cents.
"""

from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from shared.contracts.availability import Share
from shared.contracts.base import (
    Amount,
    Count,
    EventData,
    Instant,
    Key,
    Name,
    Ordinal,
    Priority,
    at_most,
)

Party = Literal["customer", "provider"]
ReviewPeriod = Literal["month", "quarter", "year"]
RemedyKind = Literal["credit", "penalty"]
Minor = Annotated[int, Meta(ge=0, le=1_000_000_000_000_000, description="minor units")]
Version = Annotated[int, Meta(ge=1, le=1_000_000)]
Day = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d$")]
DAY_SECONDS = 86_400


class Band(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share lower than `below` is worth `credit_share` of the fee."""

    below: Share
    credit_share: Share


class AttainmentOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Verdicts on targets, of tickets of these priorities; no priorities are all of them."""

    targets: Annotated[tuple[Key, ...], Meta(min_length=1, max_length=50)]
    priorities: Annotated[tuple[Priority, ...], Meta(max_length=4)] = ()


class AvailabilityOf(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service in its agreed service time."""

    service: Key


class Measure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is measured, one of attainment and availability, and what a low share is worth.

    `bands` fall; the lowest that the share is below counts. `impact_cost_minor_per_hour` is what an
    hour of lateness or of down time costs the customer: it is told, and no part of the remedy.
    """

    name: Key
    attainment: AttainmentOf | None = None
    availability: AvailabilityOf | None = None
    bands: Annotated[tuple[Band, ...], Meta(min_length=1, max_length=20)]
    impact_cost_minor_per_hour: Minor | None = None


Measures = Annotated[
    tuple[Measure, ...], Meta(min_length=1, max_length=100), at_most(bytes=400_000)
]
Services = Annotated[tuple[Key, ...], Meta(max_length=1000), at_most(bytes=300_000)]


class AgreementData(EventData, frozen=True, kw_only=True):
    """Data of an event in an agreement's stream."""

    STREAM: ClassVar[str] = "agreement_id"

    agreement_id: Key
    version: Version


class AgreementPublished(AgreementData, frozen=True, kw_only=True):
    """One version of an agreement, whole; in force once both parties have signed it.

    No `services` are all of the customer's. `fee_minor` is the fee of one review period; remedies
    of a period are at most `credit_share_max` of it. Told again, an unsigned version is replaced.
    `settling_seconds` is how long late facts are waited for after a period has ended.
    """

    TYPE: ClassVar[str] = "agreement.published"

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


class AgreementSigned(AgreementData, frozen=True, kw_only=True):
    """A party signed a version; the envelope's `time` is when."""

    TYPE: ClassVar[str] = "agreement.signed"

    party: Party
    signatory: Name


class RemedyLine(msgspec.Struct, frozen=True, kw_only=True):
    """One measure of a period.

    `met` of `n` are verdicts, or microseconds of agreed service time; `share` is met / n, null
    where n is 0. `band_below` names the band that counts. Lateness or down time is `impact_hours`;
    `impact_cost_minor` is 2^53 - 1 where it would be more.
    """

    measure: Key
    unit: Literal["verdicts", "microseconds"]
    n: Amount
    met: Amount
    share: float | None
    band_below: float | None
    credit_share: float
    credit_minor: Amount
    impact_hours: float
    impact_cost_minor: Amount | None


COMPUTATION_BYTES_MAX: Final = 400_000
SENTENCE_MAX: Final = 4_000
Computation = Annotated[
    tuple[Annotated[str, at_most(characters=SENTENCE_MAX)], ...],
    at_most(items=1_000, bytes=COMPUTATION_BYTES_MAX),
]


class SlaRemedyDue(AgreementData, frozen=True, kw_only=True):
    """A period was reviewed: what each measure came to, and what is due; 0 is told too.

    The highest `revision` of a period counts; a later one is told when late facts change anything.
    `measured_from` is after `period_start` if the agreement came into force within the period.
    `computation` says in sentences how every amount came about, half a minor unit rounded up; it
    says how many sentences it has no room for.
    """

    TYPE: ClassVar[str] = "sla.remedy_due"

    period_start: Instant
    period_end: Instant
    measured_from: Instant
    revision: Ordinal
    kind: RemedyKind
    lines: Annotated[tuple[RemedyLine, ...], at_most(items=100)]
    fee_minor: Amount
    credit_share_max: float
    total_minor: Amount
    currency: Annotated[str, at_most(characters=3)]
    computation: Computation


AgreementEvent = AgreementPublished | AgreementSigned | SlaRemedyDue
