"""What a service asks its database leaves the session as it was: its connections are not reset."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTLASTS = re.compile(
    r"^\s*SET\s+(?!LOCAL\b)"
    r"|\bpg_(try_)?advisory_lock(_shared)?\s*\("
    r"|\bset_config\s*\([^()]*\bfalse\s*\)"
    r"|\bCREATE\s+(LOCAL\s+)?TEMP"
    r"|\bWITH\s+HOLD\b"
    r"|^\s*(LISTEN|PREPARE)\s"  # SQL words are in capitals, sentences are not
)
EXEMPT = {
    # module → why it may
    "shared/postgres/migrate.py": "a connection of its own, closed when it is done",
    "shared/replay/rebuild.py": "a pool of desk_replay, whose connections are reset",
}


def what_outlasts(source: str) -> Iterator[str]:
    """Yield, with its line, each text that would change a session for whoever is lent it next."""
    for node in ast.walk(ast.parse(source)):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and OUTLASTS.search(node.value):
            yield f"{node.lineno}: {node.value.strip()}"


def modules() -> list[str]:
    found = (path for part in ("shared", "services") for path in (ROOT / part).rglob("*.py"))
    return sorted(str(path.relative_to(ROOT)) for path in found)


@pytest.mark.parametrize("module", modules())
def test_no_session_is_left_changed(module: str) -> None:
    found = list(what_outlasts((ROOT / module).read_text()))
    assert bool(found) == (module in EXEMPT), found


@pytest.mark.parametrize(
    "statement",
    [
        "SET statement_timeout = 0",
        "SET SESSION timezone TO 'UTC'",
        "SELECT pg_advisory_lock($1)",
        "SELECT pg_try_advisory_lock_shared($1)",
        "SELECT set_config('timezone', $1, false)",
        "CREATE TEMP TABLE t (n int)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN outbox",
    ],
)
def test_what_would_outlast_is_found(statement: str) -> None:
    assert list(what_outlasts(f"connection.execute({statement!r})"))


@pytest.mark.parametrize(
    "statement",
    [
        "SET LOCAL synchronous_commit TO off",
        "SELECT pg_advisory_xact_lock($1)",
        "SELECT set_config('synchronous_commit', 'off', true)",
        "UPDATE t SET n = 1",
    ],
)
def test_what_ends_with_the_transaction_is_not(statement: str) -> None:
    assert not list(what_outlasts(f"connection.execute({statement!r})"))
