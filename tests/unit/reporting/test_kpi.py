import csv
import gzip
import math
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from support.kpi_rollups import reported

from services.reporting.domain.kpi import Period
from services.reporting.domain.reading import Reading, ReportQuestion
from services.reporting.domain.tally import TicketRow
from services.reporting.domain.times import Times, percentiles
from shared.calendar import WorkingCalendar, microseconds

INCIDENTS = Path(__file__).parents[4] / "shared/data/uci-incident-498/incident_event_log.csv.gz"
BERLIN = ZoneInfo("Europe/Berlin")
JANUARY = datetime(2026, 1, 10, 9, tzinfo=UTC)
SATURDAYS = WorkingCalendar(zone="UTC", weekly={"sat": (("09:00", "10:30"),)})
EVER = Period(None, None)
NOTHING = {"n": 0, "mean": None, "median": None, "p90": None, "p95": None}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def row(created_at: datetime = JANUARY, **more: Any) -> TicketRow:
    """A ticket; instants are given as `resolved_at` and so on."""
    known = {
        f"{name[:-3]}_us" if name.endswith("_at") else name: microseconds(value)
        if name.endswith("_at")
        else value
        for name, value in more.items()
    }
    return TicketRow(microseconds(created_at), **known)


def solved_after(*hours: float, **more: Any) -> list[TicketRow]:
    return [row(resolved_at=JANUARY + timedelta(hours=count), **more) for count in hours]


def told(
    *rows: TicketRow,
    start: datetime | None = None,
    end: datetime | None = None,
    by: Any = None,
    zone: str = "Europe/Berlin",
) -> Any:
    """The report as its JSON reads."""
    question = ReportQuestion(Period(start, end), by, ZoneInfo(zone), SATURDAYS)
    return reported(rows, question)


def test_no_tickets_give_nulls_where_nothing_was_counted() -> None:
    assert told(by="priority") == {
        "period": {"from": None, "to": None},
        "percentiles": {"method": "exact", "type": 7, "relative_error_max": 0},
        "overall": {
            "tickets": 0,
            "cancelled": 0,
            "merged": 0,
            "ttr_hours": NOTHING,
            "ttr_working_hours": NOTHING,
            "ttc_hours": NOTHING,
            "art_hours": NOTHING,
            "fcr": {"n": 0, "share": None, "share_reopen_ignored": None},
            "sla": {"judged": 0, "made": 0, "share": None},
            "reopened": 0,
            "reassignments": {"mean": None, "none": 0},
            "csat": {"n": 0, "mean": None, "share_satisfied": None},
        },
        "groups": [],
        "flow": [],
    }


def test_percentiles_interpolate_between_neighbours() -> None:
    """Ranks of 1, 2, 4, 8, 20 hours: 0.9 × 4 = 3.6 and 0.95 × 4 = 3.8, both between 8 and 20."""
    ttr = told(*solved_after(8, 1, 20, 4, 2))["overall"]["ttr_hours"]
    assert (ttr["n"], ttr["mean"], ttr["median"]) == (5, 7, 4)
    assert (ttr["p90"], ttr["p95"]) == (pytest.approx(15.2), pytest.approx(17.6))


@pytest.mark.parametrize("count", [2, 3, 10, 21, 100])
def test_percentiles_agree_with_the_standard_library(count: int) -> None:
    values = [math.isqrt(place * 7919 % 104 * 10**12) for place in range(count)]
    cuts = statistics.quantiles(values, n=20, method="inclusive")
    expected = [statistics.median(values), cuts[17], cuts[18]]
    assert percentiles(np.array(values)) == pytest.approx(expected, rel=1e-12)


def test_one_value_is_its_own_mean_and_percentiles() -> None:
    assert told(*solved_after(3))["overall"]["ttr_hours"] == {
        "n": 1,
        "mean": 3,
        "median": 3,
        "p90": 3,
        "p95": 3,
    }


def test_the_four_times_are_measured_from_creation() -> None:
    overall = told(
        row(
            first_reply_at=JANUARY + timedelta(minutes=15),
            resolved_at=JANUARY + timedelta(hours=2),
            closed_at=JANUARY + timedelta(hours=50),
        ),
        row(),
    )["overall"]
    names = ("art_hours", "ttr_hours", "ttc_hours", "ttr_working_hours")
    assert [overall[name]["n"] for name in names] == [1, 1, 1, 1]
    assert [overall[name]["mean"] for name in names] == [0.25, 2, 50, 1.5]
    assert overall["tickets"] == 2


def test_a_ticket_reopened_and_not_solved_again_has_no_time_to_resolve() -> None:
    overall = told(row(reopen_count=2))["overall"]
    assert (overall["ttr_hours"], overall["ttr_working_hours"]) == (NOTHING, NOTHING)
    assert overall["reopened"] == 1, "tickets are counted, not reopenings"


