"""An incident log as it comes: in any text encoding, of any version, with what cannot be read."""

import gzip
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.imports.client import ImportReport, Source, find_order, read_incidents
from services.imports.dates import read_order
from services.imports.servicenow import COLUMNS, Incident
from shared.errors import InvalidInputError, StartupError

REPORTED = Path(__file__).parents[4] / "shared/data/reported-faults"
NOW = datetime(2026, 11, 28, tzinfo=UTC)
NAMES = (*COLUMNS, "resolved_at", "closed_at", "hold_reason", "caller_id", "category")
USUAL = {
    "number": "INC0000001",
    "incident_state": "New",
    "sys_updated_at": "14/3/2025 09:10",
    "sys_updated_by": "Ute",
    "opened_at": "14/3/2025 09:00",
    "contact_type": "Phone",
    "impact": "2 - Medium",
    "urgency": "2 - Medium",
    "priority": "3 - Moderate",
    "reassignment_count": "0",
    "reopen_count": "0",
    "made_sla": "true",
    "caller_id": "Jörg",
    "category": "网络",
}


def text(*rows: Mapping[str, str], delimiter: str = ",") -> str:
    lines = [NAMES, *([(USUAL | row).get(name, "") for name in NAMES] for row in rows)]
    return "".join(delimiter.join(line) + "\r\n" for line in lines)


def taken(
    tmp_path: Path, content: bytes, encoding: str | None = None, dates: str | None = None
) -> tuple[list[Incident], ImportReport]:
    file = tmp_path / "log.csv"
    file.write_bytes(content)
    source = Source(file, NOW, encoding, None if dates is None else read_order(dates))
    report = ImportReport()
    order = find_order(source)
    incidents = list(read_incidents(source, order, report, lambda _: None))
    for incident in incidents:
        report.note(incident)
    return incidents, report


def told(incident: Incident) -> list[tuple[str, Any]]:
    """Return intake's facts of an incident, each with what else it says."""
    said = []
    for past in incident.intake:
        data = past.data
        extra = getattr(data, "reason", None) if data.TYPE == "ticket.held" else None
        said.append((data.TYPE.removeprefix("ticket."), extra))
    return said


PLAIN = text({})


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        PLAIN.encode("utf-16-le"),
        PLAIN.encode("utf-32"),
        gzip.compress(PLAIN.encode("utf-16")),
        text({}, delimiter=";").encode(),
        text({}, delimiter=";").encode("utf-8-sig"),
        text({}, delimiter="\t").encode("utf-16"),
        b"sep=;\r\n" + text({}, delimiter=";").encode(),
        PLAIN.replace("\r\n", "\n").encode() + b"\r\n,,,,,,,,,,,,,,,,\r\n",
        PLAIN.replace("number", '"Number"').replace("opened_at", " opened_at ").encode(),
        PLAIN.replace("true", "TRUE").encode(),
    ],
)
def test_a_file_is_read_as_a_spreadsheet_writes_it(tmp_path: Path, content: bytes) -> None:
    (expected,), _ = taken(tmp_path, PLAIN.encode())
    (incident,), report = taken(tmp_path, content)
    assert incident == expected
    assert report.is_whole


def test_an_old_encoding_is_asked_for(tmp_path: Path) -> None:
    content = PLAIN.replace("网络", "Netz").encode("cp1252")
    with pytest.raises(StartupError, match="name its encoding with --encoding"):
        taken(tmp_path, content)
    (incident,), _ = taken(tmp_path, content, "cp1252")
    (expected,), _ = taken(tmp_path, PLAIN.replace("网络", "Netz").encode())
    assert incident == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04 and so on", "is a workbook"),
        (b"", "has no column number, incident_state"),
        (PLAIN.replace("priority", "rank").encode(), "has no column priority"),
        (PLAIN.replace("hold_reason", "number").encode(), "the column number more than once"),
    ],
)
def test_a_file_that_is_no_incident_log_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(StartupError, match=said):
        taken(tmp_path, content)


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="--encoding: unknown encoding: klingon"):
        taken(tmp_path, PLAIN.encode(), "klingon")


@pytest.mark.parametrize(
    ("row", "facts"),
    [
        ({"incident_state": "In Progress"}, [("created", None), ("started", None)]),
        ({"incident_state": "Active"}, [("created", None), ("started", None)]),
        (
            {"incident_state": "On Hold", "hold_reason": "Awaiting Vendor"},
            [("created", None), ("held", "vendor")],
        ),
        ({"incident_state": "On Hold"}, [("created", None), ("held", "unspecified")]),
        (
            {"incident_state": "on-hold", "hold_reason": "Awaiting Caller"},
            [("created", None), ("held", "requester")],
        ),
        ({"incident_state": "Awaiting User Info"}, [("created", None), ("held", "requester")]),
        ({"incident_state": "Awaiting Change"}, [("created", None), ("held", "change")]),
        ({"incident_state": "Canceled"}, [("created", None), ("cancelled", None)]),
        ({"incident_state": "Cancelled"}, [("created", None), ("cancelled", None)]),
    ],
)
def test_states_of_every_version_are_known(
    tmp_path: Path, row: dict[str, str], facts: list[Any]
) -> None:
    (incident,), report = taken(tmp_path, text(row).encode())
    assert told(incident) == facts
    assert report.is_whole


