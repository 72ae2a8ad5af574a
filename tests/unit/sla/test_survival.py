"""Survival curves and how they are judged."""

import pytest

from services.sla.domain.outlook.survival import (
    SAMPLE_MIN,
    SEEN_MIN,
    Curve,
    Curves,
    Lifetime,
    calibration,
)


def test_a_curve_falls_by_what_ended_among_what_still_ran() -> None:
    curve = Curve([(1, True), (2, False), (3, True), (4, True)])
    assert [curve.running_after(t) for t in (0, 1, 2, 3, 4)] == pytest.approx(
        [1, 0.75, 0.75, 0.375, 0]
    )


def test_the_longer_it_runs_the_likelier_the_breach() -> None:
    curve = Curve([(n, True) for n in range(1, 101)])
    chances = [curve.breach_probability(elapsed, 50) for elapsed in range(51)]
    assert chances == sorted(chances)
    assert chances[0] == pytest.approx(0.5)
    assert chances[50] == 1


def test_what_outlived_almost_all_others_has_no_chance_that_is_known() -> None:
    curve = Curve([(n, True) for n in range(1, 101)])
    assert curve.breach_probability(100 - SEEN_MIN + 1, 200) == 0
    assert curve.breach_probability(100 - SEEN_MIN + 2, 200) is None
    assert curve.breach_probability(200, 200) == 1


def test_a_small_past_falls_back_to_a_coarser_curve() -> None:
    many = [
        Lifetime("resolution", "P1", "net", float(n), has_ended=True) for n in range(SAMPLE_MIN)
    ]
    few = [Lifetime("resolution", "P1", "mail", 1.0, has_ended=True)]
    curves = Curves([*many, *few])
    fine, coarse = curves.of("resolution", "P1", "net"), curves.of("resolution", "P1", "mail")
    assert fine is not None
    assert coarse is not None
    assert (fine.size, coarse.size) == (SAMPLE_MIN, SAMPLE_MIN + 1)
    assert curves.of("response", "P1", "net") is None


def test_calibration_counts_what_came_true() -> None:
    found = calibration(
        [(0.05, False), (0.95, True), (0.95, False), (1.0, True)], learnt_from=10, tested_on=4
    )
    assert found.predictions == 4
    assert (found.bins[0].n, found.bins[0].breached_share) == (1, 0)
    assert (found.bins[9].n, found.bins[9].breached_share) == (3, pytest.approx(2 / 3))
    assert found.brier == pytest.approx((0.05**2 + 0.05**2 + 0.95**2 + 0) / 4)
    assert found.brier_base_rate == pytest.approx(0.25)
