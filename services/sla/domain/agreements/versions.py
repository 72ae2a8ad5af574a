"""Agreements: versions, who signed them, which is in force when, which periods are due."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import pairwise
from typing import Final, NamedTuple, NoReturn

import msgspec

from services.sla.domain.agreements.currencies import MINOR_DIGITS
from services.sla.domain.agreements.remedies import Reviewed
from services.sla.domain.rules.differences import Differs, differing
from services.sla.domain.services.periods import Span, known_us, period_at
from shared.calendar import SECOND_US, instant, microseconds
from shared.contracts.agreements import (
    AgreementEvent,
    AgreementPublished,
    AgreementSigned,
    Measure,
    Party,
    SlaRemedyDue,
)
from shared.errors import IllegalTransitionError, InvalidInputError
from shared.working_hours import read_zone

_PARTIES: Final[tuple[Party, ...]] = ("customer", "provider")
_FOR_EVER_US: Final = 1 << 62


class Signature(NamedTuple):
    """Who signed for a party, and when."""

    signatory: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class AgreementVersion:
    """A version of an agreement, and the signatures it has."""

    document: AgreementPublished
    signatures: Mapping[Party, Signature] = field(default_factory=dict[Party, Signature])

    @property
    def in_force(self) -> Span | None:
        """When it is in force: signed by both parties, and valid. None if never."""
        if len(self.signatures) < len(_PARTIES):
            return None
        signed_at = max(signature.signed_at for signature in self.signatures.values())
        start_us = microseconds(max(self.document.valid_from, signed_at))
        until = self.document.valid_until
        end_us = _FOR_EVER_US if until is None else microseconds(until)
        return Span(start_us, end_us) if start_us < end_us else None


AgreementVersions = Mapping[int, AgreementVersion]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What `decide` needs; of each period's reviews the highest revision."""

    versions: AgreementVersions = field(default_factory=dict[int, AgreementVersion])
    remedies: Mapping[datetime, SlaRemedyDue] = field(default_factory=dict[datetime, SlaRemedyDue])


@dataclass(frozen=True, slots=True)
class PublishAgreement:
    """Publish a version, the next or in the place of the newest one if nobody has signed it."""

    document: AgreementPublished


@dataclass(frozen=True, slots=True)
class SignAgreement:
    """Sign a version for a party."""

    document: AgreementSigned


@dataclass(frozen=True, slots=True)
class ReviewPeriod:
    """Tell what is due for a period, if nothing was told, or something else."""

    remedy: SlaRemedyDue


Command = PublishAgreement | SignAgreement | ReviewPeriod


def decide(command: Command, agreement: Agreement) -> list[AgreementEvent]:
    """Return what is new; nothing for what was told before.

    Raises: InvalidInputError, or IllegalTransitionError for a change of what is signed.
    """
    match command:
        case PublishAgreement():
            return _publish(command.document, agreement)
        case SignAgreement():
            return _sign(command.document, agreement)
        case ReviewPeriod():
            last = agreement.remedies.get(command.remedy.period_start)
            if last is None:
                return [command.remedy]
            again = msgspec.structs.replace(command.remedy, revision=last.revision)
            if again == last:
                return []
            return [msgspec.structs.replace(again, revision=last.revision + 1)]


def evolve(agreement: Agreement, event: object, at: datetime) -> Agreement:
    """Fold one fact; one of another kind with the same id has no part in it."""
    match event:
        case AgreementPublished():
            return replace(
                agreement, versions={**agreement.versions, event.version: AgreementVersion(event)}
            )
        case AgreementSigned():
            version = agreement.versions.get(event.version)
            if version is None:
                return agreement
            signatures = {**version.signatures, event.party: Signature(event.signatory, at)}
            signed = replace(version, signatures=signatures)
            return replace(agreement, versions={**agreement.versions, event.version: signed})
        case SlaRemedyDue():
            return replace(agreement, remedies={**agreement.remedies, event.period_start: event})
        case _:
            return agreement


