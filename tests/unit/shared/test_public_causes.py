"""What readiness, which is open to all, tells of a loop that failed."""

import asyncio

import asyncpg
import pytest

from shared.errors import UnavailableError
from shared.runtime.loops import Loop

ROW = "Key (requester_id)=(ann@example.org) already exists."


def broken() -> asyncpg.PostgresError:
    error = asyncpg.UniqueViolationError(f"duplicate key {ROW}")
    error.detail = ROW
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (broken(), "UniqueViolationError"),
        (ConnectionRefusedError("db-3:5432 refused"), "ConnectionRefusedError"),
        (UnavailableError("topics are missing: a"), "UnavailableError: topics are missing: a"),
    ],
)
async def test_readiness_tells_the_kind_of_an_error_and_no_row_of_anybodys(
    error: Exception, told: str
) -> None:
    async def fail() -> None:
        raise error

    loop = Loop("relay", fail)
    task = asyncio.create_task(loop.run())
    while loop.pulse.trouble is None:
        await asyncio.sleep(0)
    task.cancel()
    assert loop.pulse.verdict(0) == told
