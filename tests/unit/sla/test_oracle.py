"""The product against a second evaluator that shares nothing with it but the text."""

import json
from pathlib import Path
from typing import Any

import pytest
from sla_oracle import actual
from sla_oracle.differ import plain, unmet
from sla_oracle.differential import difference, made

WORKED = Path(__file__).parents[4] / "shared" / "data" / "sla-scenarios.json"
BATCHES, BATCH = 6, 90  # seed 535 is the first that tells `<` from `<=` at a due in days


def worked_examples() -> list[Any]:
    if not WORKED.exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no {WORKED}"))]
    return [pytest.param(one, id=one["id"]) for one in json.loads(WORKED.read_text())]


@pytest.mark.realdata
@pytest.mark.parametrize("example", worked_examples())
def test_the_evaluator_gives_the_worked_examples(example: Any) -> None:
    found = actual(example)
    assert unmet(example.get("expect", {}), found) == []
    for question, answered in zip(example.get("arithmetic", ()), found["arithmetic"], strict=True):
        assert plain(question) == {key: plain(answered)[key] for key in question}


@pytest.mark.parametrize("batch", range(BATCHES))
def test_product_and_evaluator_agree_on_random_histories(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        how = difference(made(seed))
        assert not how, f"python -m tests.sla_oracle --count 1 --seed {seed}\n{how}"


def test_the_random_histories_are_rich() -> None:
    """A generator that makes nothing would let everything pass."""
    seen: set[str] = set()
    for seed in range(60):
        found = actual(made(seed))
        seen |= {clock["outcome"] for clock in found["clocks"]}
        seen |= {said["type"] for said in found["emitted"]}
        seen |= {"later cycle" for clock in found["clocks"] if clock["cycle"] > 1}
        seen |= {"later generation" for clock in found["clocks"] if clock["generation"] > 1}
        seen |= {"pause" for clock in found["clocks"] if clock["paused_seconds"]}
    outcomes = {"open", "paused", "met", "missed", "cancelled", "superseded"}
    said = {"started", "warned", "breached", "breach_retracted", "met", "missed", "cancelled"}
    kinds = {"later cycle", "later generation", "pause"}
    assert seen >= outcomes | kinds | {f"sla.{word}" for word in said}