def test_first_contact_resolution_is_a_share_of_the_closed_tickets() -> None:
    closed_at = JANUARY + timedelta(days=1)
    overall = told(
        row(closed_at=closed_at),
        row(closed_at=closed_at, reopen_count=1),
        row(closed_at=closed_at, reassignment_count=3),
        row(closed_at=closed_at, reassignment_count=1, reopen_count=1),
        row(),
    )["overall"]
    assert overall["fcr"] == {"n": 4, "share": 0.25, "share_reopen_ignored": 0.5}
    assert overall["reassignments"] == {"mean": 0.8, "none": 3}


def test_sla_made_is_a_share_of_the_judged() -> None:
    rows = [row(sla_verdict=verdict) for verdict in ("met", "missed", "met", "met", None)]
    assert told(*rows)["overall"]["sla"] == {"judged": 4, "made": 3, "share": 0.75}


def test_satisfied_means_four_or_five() -> None:
    rows = [row(csat_score=score) for score in (1, 3, 4, 5, None)]
    assert told(*rows)["overall"]["csat"] == {"n": 4, "mean": 3.25, "share_satisfied": 0.5}


def test_the_period_holds_its_start_and_not_its_end() -> None:
    start, end = at("2026-01-01T00:00:00Z"), at("2026-02-01T00:00:00Z")
    rows = [row(start), row(end - timedelta(microseconds=1)), row(end)]
    rows.append(row(start - timedelta(microseconds=1)))
    seen = told(*rows, start=start, end=end)
    assert seen["overall"]["tickets"] == 2
    assert seen["period"] == {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
    assert told(*rows, start=start)["overall"]["tickets"] == 3
    assert told(*rows, end=end)["overall"]["tickets"] == 3


@pytest.mark.parametrize("by", ["priority", "group", "category"])
def test_groups_are_sorted_and_tickets_without_the_key_come_last(by: str) -> None:
    values = ("b", None, "a", "b")
    rows = [
        row(resolved_at=JANUARY + timedelta(hours=place), **{by: value})
        for place, value in enumerate(values, 1)
    ]
    seen = told(*rows, by=by)
    assert [group["key"] for group in seen["groups"]] == ["a", "b", None]
    assert [group["ttr_hours"]["mean"] for group in seen["groups"]] == [3, 2.5, 2]
    assert seen["overall"]["ttr_hours"]["mean"] == 2.5
    assert seen["groups"][0].keys() == {"key", *seen["overall"]}


def test_months_are_those_of_the_zone() -> None:
    rows = [row(at("2026-01-31T22:59:59Z")), row(at("2026-01-31T23:00:00Z"))]
    months = [group["key"] for group in told(*rows, by="month")["groups"]]
    assert months == ["2026-01", "2026-02"]
    assert [group["key"] for group in told(*rows, by="month", zone="UTC")["groups"]] == ["2026-01"]


def test_without_a_key_there_are_no_groups() -> None:
    assert told(row())["groups"] == []


def test_a_merged_ticket_is_told_apart_in_every_count() -> None:
    """It counts as created and merged, and its broken promise stands; no more."""
    later = JANUARY + timedelta(hours=2)
    lived = {"resolved_at": later, "first_reply_at": later, "sla_verdict": "missed"}
    survivor = row(closed_at=later, **lived)
    merged = row(
        merged_at=JANUARY + timedelta(hours=1),
        reassignment_count=4,
        reopen_count=1,
        csat_score=1,
        **lived,
    )
    cancelled = row(cancelled_at=later)
    seen, alone = told(survivor, merged, cancelled), told(survivor, cancelled)
    figures, without = seen["overall"], alone["overall"]
    assert (figures["tickets"], figures["cancelled"], figures["merged"]) == (3, 1, 1)
    assert figures["sla"] == {"judged": 2, "made": 0, "share": 0}
    told_apart = {"tickets", "merged", "sla"}
    assert {n: v for n, v in figures.items() if n not in told_apart} == {
        n: v for n, v in without.items() if n not in told_apart
    }
    assert [tuple(month.values()) for month in seen["flow"]] == [("2026-01", 3, 1, 1, 1, 1, 0)]


@pytest.mark.parametrize(
    "values",
    [
        [0],
        [-5, 7, 7, 7],
        [1, 70_000],
        [3, 5_000_000_000],
        [0, 2**62],
        [-(2**62), 2**61],
        list(range(0, 2_000, 3)),
        [*range(0, 2_000, 3), 2**40, 2**41],
    ],
)
def test_every_duration_is_kept_to_the_microsecond(values: list[int]) -> None:
    times = Times()
    for value in reversed(values):
        times.add(value)
    packed = times.packed()
    again = Times()
    again.take_packed(packed)
    assert again.packed() == packed
    assert again.distribution() == times.distribution()
    assert again.distribution().median == pytest.approx(statistics.median(values) / 3.6e9)


def test_parts_of_every_width_add_up_to_all_of_their_durations() -> None:
    parts = [[7], [-5, 9, 2**40], [1, 70_000], [], list(range(0, 900, 3)), [2**40, *range(500)]]
    together, one_by_one = Times(), Times()
    for values in parts:
        part = Times()
        for value in values:
            part.add(value)
            one_by_one.add(value)
        together.take_packed(part.packed())
    together.add(3)
    one_by_one.add(3)
    assert together.packed() == one_by_one.packed()
    assert together.distribution() == one_by_one.distribution()


def test_a_gap_of_months_costs_itself_alone() -> None:
    times = Times()
    for value in [*range(1_000), 2**50]:
        times.add(value)
    packed = times.packed()
    assert (packed.width, packed.wide) == (-2, ((1_000, 2**50 - 999),))


@pytest.mark.realdata
@pytest.mark.skipif(not INCIDENTS.exists(), reason="the incident log is not here")
def test_percentiles_of_twenty_thousand_incidents_are_an_auditors_own() -> None:
    with gzip.open(INCIDENTS, "rt") as file:
        last = {record["number"]: record for record in csv.DictReader(file)}
    spent: dict[str, list[timedelta]] = {}
    rows: list[TicketRow] = []
    for record in last.values():
        opened, resolved = (
            None
            if record[name] == "?"
            else datetime.strptime(f"{record[name]} +0000", "%d/%m/%Y %H:%M %z")
            for name in ("opened_at", "resolved_at")
        )
        if opened is not None and resolved is not None:
            spent.setdefault(record["priority"], []).append(resolved - opened)
            rows.append(row(opened, resolved_at=resolved, priority=record["priority"]))
    groups = told(*rows, by="priority")["groups"]
    for group in groups:
        hours = sorted(one / timedelta(hours=1) for one in spent[group["key"]])
        cuts = statistics.quantiles(hours, n=20, method="inclusive")
        found = [group["ttr_hours"][name] for name in ("median", "p90", "p95")]
        assert found == pytest.approx([statistics.median(hours), cuts[17], cuts[18]], rel=1e-12)
    of_low = next(group for group in groups if group["key"].startswith("4"))
    assert of_low["ttr_hours"]["median"] == pytest.approx(5 + 1 / 60, rel=1e-12)


def test_the_flow_has_every_month_and_what_was_open_at_its_end() -> None:
    rows = [
        row(at("2025-11-05T09:00:00Z"), closed_at=at("2026-02-02T09:00:00Z")),
        row(
            at("2025-11-06T09:00:00Z"),
            resolved_at=at("2025-11-07T09:00:00Z"),
            closed_at=at("2025-11-30T23:00:00Z"),  # midnight in Berlin: not before the end
        ),
        row(at("2025-12-31T22:00:00Z"), cancelled_at=at("2026-02-03T09:00:00Z")),
    ]
    flow = [tuple(month.values()) for month in told(*rows)["flow"]]
    assert flow == [
        ("2025-11", 2, 1, 0, 0, 0, 2),
        ("2025-12", 1, 0, 1, 0, 0, 2),
        ("2026-01", 0, 0, 0, 0, 0, 2),
        ("2026-02", 0, 0, 1, 1, 0, 0),
    ]


def test_the_flow_of_a_period_counts_older_tickets_too() -> None:
    rows = [
        row(at("2025-11-05T09:00:00Z"), closed_at=at("2026-01-20T09:00:00Z")),
        row(at("2025-11-06T09:00:00Z")),
        row(at("2026-01-06T09:00:00Z"), closed_at=at("2026-03-01T09:00:00Z")),
    ]
    seen = told(*rows, start=at("2026-01-01T00:00:00Z"), end=at("2026-02-01T00:00:00Z"))
    assert seen["overall"]["tickets"] == 1
    assert [tuple(month.values()) for month in seen["flow"]] == [("2026-01", 1, 0, 1, 0, 0, 2)]


def test_twenty_five_thousand_tickets_read_one_by_one_take_less_than_half_a_second() -> None:
    step = timedelta(minutes=37)
    rows = [
        row(
            JANUARY + place * step,
            resolved_at=JANUARY + place * step * 1.01,
            closed_at=JANUARY + place * step * 1.02,
            first_reply_at=JANUARY + place * step,
            group=f"g{place % 70}",
        )
        for place in range(25_000)
    ]
    ends = rows[0].created_us, rows[-1].created_us
    hours = {ticket.created_us // 3_600_000_000 for ticket in rows}
    reading = Reading(ReportQuestion(EVER, "group", BERLIN, SATURDAYS), ends, hours)
    began = time.process_time()
    for ticket in rows:
        reading.add(ticket)
    reading.report(reading.flow(), {})
    assert time.process_time() - began < 0.5
