"""Compares two results where only `emitted` has an order, and one result with expectations."""

import json
from datetime import UTC, datetime
from typing import Any

INSTANTS = ("_at", "time", "at", "from", "to", "gives")


def plain(value: Any, name: str = "") -> Any:
    """Return the value with every instant written in UTC."""
    if isinstance(value, dict):
        return {key: plain(inner, key) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str) and name.endswith(INSTANTS) and value[:4].isdigit():
        found = datetime.fromisoformat(value).astimezone(UTC)
        return found.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value


def comparable(actual: dict[str, Any]) -> dict[str, Any]:
    """Return a result in one fixed form."""
    found = plain(actual)
    for ledger in (found, *found["known_at"]):
        ledger["clocks"] = in_order(ledger["clocks"])
    found["warnings"] = in_order(found["warnings"])
    return found


def in_order(rows: list[Any]) -> list[Any]:
    """Return the rows in the order of their text."""
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def unmet(expect: dict[str, Any], actual: dict[str, Any]) -> list[str]:
    """Return what an expectation states and the result does not."""
    expect, found = plain(expect), comparable(actual)
    wrong = []
    for part in ("clocks", "warnings", "known_at"):
        if part in expect:
            wrong += unmet_rows(part, expect[part], found[part])
    if "emitted" in expect:
        pairs = zip(expect["emitted"], found["emitted"], strict=False)
        wrong += [f"{said} for {wanted}" for wanted, said in pairs if not holds(wanted, said)]
        if len(expect["emitted"]) != len(found["emitted"]):
            wrong.append(f"emitted {found['emitted']}")
    return wrong


def unmet_rows(part: str, expected: list[Any], found: list[Any]) -> list[str]:
    """Return what a list that has no order lacks, or has too much of."""
    if part == "known_at":
        wrong = []
        for wanted, got in zip(expected, found, strict=True):
            wrong += unmet_rows("clocks", wanted["clocks"], got["clocks"])
        return wrong
    left = list(found)
    wrong = []
    for row in expected:
        wanted = {"cycle": 1, "generation": 1, **row}
        fitting = [got for got in left if holds(wanted, got)]
        if fitting:
            left.remove(fitting[0])
        else:
            wrong.append(f"{part}: no {wanted} in {found}")
    return wrong + [f"{part}: too much: {got}" for got in left]


def holds(wanted: dict[str, Any], got: dict[str, Any]) -> bool:
    """Tell whether every stated key matches."""
    return all(key in got and got[key] == value for key, value in wanted.items())
