"""Migrations: a newer program's database serves the version before it, too (R13)."""

import re
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from shared.errors import StartupError
from shared.postgres.migrate import migrate

ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "shared/postgres/migrations/versions", *ROOT.glob("services/*/migrations")]
TAKES_AWAY = re.compile(r"DROP (TABLE|COLUMN|SCHEMA|TYPE)|RENAME|TRUNCATE|REVOKE", re.IGNORECASE)


async def brought_to(dsn: str, revision: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("UPDATE public.version_kernel SET version_num = $1", revision)
    await connection.close()


async def test_a_program_starts_on_a_database_that_a_newer_one_brought_further(
    make_database: Callable[[str], str],
) -> None:
    dsn = make_database("service")
    assert await migrate(dsn)
    await brought_to(dsn, "0999_of_the_next_version")
    assert await migrate(dsn) == []
    await brought_to(dsn, "1000_another_shape")
    with pytest.raises(StartupError, match="1000_another_shape, which does not work with"):
        await migrate(dsn)


@pytest.mark.parametrize(
    "path",
    [path for folder in FOLDERS for path in sorted(folder.glob("[0-9]*.py"))[1:]],
    ids=lambda path: f"{path.parent.parent.name} {path.stem}",
)
def test_a_migration_takes_nothing_away_that_the_version_before_uses(path: Path) -> None:
    assert not TAKES_AWAY.findall(path.read_text())
