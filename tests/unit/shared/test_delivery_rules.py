from datetime import UTC, datetime, timedelta

import pytest

from shared.deliveries.rules import (
    ATTEMPTS_MAX,
    GIVE_UP_AFTER,
    RETRY_AFTER_MAX,
    Answer,
    Verdict,
    rest_after,
    retry_after,
    state_after,
    wait_after,
)

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
YOUNG, OLD = timedelta(minutes=1), GIVE_UP_AFTER


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.ARRIVED),
        (204, Verdict.ARRIVED),
        (301, Verdict.REFUSED),
        (400, Verdict.REFUSED),
        (404, Verdict.REFUSED),
        (408, Verdict.FAILED),
        (410, Verdict.GONE),
        (425, Verdict.FAILED),
        (429, Verdict.FAILED),
        (500, Verdict.FAILED),
        (503, Verdict.FAILED),
        (None, Verdict.FAILED),
    ],
)
def test_what_an_answer_says(status: int | None, verdict: Verdict) -> None:
    assert Answer(status, 0.1).verdict is verdict


@pytest.mark.parametrize(
    ("verdict", "attempts", "age", "state"),
    [
        (Verdict.ARRIVED, 1, YOUNG, "sent"),
        (Verdict.ARRIVED, 99, OLD, "sent"),
        (Verdict.GONE, 1, YOUNG, "dead"),
        (Verdict.REFUSED, 1, YOUNG, "pending"),
        (Verdict.REFUSED, ATTEMPTS_MAX, YOUNG, "dead"),
        (Verdict.REFUSED, 1, OLD, "dead"),
        (Verdict.FAILED, 1, YOUNG, "pending"),
        (Verdict.FAILED, 99, YOUNG, "pending"),
        (Verdict.FAILED, 1, OLD, "dead"),
    ],
)
def test_what_becomes_of_a_delivery(
    verdict: Verdict, attempts: int, age: timedelta, state: str
) -> None:
    assert state_after(verdict, attempts, age) == state


def test_waits_grow_to_a_bound_and_are_spread_by_chance() -> None:
    assert [wait_after(n, 0).total_seconds() for n in (1, 2, 3, 30)] == [2, 4, 8, 3_600]
    assert [rest_after(n, 0).total_seconds() for n in (0, 1, 2, 3, 30)] == [0, 0, 2, 4, 300]
    assert wait_after(3, 0.5).total_seconds() == 6
    assert rest_after(3, 0.5).total_seconds() == 3


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        (None, None),
        ("7", timedelta(seconds=7)),
        ("Mon, 05 Jan 2026 09:02:00 GMT", timedelta(minutes=2)),
        ("Mon, 05 Jan 2026 08:00:00 GMT", timedelta()),
        ("99999999999999999999", RETRY_AFTER_MAX),
        ("Mon, 05 Jan 2099 09:02:00 GMT", RETRY_AFTER_MAX),
        ("-1", None),
        ("soon", None),
        ("Mon, 05 Jan 2026 09:02:00 +99999999999999", None),
        ("²", None),
    ],
)
def test_how_long_a_receiver_asks_to_wait(value: str | None, wait: timedelta | None) -> None:
    assert retry_after(value, NOW) == wait