def _publish(document: AgreementPublished, agreement: Agreement) -> list[AgreementEvent]:
    versions, number = agreement.versions, document.version
    newest = max(versions, default=0)
    known = versions.get(number)
    if known is not None and known.document == document:
        return []
    if known is not None and known.signatures:
        parties = " and ".join(known.signatures)
        raise IllegalTransitionError(
            f"version {number} is signed by {parties} and cannot change; publish version"
            f" {newest + 1}",
            field="/version",
        )
    if number not in (newest, newest + 1):
        _refuse("/version", f"the newest version is {newest}; the next is {newest + 1}")
    others = [one.document for one in versions.values() if one.document.version != number]
    for name in ("review_period", "zone"):
        for other in others:
            if getattr(other, name) != getattr(document, name):
                _refuse(
                    f"/{name}",
                    f"version {other.version} has {getattr(other, name)!r}; periods of two kinds"
                    " would overlap. Publish another agreement",
                )
    return [document]


def _sign(event: AgreementSigned, agreement: Agreement) -> list[AgreementEvent]:
    version = agreement.versions.get(event.version)
    if version is None:
        known = ", ".join(str(number) for number in sorted(agreement.versions)) or "none"
        _refuse("/version", f"version {event.version} is not published; there is: {known}")
    signature = version.signatures.get(event.party)
    if signature is None:
        return [event]
    if signature.signatory != event.signatory:
        raise IllegalTransitionError(
            f"version {event.version} was signed for the {event.party} by {signature.signatory}",
            field="/signatory",
        )
    return []


# --- What cannot be ---------------------------------------------------------------------------


def require_sound(document: AgreementPublished) -> None:
    """Raise InvalidInputError, naming the field, for an agreement that cannot be."""
    start_us = known_us(document.valid_from, "/valid_from")
    if document.valid_until is not None and (
        known_us(document.valid_until, "/valid_until") <= start_us
    ):
        _refuse("/valid_until", "it must end after it starts")
    try:
        date.fromisoformat(document.review_date)
    except ValueError:
        _refuse("/review_date", f"{document.review_date!r} is no date")
    read_zone(document.zone)
    if document.currency not in MINOR_DIGITS:
        _refuse("/currency", f"{document.currency!r} is no currency of ISO 4217")
    names: set[str] = set()
    for place, measure in enumerate(document.measures):
        pointer = f"/measures/{place}"
        if measure.name in names:
            _refuse(f"{pointer}/name", f"{measure.name!r} is there twice")
        names.add(measure.name)
        _require_measure(measure, document.services, pointer)


def _require_measure(measure: Measure, services: tuple[str, ...], pointer: str) -> None:
    if (measure.attainment is None) == (measure.availability is None):
        _refuse(pointer, "give one of attainment and availability")
    if measure.availability is not None:
        service = measure.availability.service
        if services and service not in services:
            _refuse(f"{pointer}/availability/service", f"{service!r} is none of the services")
    for place, (band, lower) in enumerate(pairwise(measure.bands), 1):
        if lower.below >= band.below:
            _refuse(
                f"{pointer}/bands/{place}/below",
                f"bands must fall: {lower.below} comes after {band.below}",
            )
        if lower.credit_share <= band.credit_share:
            _refuse(
                f"{pointer}/bands/{place}/credit_share",
                f"a lower share must be worth more: {lower.credit_share} comes after"
                f" {band.credit_share}",
            )


def signing_instant(signed_at: datetime | None, now: datetime) -> datetime:
    """Return when a party signed. Raises: InvalidInputError for an instant that is to come."""
    if signed_at is None:
        return now
    if known_us(signed_at, "/signed_at") > microseconds(now):
        _refuse("/signed_at", f"{signed_at.isoformat()} is in the future")
    return signed_at


def _refuse(field_: str, sentence: str) -> NoReturn:
    raise InvalidInputError(f"{field_}: {sentence}", field=field_)


def changes(before: SlaRemedyDue | None, after: SlaRemedyDue) -> list[Differs]:
    """Return what a review changes in the one before."""
    if before is None:
        return []
    plain = [
        msgspec.to_builtins(msgspec.structs.replace(one, revision=1)) for one in (before, after)
    ]
    return list(differing(*plain))


