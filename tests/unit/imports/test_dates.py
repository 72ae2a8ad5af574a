"""Dates of an import: one order for the whole file, proved or told, never guessed."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from services.imports.dates import Evidence, read_instant, read_order
from shared.errors import InvalidInputError

NOW = datetime(2026, 11, 28, tzinfo=UTC)
THIRD = datetime(2025, 3, 3, 9, 30, tzinfo=UTC)


def evidence(texts: Sequence[str], told: str | None = None) -> Evidence:
    found = Evidence(NOW, None if told is None else read_order(told))
    for line, text in enumerate(texts, start=2):
        found.note(line, "opened_at", text)
    return found


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["3/4/2025 09:00", "13/4/2025 09:00"], "day-first"),
        (["3/4/2025 09:00", "3/28/2025 09:00"], "month-first"),
        (["3/28/2025", "3/4/2025"], "month-first"),
        (["03.04.2025 09:00", "28.03.2025 09:00"], "day-first"),
        (["3/4/25 9:00", "3/28/25 9:00"], "month-first"),
        (["3/4/25 9:00", "28/3/25 9:00"], "day-first"),  # 2028 has not passed
        (["3/3/2025 09:00", "4/4/2025 09:00"], "day-first"),  # the same in either order
        (["2025-03-04 09:00:00"], "day-first"),
        (["3/4/2025", "yesterday", "?", "31/31/2025", "13/4/2025"], "day-first"),
    ],
)
def test_a_day_over_twelve_proves_the_order(texts: list[str], order: str) -> None:
    assert evidence(texts).order() == order


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["3/3/2025", "3/4/2025"], r"line 3: opened_at '3/4/2025' may be day-first or month-first"),
        (["25/03/04"], "day-first or year-first"),
    ],
)
def test_what_nothing_proves_is_asked_for(texts: list[str], said: str) -> None:
    with pytest.raises(InvalidInputError, match=said) as refused:
        evidence(texts).order()
    assert "--dates day-first" in refused.value.detail


@pytest.mark.parametrize(
    "texts", [["3/28/2025", "28/3/2025"], ["28.3.2025", "3/3/2025", "3/13/25"]]
)
def test_one_contradiction_stops_the_file(texts: list[str]) -> None:
    with pytest.raises(InvalidInputError, match=r"line \d: .* contradicts line 2: opened_at"):
        evidence(texts)


def test_what_was_told_stands_unless_a_date_contradicts_it() -> None:
    assert evidence(["3/4/2025"], "mdy").order() == "month-first"
    assert evidence(["25/03/04"], "ymd").order() == "year-first"
    with pytest.raises(InvalidInputError, match="line 3: opened_at '13/4/2025' is not month-first"):
        evidence(["3/4/2025", "13/4/2025"], "mdy")


@pytest.mark.parametrize(
    ("text", "order"),
    [
        *((text, "day-first") for text in ("day-first", "dmy", "d/m/y", "dd.MM.yyyy HH:mm")),
        *((text, "month-first") for text in ("Month-First", "MDY", "MM/dd/yyyy")),
        *((text, "year-first") for text in ("ymd", "yyyy-MM-dd")),
    ],
)
def test_an_order_has_several_names(text: str, order: str) -> None:
    assert read_order(text) == order


def test_an_order_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="write day-first, month-first, year-first"):
        read_order("european")


@pytest.mark.parametrize(
    "text",
    [
        *("3/3/2025 09:30", "03.03.2025 9:30", "03-03-2025 09:30:00", "3/3/25 9:30 AM"),
        *("2025-03-03 09:30:00", "2025-03-03T09:30:00Z", "2025-03-03T17:30:00+08:00"),
        *("2025/3/3 9:30", "2025年3月3日 9:30", "3-Mar-2025 9:30", "Mar 3, 2025 09:30"),
        *("3 March 2025 09:30", "2025-03-03 09:30:00.0", "03.03.2025, 09:30"),
        *("45719.3958333333", "45719,3958333333"),  # days since 1899, as a cell without a format
    ],
)
def test_every_form_of_a_spreadsheet_is_read(text: str) -> None:
    assert read_instant(text, "day-first") == THIRD


def test_noon_and_midnight_of_twelve_hours() -> None:
    assert read_instant("3/3/2025 12:30 AM", "day-first").hour == 0
    assert read_instant("3/3/2025 12:30 p.m.", "day-first").hour == 12


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "31/2/2025 09:00", "3/3/2025 24:00", "3/3/2025 13:00 PM", "3/3"),
        *("3/3-2025", "3/3/0025", "2025-13-01", "3-Foo-2025", "20250303", "99999.5"),
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="is no date and time"):
        read_instant(text, "day-first")
