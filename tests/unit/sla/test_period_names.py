"""How commands write a period."""

from zoneinfo import ZoneInfo

import pytest

from services.sla.cli.periods import period_name


@pytest.mark.parametrize(
    ("start", "end", "zone", "name"),
    [
        ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", "UTC", "2026-10"),
        ("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", "Europe/Berlin", "2026-10"),
        ("2026-09-30T22:00:00Z", "2026-12-31T23:00:00Z", "Europe/Berlin", "2026-Q4"),
        ("2025-12-31T23:00:00Z", "2026-03-31T22:00:00Z", "Europe/Berlin", "2026-Q1"),
        ("2025-12-31T16:00:00Z", "2026-12-31T16:00:00Z", "Asia/Shanghai", "2026"),
        (
            "2026-09-30T22:00:00Z",
            "2026-10-14T22:00:00Z",
            "Europe/Berlin",
            "2026-10-01 to 2026-10-15",
        ),
        (
            *("2026-09-30T22:00:00Z", "2026-10-21T07:15:09.123456Z", "Europe/Berlin"),
            "2026-10-01 to 2026-10-21 09:15",
        ),
        ("2026-10-01T00:00:00Z", "2026-12-01T00:00:00Z", "UTC", "2026-10-01 to 2026-12-01"),
    ],
)
def test_a_whole_period_has_its_name_and_any_other_its_days_in_the_zone(
    start: str, end: str, zone: str, name: str
) -> None:
    assert period_name(start, end, ZoneInfo(zone)) == name
