import asyncio

import pytest

from shared.telemetry.context import (
    TraceContext,
    act_as,
    begin,
    current,
    journeying,
    lineage,
)

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_position_is_read_and_written_alike() -> None:
    above = TraceContext.parse(HEADER)
    assert above is not None
    assert above.traceparent == HEADER


def test_a_newer_version_may_carry_more() -> None:
    assert TraceContext.parse("01" + HEADER[2:] + "-more") == TraceContext.parse(HEADER)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "garbage",
        HEADER.upper(),
        HEADER + "-more",
        "ff" + HEADER[2:],
        HEADER.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        HEADER.replace("b7ad6b7169203331", "0" * 16),
        HEADER[:-1],
        HEADER + "\n",
    ],
)
def test_an_unusable_header_is_ignored(header: str | None) -> None:
    assert TraceContext.parse(header) is None


def test_events_carry_the_journey_on() -> None:
    with journeying(begin("intake", "order-7", HEADER)) as journey:
        act_as("ann")
        found = lineage()
        assert (found.correlation_id, found.actor) == ("order-7", "ann")
        assert found.traceparent == journey.trace.traceparent
        assert lineage("system").actor == "system"
    assert current() is None


def test_outside_any_journey_a_new_one_is_begun() -> None:
    assert len(lineage("system").correlation_id) == 32
    act_as("nobody")
    assert current() is None


async def test_tasks_that_run_side_by_side_keep_their_own_journeys() -> None:
    async def travel(name: str) -> str | None:
        with journeying(begin("intake", name, None)):
            await asyncio.sleep(0)
            now = current()
            return now.correlation_id if now else None

    assert await asyncio.gather(travel("a"), travel("b")) == ["a", "b"]
