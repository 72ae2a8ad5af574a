"""What `from` and `to` may be."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from shared.errors import InvalidInputError
from shared.http.period import period_of

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-07-01", "2026-06-30T22:00:00Z"),
        ("2026-01-01", "2025-12-31T23:00:00Z"),
        ("2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z"),
        ("2026-07-01T00:00:00+08:00", "2026-06-30T16:00:00Z"),
    ],
)
def test_a_date_is_its_midnight_in_the_zone_and_an_instant_is_itself(
    text: str, instant: str
) -> None:
    assert period_of(text, None, BERLIN) == (datetime.fromisoformat(instant), None)
    start, end = period_of(None, text, BERLIN)
    assert (start, end) == (None, datetime.fromisoformat(instant))
    assert end is not None
    assert end.tzinfo is UTC


@pytest.mark.parametrize(
    ("start", "end", "field", "said"),
    [
        ("2026-02-30", None, "from", "neither a date such as 2026-01-31 nor an instant"),
        ("2026-2-3", None, "from", "neither a date"),
        ("", None, "from", "neither a date"),
        (None, "yesterday", "to", "'yesterday' is neither a date"),
        ("2026-02-20T10:00:00", None, "from", "needs an offset, such as Z"),
        ("0001-01-01", None, "from", "neither a date"),
        ("2026-02-02", "2026-02-02", "to", "to must be after from"),
        ("2026-02-02", "2026-02-01T22:00:00Z", "to", "to must be after from"),
    ],
)
def test_a_period_that_cannot_be_is_refused_by_the_parameters_name(
    start: str | None, end: str | None, field: str, said: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        period_of(start, end, BERLIN)
    assert refused.value.field == field
    assert said in refused.value.detail
