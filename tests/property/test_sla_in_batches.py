"""However records are batched, sla says the same, down to the cause of each event."""

from collections import Counter
from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import pytest
from support import sla_lives
from support.sla_batches import ALL, EVENTFUL, Weeks, cut_desk, outcome

SEEDS = range(3)
ONE_BY_ONE = 1
AT_RANDOM = None
SAID = {
    *("sla.started", "sla.paused", "sla.resumed", "sla.warned", "sla.breached", "sla.met"),
    *("sla.missed", "sla.cancelled", "sla.breach_retracted", "sla.due_inherited"),
}


@pytest.fixture(autouse=True)
def eventful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let lives have more of what makes an order matter."""
    for name, shares in EVENTFUL.items():
        for what, share in shares.items():
            monkeypatch.setitem(getattr(sla_lives, name), what, share)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", SEEDS)
async def test_batches_do_not_matter(make_database: Callable[[str], str], seed: int) -> None:
    found: list[dict[str, list[Any]]] = []
    for size in (ONE_BY_ONE, ALL, AT_RANDOM):
        async with cut_desk(make_database("sla"), seed, size) as (desk, log):
            await Weeks(seed).tell(desk, log)
            found.append(await outcome(desk, log))
    one_by_one, *others = found
    for other in others:
        for name, decided in one_by_one.items():
            differ = (pair for pair in zip_longest(decided, other[name]) if pair[0] != pair[1])
            for mine, theirs in differ:
                pytest.fail(f"{name}:\n{mine}\n{theirs}")
    said = Counter(entry[2] for entry in one_by_one["journal"])
    assert {name: said[name] for name in SAID if said[name] < 5} == {}, said
    assert one_by_one["quarantine"] == []