# --- Periods ----------------------------------------------------------------------------------


class Due(NamedTuple):
    """A period to review, by the version in force at its end."""

    document: AgreementPublished
    reviewed: Reviewed


def in_force_at(versions: AgreementVersions, at_us: int) -> AgreementPublished | None:
    """Return the highest version in force at an instant."""
    found = [
        number
        for number, version in versions.items()
        if (span := version.in_force) and span.start_us <= at_us < span.end_us
    ]
    return versions[max(found)].document if found else None


def due_of(versions: AgreementVersions, period: Span) -> Due | None:
    """Return how a period is to be reviewed; None if no version is in force at its end."""
    document = in_force_at(versions, period.end_us - 1)
    if document is None:
        return None
    since_us = min(span.start_us for span in _spans(versions) if _touches(span, period))
    return Due(document, Reviewed(period, max(period.start_us, since_us)))


def due_periods(
    versions: AgreementVersions, reviewed: Iterable[datetime], now_us: int
) -> Iterator[Due]:
    """Yield the periods that ended, whose late facts were waited for, and that are not reviewed.

    `reviewed` are the starts of those that are.
    """
    done = {microseconds(start) for start in reviewed}
    spans = list(_spans(versions))
    if not spans:
        return
    some = next(iter(versions.values())).document
    zone = read_zone(some.zone)
    period = period_at(some.review_period, zone, min(span.start_us for span in spans))
    while period.end_us <= now_us:
        if period.start_us not in done and (due := due_of(versions, period)) is not None:
            if settled_us(due) > now_us:
                return
            yield due
        period = period_at(some.review_period, zone, period.end_us)


def settled_us(due: Due) -> int:
    """Return when the late facts of a period have been waited for."""
    return due.reviewed.period.end_us + due.document.settling_seconds * SECOND_US


def require_due(agreement: Agreement, name: str, now_us: int) -> Due:
    """Return how to review a period called `2026-03`, `2026-Q1` or `2026`.

    Raises: InvalidInputError if it is no period of the agreement; IllegalTransitionError if it is
    not over, or nothing is in force at its end.
    """
    some = next(iter(agreement.versions.values())).document
    period = _period_named(name, some)
    if period.end_us > now_us:
        raise IllegalTransitionError(
            f"the period {name} is not over; it ends {instant(period.end_us).isoformat()}",
            field="/period",
        )
    due = due_of(agreement.versions, period)
    if due is None:
        raise IllegalTransitionError(
            f"no version was in force when {name} ended: signed by both parties, and valid",
            field="/period",
        )
    if settled_us(due) > now_us:
        raise IllegalTransitionError(
            f"late facts of {name} are waited for until {instant(settled_us(due)).isoformat()}",
            field="/period",
        )
    return due


def _period_named(name: str, some: AgreementPublished) -> Span:
    forms = {"month": "YYYY-MM", "quarter": "YYYY-Qn", "year": "YYYY"}
    year, _, part = name.partition("-")
    months = {"month": part, "quarter": _QUARTERS.get(part, ""), "year": "01" if not part else ""}
    try:
        first = datetime.strptime(f"{year}-{months[some.review_period]}", "%Y-%m")  # noqa: DTZ007 - wall time
    except ValueError:
        first = None
    if first is None or len(name) != len(forms[some.review_period].replace("n", "1")):
        _refuse(
            "/period", f"{name!r} is no {some.review_period}; write {forms[some.review_period]}"
        )
    at_us = known_us(first.replace(tzinfo=read_zone(some.zone)), "/period")
    return period_at(some.review_period, read_zone(some.zone), at_us)


_QUARTERS: Final = {"Q1": "01", "Q2": "04", "Q3": "07", "Q4": "10"}


def _spans(versions: AgreementVersions) -> Iterator[Span]:
    for version in versions.values():
        if (span := version.in_force) is not None:
            yield span


def _touches(span: Span, period: Span) -> bool:
    return span.start_us < period.end_us and span.end_us > period.start_us
