"""Remedies worked out by hand: bands, rounding, caps, costs of lateness."""

from datetime import datetime
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect
from support.largest import bound, largest

from services.sla.domain.agreements.remedies import (
    Figures,
    Reviewed,
    attained,
    available,
    remedy,
    rounded,
)
from services.sla.domain.clocks.attainment import Attainment
from services.sla.domain.services.availability import Downtime, ServiceTime, failures_of, measure
from services.sla.domain.services.periods import Span, period_at
from shared.calendar import microseconds, round_the_clock
from shared.contracts.agreements import (
    AgreementPublished,
    AttainmentOf,
    AvailabilityOf,
    Band,
    Measure,
    SlaRemedyDue,
)
from shared.contracts.base import INTEGER_MAX
from shared.contracts.limits import excess

ROOT = Path(__file__).parents[3]
BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3_600_000_000
MARCH = period_at("month", BERLIN, microseconds(datetime(2026, 3, 15, tzinfo=BERLIN)))
REVIEWED = Reviewed(MARCH, MARCH.start_us)
SOLVED = Measure(
    name="solved in time",
    attainment=AttainmentOf(targets=("resolution",)),
    bands=(
        Band(below=0.95, credit_share=0.05),
        Band(below=0.9, credit_share=0.1),
        Band(below=0.8, credit_share=0.25),
    ),
    impact_cost_minor_per_hour=12_000,
)
MAIL = Measure(
    name="mail is up",
    availability=AvailabilityOf(service="mail"),
    bands=(Band(below=0.999, credit_share=0.05), Band(below=0.99, credit_share=0.15)),
)


def agreement(*measures: Measure, fee: int = 1_000_000, cap: float = 1.0) -> AgreementPublished:
    return AgreementPublished(
        agreement_id="acme-1",
        version=3,
        customer="acme",
        provider="desk",
        valid_from=datetime(2026, 1, 1, tzinfo=BERLIN),
        review_date="2026-12-01",
        review_period="month",
        zone="Europe/Berlin",
        currency="EUR",
        fee_minor=fee,
        measures=measures,
        credit_share_max=cap,
    )


def verdicts(met: int, n: int, late_hours: float = 0) -> Figures:
    return Figures("verdicts", n, met, round(late_hours * HOUR_US), "by hand")


@pytest.mark.parametrize(
    ("met", "n", "band", "credit"),
    [
        (100, 100, None, 0),
        (95, 100, None, 0),
        (949, 1000, 0.95, 50_000),
        (90, 100, 0.95, 50_000),
        (899, 1000, 0.9, 100_000),
        (80, 100, 0.9, 100_000),
        (79, 100, 0.8, 250_000),
        (0, 3, 0.8, 250_000),
        (0, 0, None, 0),
    ],
)
def test_the_lowest_band_that_the_share_is_below_counts(
    met: int, n: int, band: float | None, credit: int
) -> None:
    [line] = remedy(agreement(SOLVED), REVIEWED, [verdicts(met, n)]).lines
    assert (line.band_below, line.credit_minor) == (band, credit)
    assert line.share == (met / n if n else None)


@pytest.mark.parametrize(
    ("amount", "whole"),
    [("0", 0), ("0.4999", 0), ("0.5", 1), ("1.5", 2), ("2.5", 3), ("7/2", 4), ("3.4999", 3)],
)
def test_halves_are_rounded_up(amount: str, whole: int) -> None:
    assert rounded(Fraction(amount)) == whole


def test_a_credit_of_half_a_minor_unit_is_rounded_up_and_floats_do_not_blur_it() -> None:
    """0.05 of 1,010 is 50.5; of 1,130 it is 56.5, which floats make 56.50000000000001 or less."""
    for fee, credit in ((1_010, 51), (1_130, 57), (1_009, 50)):
        [line] = remedy(agreement(SOLVED, fee=fee), REVIEWED, [verdicts(94, 100)]).lines
        assert line.credit_minor == credit
    tenth = msgspec.structs.replace(SOLVED, bands=(Band(below=0.3, credit_share=0.29),))
    [line] = remedy(agreement(tenth, fee=50), REVIEWED, [verdicts(0, 1)]).lines
    assert line.credit_minor == 15


def test_the_sum_is_cut_at_the_cap() -> None:
    low = [verdicts(1, 10), Figures("microseconds", 100, 98, 2, "by hand")]
    due = remedy(agreement(SOLVED, MAIL), REVIEWED, low)
    assert due.total_minor == 400_000
    capped = remedy(agreement(SOLVED, MAIL, cap=0.3), REVIEWED, low)
    assert capped.total_minor == 300_000
    assert [line.credit_minor for line in capped.lines] == [250_000, 150_000]
    assert "Sum 400000; at most 0.3 × 1000000 = 300000; credit due 300000." in capped.computation


