"""What a period's measures are worth. Pure; money in integers of the minor unit, exact shares."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Final, Literal, NamedTuple

import msgspec

from services.sla.domain.clocks.attainment import Attainment
from services.sla.domain.services.availability import MeasuredAvailability
from services.sla.domain.services.periods import Span
from shared.calendar import SECOND_US, instant
from shared.contracts.agreements import (
    COMPUTATION_BYTES_MAX,
    SENTENCE_MAX,
    AgreementPublished,
    Band,
    Measure,
    RemedyLine,
    SlaRemedyDue,
)
from shared.contracts.base import INTEGER_MAX

_RESERVE_BYTES: Final = 100  # for the brackets, and the sentence about those left out
_HOUR_US: Final = 3_600 * SECOND_US


class Figures(NamedTuple):
    """What was measured: `met` of `n`, lateness or down time, and where the numbers are from."""

    unit: Literal["verdicts", "microseconds"]
    n: int
    met: int
    impact_us: int
    origin: str


class Reviewed(NamedTuple):
    """A period, and since when the agreement was in force in it."""

    period: Span
    measured_from_us: int

    @property
    def measured(self) -> Span:
        """The time that is measured."""
        return Span(self.measured_from_us, self.period.end_us)


def attained(verdicts: Sequence[Attainment]) -> Figures:
    """Return the figures of verdicts on some targets, whoever judged."""
    parts = [
        f"{one.met} of {one.judged} on {one.target}"
        + (f" (judged by {one.source_system})" if one.source_system else "")
        for one in verdicts
    ]
    return Figures(
        "verdicts",
        sum(one.judged for one in verdicts),
        sum(one.met for one in verdicts),
        sum(one.late_seconds for one in verdicts) * SECOND_US,
        f"verdicts met: {', '.join(parts) or 'none fell'}",
    )


def available(service: str, found: MeasuredAvailability) -> Figures:
    """Return the figures of a service's availability."""
    agreed, down = _seconds(found.agreed_us), _seconds(found.down_us)
    return Figures(
        "microseconds",
        found.agreed_us,
        found.up_us,
        found.down_us,
        f"{service}: {agreed} s of agreed service time ({found.calendar_id}), {down} s down",
    )


def remedy(
    agreement: AgreementPublished, reviewed: Reviewed, figures: Sequence[Figures]
) -> SlaRemedyDue:
    """Return what is due for a period, as its first revision; one of `figures` per measure.

    Of a measure's bands the lowest that its exact share is below counts; it is worth its share of
    the fee. Amounts are rounded to the minor unit, halves up; their sum is cut at the cap.
    """
    pairs = list(zip(agreement.measures, figures, strict=True))
    lines = tuple(_line(agreement.fee_minor, measure, found) for measure, found in pairs)
    sum_minor = sum(line.credit_minor for line in lines)
    cap_minor = rounded(_exact(agreement.credit_share_max) * agreement.fee_minor)
    total_minor = min(sum_minor, cap_minor)
    computation = [
        f"Version {agreement.version}, fee {agreement.fee_minor} {agreement.currency} in minor"
        f" units; measured from {_at(reviewed.measured_from_us)} up to"
        f" {_at(reviewed.period.end_us)}.",
        *(
            sentence
            for (measure, found), line in zip(pairs, lines, strict=True)
            for sentence in _sentences(agreement.fee_minor, measure, found, line)
        ),
        f"Sum {sum_minor}; at most {agreement.credit_share_max} × {agreement.fee_minor}"
        f" = {cap_minor}; {agreement.kind} due {total_minor}.",
    ]
    return SlaRemedyDue(
        agreement_id=agreement.agreement_id,
        version=agreement.version,
        period_start=instant(reviewed.period.start_us),
        period_end=instant(reviewed.period.end_us),
        measured_from=instant(reviewed.measured_from_us),
        revision=1,
        kind=agreement.kind,
        lines=lines,
        fee_minor=agreement.fee_minor,
        credit_share_max=agreement.credit_share_max,
        total_minor=total_minor,
        currency=agreement.currency,
        computation=_as_told(computation),
    )


def _as_told(sentences: Sequence[str]) -> tuple[str, ...]:
    """Return sentences as far as an event has room for them; the last, the sum, is always told."""
    *most, last = [
        one if len(one) <= SENTENCE_MAX else f"{one[: SENTENCE_MAX - 2]} …" for one in sentences
    ]
    room = COMPUTATION_BYTES_MAX - _RESERVE_BYTES - len(msgspec.json.encode(last))
    told: list[str] = []
    for sentence in most:
        room -= len(msgspec.json.encode(sentence)) + len(",")
        if room < 0:
            told.append(f"{len(most) - len(told)} sentences are left out: there is no more room.")
            break
        told.append(sentence)
    return *told, last


def rounded(amount: Fraction) -> int:
    """Return an amount that is not negative as a whole number, halves up."""
    return int(amount + Fraction(1, 2))


def _line(fee_minor: int, measure: Measure, found: Figures) -> RemedyLine:
    band = _band(measure.bands, found)
    credit_share = 0.0 if band is None else band.credit_share
    rate = measure.impact_cost_minor_per_hour
    return RemedyLine(
        measure=measure.name,
        unit=found.unit,
        n=found.n,
        met=found.met,
        share=found.met / found.n if found.n else None,
        band_below=None if band is None else band.below,
        credit_share=credit_share,
        credit_minor=rounded(_exact(credit_share) * fee_minor),
        impact_hours=found.impact_us / _HOUR_US,
        impact_cost_minor=(
            None
            if rate is None
            else min(rounded(Fraction(found.impact_us * rate, _HOUR_US)), INTEGER_MAX)
        ),
    )


def _band(bands: Iterable[Band], found: Figures) -> Band | None:
    """Return the lowest band that the share is below; bands fall."""
    if not found.n:
        return None
    share = Fraction(found.met, found.n)
    return next((band for band in reversed(list(bands)) if share < _exact(band.below)), None)


def _sentences(fee_minor: int, measure: Measure, found: Figures, line: RemedyLine) -> Iterator[str]:
    yield f"{measure.name}: {found.origin}."
    if line.share is None:
        yield f"{measure.name}: nothing to measure, nothing due."
    elif line.band_below is None:
        highest = measure.bands[0].below
        yield f"{measure.name}: {line.met} / {line.n} is not below {highest}, nothing due."
    else:
        yield (
            f"{measure.name}: {line.met} / {line.n} is below {line.band_below}:"
            f" {line.credit_share} × {fee_minor} = {line.credit_minor}."
        )
    if line.impact_cost_minor is not None:
        yield (
            f"{measure.name}: impact {_seconds(found.impact_us)} s / 3600 ×"
            f" {measure.impact_cost_minor_per_hour} = {line.impact_cost_minor}, for information."
        )


def _exact(share: float) -> Fraction:
    """Return a share as it is written: 0.1 is a tenth."""
    return Fraction(str(share))


def _seconds(time_us: int) -> str:
    whole, rest = divmod(time_us, SECOND_US)
    return f"{whole}.{rest:06}".rstrip("0") if rest else str(whole)


def _at(at_us: int) -> str:
    return instant(at_us).isoformat().replace("+00:00", "Z")