def test_an_incident_comes_back_from_a_hold_and_ends(tmp_path: Path) -> None:
    later = {"sys_updated_at": "15/3/2025 10:00", "resolved_at": "15/3/2025 10:00"}
    content = text(
        {},
        {"incident_state": "On Hold"},
        {"incident_state": "In Progress"},
        {"incident_state": "Resolved", **later},
        {"incident_state": "Closed", "closed_at": "16/3/2025 10:00", **later},
    )
    (incident,), _ = taken(tmp_path, content.encode())
    kinds = [kind for kind, _ in told(incident)]
    assert kinds == ["created", "held", "resumed", "resolved", "closed"]


@pytest.mark.parametrize(
    ("stated", "priority", "reason"),
    [
        ("3 - Moderate", "P3", "stated by ServiceNow"),
        ("Moderate", "P3", "stated by ServiceNow"),
        ("5 - Planning", "P4", "stated by ServiceNow as 5 - Planning"),
    ],
)
def test_a_priority_beyond_ours_has_the_lowest_and_says_so(
    tmp_path: Path, stated: str, priority: str, reason: str
) -> None:
    (incident,), _ = taken(tmp_path, text({"priority": stated}).encode())
    ranked: Any = incident.routing[0].data
    assert (ranked.priority, ranked.reasons) == (priority, (reason,))


@pytest.mark.parametrize(
    ("stated", "channel"),
    [("Self-service", "portal"), ("Walk-in", "walk_in"), ("Virtual Agent", "chat")],
)
def test_channels_of_newer_versions_are_known(tmp_path: Path, stated: str, channel: str) -> None:
    (incident,), _ = taken(tmp_path, text({"contact_type": stated}).encode())
    created: Any = incident.intake[0].data
    assert created.channel == channel


def test_dates_are_read_in_the_one_order_that_the_file_proves(tmp_path: Path) -> None:
    content = text(
        {"opened_at": "3/4/2025 09:00", "sys_updated_at": "3/4/2025 09:10"},
        {
            "number": "INC0000002",
            "opened_at": "3/28/2025 09:00",
            "sys_updated_at": "3/28/2025 09:00",
        },
    )
    incidents, _ = taken(tmp_path, content.encode())
    assert [incident.intake[0].time for incident in incidents] == [
        datetime(2025, 3, 4, 9, tzinfo=UTC),
        datetime(2025, 3, 28, 9, tzinfo=UTC),
    ]


def test_dates_that_nothing_proves_are_asked_for(tmp_path: Path) -> None:
    row = {"opened_at": "3/4/2025 09:00", "sys_updated_at": "3/4/2025 09:10"}
    with pytest.raises(InvalidInputError, match="say --dates day-first or --dates month-first"):
        taken(tmp_path, text(row).encode())
    (incident,), _ = taken(tmp_path, text(row).encode(), dates="month-first")
    assert incident.intake[0].time == datetime(2025, 3, 4, 9, tzinfo=UTC)


def test_a_lost_row_makes_its_incident_incomplete(tmp_path: Path) -> None:
    content = text(
        {},
        {"incident_state": "Somewhere"},
        {"number": "INC0000002", "incident_state": "Nowhere"},
        {"number": "INC0000003"},
    )
    incidents, report = taken(tmp_path, content.encode())
    assert [incident.number for incident in incidents] == ["INC0000001", "INC0000003"]
    assert [row.line for row in report.parked] == [3, 4]
    assert (report.partial, report.missing) == (["INC0000001"], ["INC0000002"])
    assert not report.is_whole


def test_an_import_of_nothing_is_no_success(tmp_path: Path) -> None:
    for content in (text(), text({"incident_state": "Nowhere"})):
        _, report = taken(tmp_path, content.encode())
        assert not report.is_whole


@pytest.mark.realdata
@pytest.mark.skipif(not REPORTED.is_dir(), reason="no reported faults beside the project")
def test_reported_files_come_out_right(tmp_path: Path) -> None:
    def read(name: str, dates: str | None = "dmy") -> list[Incident]:
        return taken(tmp_path, (REPORTED / name).read_bytes(), dates=dates)[0]

    (control,), (marked,) = read("b05-control.csv"), read("b05-bom.csv")
    assert told(marked) == told(control)
    (semicolons,) = read("b07-semicolon.csv")
    assert told(semicolons) == told(control)
    assert [one.intake[0].time.month for one in read("b06-month-first.csv", None)] == [3, 3]
    held, begun, planned, cancelled = read("b07-states.csv")
    assert ("held", "unspecified") in told(held)
    assert told(begun)[-1][0] == "started"
    assert planned.routing[0].data.TYPE == "ticket.prioritized"
    assert told(cancelled)[-1][0] == "cancelled"
