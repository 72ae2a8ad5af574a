"""Whoever is chosen from a part of the roster is who would be chosen from all of it."""

from random import Random

import pytest
from msgspec.structs import replace

from services.routing.domain.agents import Agent
from services.routing.domain.candidates import PAGE_SIZE, Candidates


def seats_of(roster: dict[str, Agent]) -> list[tuple[int, str]]:
    return sorted((a.workload, a.agent_id) for a in roster.values() if a.has_room)


@pytest.mark.parametrize("seed", range(20))
def test_who_comes_next_is_who_has_the_fewest_open_tickets(seed: int) -> None:
    chance = Random(seed)
    stored = {
        name: Agent(name, "g", (), is_available=True, workload=chance.randrange(4), workload_max=6)
        for name in (f"a{number:03}" for number in range(chance.choice([3, 40, 200])))
    }
    now = dict(stored)
    known: dict[str, Agent | None] = {}
    row, pages = Candidates("g", ""), 0
    for _ in range(300):
        while (found := row.first(known, None)) is None:
            page = [seat for seat in seats_of(stored) if seat > row.read_up_to][:PAGE_SIZE]
            for _, name in page:
                known.setdefault(name, now[name])
            row.extend(page, [agent for _, name in page if (agent := known[name]) is not None])
            pages += 1
        assert [(a.workload, a.agent_id) for a in found] == seats_of(now)[: len(found)]
        assert len(found) == min(5, len(seats_of(now)))
        chosen = found[0].agent_id if found and chance.random() < 0.7 else chance.choice([*now])
        by = 1 if found and chosen == found[0].agent_id else -1
        changed = replace(now[chosen], workload=max(0, now[chosen].workload + by))
        now[chosen] = known[chosen] = changed
        row.add(changed)
    assert pages <= 2 + len(stored) // PAGE_SIZE
