from datetime import UTC, datetime, timedelta

import pytest

from shared.deliveries.rules import (
    ATTEMPTS_MAX,
    GIVE_UP_AFTER,
    RETRY_AFTER_MAX,
    DeliveryVerdict,
    ReceiverAnswer,
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
        (200, DeliveryVerdict.ARRIVED),
        (204, DeliveryVerdict.ARRIVED),
        (301, DeliveryVerdict.REFUSED),
        (400, DeliveryVerdict.REFUSED),
        (404, DeliveryVerdict.REFUSED),
        (408, DeliveryVerdict.FAILED),
        (410, DeliveryVerdict.GONE),
        (425, DeliveryVerdict.FAILED),
        (429, DeliveryVerdict.FAILED),
        (500, DeliveryVerdict.FAILED),
        (503, DeliveryVerdict.FAILED),
        (None, DeliveryVerdict.FAILED),
    ],
)
def test_what_an_answer_says(status: int | None, verdict: DeliveryVerdict) -> None:
    assert ReceiverAnswer(status, 0.1).verdict is verdict


@pytest.mark.parametrize(
    ("verdict", "attempts", "age", "state"),
    [
        (DeliveryVerdict.ARRIVED, 1, YOUNG, "sent"),
        (DeliveryVerdict.ARRIVED, 99, OLD, "sent"),
        (DeliveryVerdict.GONE, 1, YOUNG, "dead"),
        (DeliveryVerdict.REFUSED, 1, YOUNG, "pending"),
        (DeliveryVerdict.REFUSED, ATTEMPTS_MAX, YOUNG, "dead"),
        (DeliveryVerdict.REFUSED, 1, OLD, "dead"),
        (DeliveryVerdict.FAILED, 1, YOUNG, "pending"),
        (DeliveryVerdict.FAILED, 99, YOUNG, "pending"),
        (DeliveryVerdict.FAILED, 1, OLD, "dead"),
    ],
)
def test_what_becomes_of_a_delivery(
    verdict: DeliveryVerdict, attempts: int, age: timedelta, state: str
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