def test_lateness_costs_by_the_hour_for_information_only() -> None:
    due = remedy(agreement(SOLVED), REVIEWED, [verdicts(96, 100, late_hours=2.25)])
    [line] = due.lines
    assert (line.impact_hours, line.impact_cost_minor) == (2.25, 27_000)
    assert due.total_minor == 0
    plain = msgspec.structs.replace(SOLVED, impact_cost_minor_per_hour=None)
    [line] = remedy(agreement(plain), REVIEWED, [verdicts(96, 100, late_hours=1)]).lines
    assert (line.impact_hours, line.impact_cost_minor) == (1, None)


def row(target: str, source: str | None, met: int, judged: int, late: int) -> Attainment:
    return Attainment(
        target=target,
        kind="sla",
        source_system=source,
        key={},
        judged=judged,
        met=met,
        missed=judged - met,
        share=met / judged,
        late_seconds=late,
    )


def test_verdicts_of_several_targets_and_judges_add_up() -> None:
    found = attained([row("response", None, 8, 10, 60), row("resolution", "old desk", 5, 5, 0)])
    assert (found.n, found.met, found.impact_us) == (15, 13, 60_000_000)
    assert found.origin == (
        "verdicts met: 8 of 10 on response, 5 of 5 on resolution (judged by old desk)"
    )
    assert attained([]).origin == "verdicts met: none fell"


def test_a_month_as_the_documentation_has_it() -> None:
    """March has 743 hours in Berlin; mail was down for 3 of them."""
    start_us = MARCH.start_us + 100 * HOUR_US
    failures = failures_of([Downtime(start_us, start_us + 3 * HOUR_US)], MARCH.end_us)
    always = ServiceTime("24x7", round_the_clock(), 0.999)
    mail = available("mail", measure(MARCH, always, failures, [], MARCH.end_us))
    kept = attained([row("resolution", None, 188, 200, 113_400)])
    due = remedy(agreement(SOLVED, MAIL, cap=0.12), REVIEWED, [kept, mail])
    solved, up = due.lines
    assert (solved.share, solved.band_below, solved.credit_minor) == (0.94, 0.95, 50_000)
    assert (solved.impact_hours, solved.impact_cost_minor) == (31.5, 378_000)
    assert up.share == pytest.approx(740 / 743)
    assert (up.band_below, up.credit_minor, up.impact_hours) == (0.999, 50_000, 3)
    assert due.total_minor == 100_000
    written = (ROOT / "docs" / "agreements.md").read_text()
    assert "".join(f"    {sentence}\n" for sentence in due.computation) in written
    assert due.computation[-1] == (
        "Sum 100000; at most 0.12 × 1000000 = 120000; credit due 100000."
    )


@given(
    met=st.integers(0, 1000),
    missed=st.integers(0, 1000),
    fee=st.integers(0, 10**12),
    cap=st.floats(0, 1),
)
def test_a_remedy_is_never_more_than_the_cap_and_never_less_for_worse(
    met: int, missed: int, fee: int, cap: float
) -> None:
    terms = agreement(SOLVED, fee=fee, cap=cap)
    due = remedy(terms, REVIEWED, [verdicts(met, met + missed)])
    worse = remedy(terms, REVIEWED, [verdicts(met, met + missed + 1)])
    assert 0 <= due.total_minor <= rounded(Fraction(str(cap)) * fee)
    assert worse.total_minor >= due.total_minor
    assert due.total_minor <= sum(line.credit_minor for line in due.lines)


def test_a_partial_period_names_what_was_measured() -> None:
    since = Reviewed(MARCH, MARCH.start_us + 24 * HOUR_US)
    due = remedy(agreement(SOLVED), since, [verdicts(1, 1)])
    assert since.measured == Span(MARCH.start_us + 24 * HOUR_US, MARCH.end_us)
    assert due.measured_from > due.period_start
    assert due.computation[0].endswith(
        "measured from 2026-03-01T23:00:00Z up to 2026-03-31T22:00:00Z."
    )


def largest_agreement() -> AgreementPublished:
    shape = inspect.type_info(AgreementPublished)
    return msgspec.convert(largest(shape, bound(shape)), AgreementPublished, strict=False)


MANY = agreement(*[msgspec.structs.replace(SOLVED, name="𝄞" * 200)] * 100)


@pytest.mark.parametrize("signed", [largest_agreement(), MANY], ids=["largest", "most measures"])
def test_every_agreement_can_be_reviewed_however_much_there_is_to_tell(
    signed: AgreementPublished,
) -> None:
    verdict = Attainment(
        target="t" * 200,
        kind="sla",
        source_system="s" * 200,
        key={},
        judged=10**9,
        met=1,
        missed=10**9 - 1,
        share=1e-9,
        late_seconds=10**9,
    )
    figures = [attained([verdict] * 50) for _ in signed.measures]
    told = remedy(signed, REVIEWED, figures)
    assert excess(told) is None
    costs = {line.impact_cost_minor or 0 for line in told.lines}
    assert 0 < max(costs) <= INTEGER_MAX
    assert told.computation[-1].startswith("Sum ")
    is_cut = told.computation[-2].endswith("sentences are left out: there is no more room.")
    assert is_cut == (len(signed.measures) == len(MANY.measures))
    json = msgspec.json.encode(told)
    assert msgspec.json.decode(json, type=SlaRemedyDue) == told
