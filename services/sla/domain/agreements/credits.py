"""What the past is worth by the agreements: as it was judged, and under other rules."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from services.sla.domain.agreements.remedies import Figures, remedy
from services.sla.domain.agreements.versions import AgreementVersions, Due, due_of
from services.sla.domain.services.periods import period_at
from shared.contracts.agreements import AgreementPublished, Measure, SlaRemedyDue
from shared.working_hours import read_zone

Side = Literal["before", "after"]
_NOTHING: Final = Figures("verdicts", 0, 0, 0, "left out: only verdicts are judged again")


class CreditedTicket(NamedTuple):
    """What decides which agreements are about a ticket."""

    customer: str | None
    service: str | None
    priority: str | None


class Fallen(NamedTuple):
    """A verdict on a target, and the instant at which it fell, in microseconds since 1970."""

    target: str
    is_met: bool
    at_us: int


class VerdictCount(NamedTuple):
    """Verdicts that count for one measure of one period: by its start and the measure's place."""

    agreement_id: str
    period_us: int
    place: int
    side: Side
    is_met: bool


class Credit(msgspec.Struct, frozen=True):
    """What one period would have cost, in minor units; availability is left out on both sides."""

    agreement_id: str
    period_start: str
    currency: str
    before_minor: int
    after_minor: int


class Credits:
    """Counts verdicts by agreement, period and measure, and says what they are worth."""

    def __init__(self, agreements: Mapping[str, AgreementVersions]) -> None:
        """Take the versions of every agreement, by its id."""
        self._agreements = agreements
        self._of_customer: dict[str, set[str]] = {}
        self._dues: dict[tuple[str, int], Due | None] = {}
        self._counts: Counter[VerdictCount] = Counter()
        for agreement_id, versions in agreements.items():
            for version in versions.values():
                customer = version.document.customer
                self._of_customer.setdefault(customer, set()).add(agreement_id)

    def is_any_of(self, customer: str | None) -> bool:
        """Tell whether there is an agreement with the customer."""
        return customer in self._of_customer

    def add(self, ticket: CreditedTicket, side: Side, verdicts: Iterable[Fallen]) -> None:
        """Count a ticket's verdicts where agreements are about it."""
        for fallen in verdicts:
            for agreement_id in self._of_customer.get(ticket.customer or "", ()):
                due = self._due(agreement_id, fallen.at_us)
                if due is None or fallen.at_us < due.reviewed.measured_from_us:
                    continue
                if not _is_about(due.document, ticket):
                    continue
                for place, measure in enumerate(due.document.measures):
                    if _counts(measure, ticket, fallen):
                        period_us = due.reviewed.period.start_us
                        key = VerdictCount(agreement_id, period_us, place, side, fallen.is_met)
                        self._counts[key] += 1

    def counted(self) -> list[tuple[VerdictCount, int]]:
        """Return all counts, to be taken by another process."""
        return sorted(self._counts.items())

    def take(self, counted: Iterable[tuple[VerdictCount, int]]) -> None:
        """Add what another process counted."""
        for key, many in counted:
            self._counts[key] += many

    def credits(self) -> tuple[Credit, ...]:
        """Return what each period with a verdict comes to, by agreement and time."""
        periods = sorted({(key.agreement_id, key.period_us) for key in self._counts})
        found: list[Credit] = []
        for agreement_id, period_us in periods:
            due = self._due(agreement_id, period_us)
            if due is not None:
                before, after = (self._remedy(due, side) for side in ("before", "after"))
                found.append(
                    Credit(
                        agreement_id,
                        before.period_start.isoformat(),
                        before.currency,
                        before.total_minor,
                        after.total_minor,
                    )
                )
        return tuple(found)

    def _remedy(self, due: Due, side: Side) -> SlaRemedyDue:
        agreement_id, period_us = due.document.agreement_id, due.reviewed.period.start_us
        figures: list[Figures] = []
        for place, measure in enumerate(due.document.measures):
            met, missed = (
                self._counts[VerdictCount(agreement_id, period_us, place, side, is_met)]
                for is_met in (True, False)
            )
            figures.append(
                _NOTHING
                if measure.attainment is None
                else Figures("verdicts", met + missed, met, 0, "judged again")
            )
        return remedy(due.document, due.reviewed, figures)

    def _due(self, agreement_id: str, at_us: int) -> Due | None:
        versions = self._agreements[agreement_id]
        some = next(iter(versions.values())).document
        period = period_at(some.review_period, read_zone(some.zone), at_us)
        key = agreement_id, period.start_us
        if key not in self._dues:
            self._dues[key] = due_of(versions, period)
        return self._dues[key]


def _is_about(document: AgreementPublished, ticket: CreditedTicket) -> bool:
    if ticket.customer != document.customer:
        return False
    return not document.services or ticket.service in document.services


def _counts(measure: Measure, ticket: CreditedTicket, fallen: Fallen) -> bool:
    asked = measure.attainment
    if asked is None or fallen.target not in asked.targets:
        return False
    return not asked.priorities or ticket.priority in asked.priorities
