"""Thousands of interleavings of the real kernel hold; every broken kernel is caught."""

import os

import pytest

from simulation.mutations import CALM, CROWDED, MUTATIONS, ROUGH
from simulation.search import command, findings, first_failure, played, shrink
from simulation.world import Kernel, Size

SEEDS = int(os.environ.get("DESK_SIMULATION_SEEDS", "700"))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("size", [CALM, ROUGH, CROWDED], ids=["calm", "rough", "crowded"])
def test_whatever_the_order_and_whoever_dies_the_invariants_hold(size: Size) -> None:
    seed = first_failure(range(SEEDS), size, Kernel())
    if seed is not None:
        smallest = shrink(seed, size, Kernel())
        pytest.fail(f"{findings(*smallest, Kernel())}\nagain: {command(*smallest)}")


def test_the_same_seed_plays_the_same_run() -> None:
    runs = [played(7, ROUGH, Kernel())[0] for _ in range(2)]
    assert runs[0].trace == runs[1].trace
    assert runs[0].log.records == runs[1].log.records
    assert played(8, ROUGH, Kernel())[0].log.records != runs[0].log.records


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_kernel_without_one_of_its_rules_is_caught(name: str) -> None:
    kernel, size = MUTATIONS[name]
    seed = first_failure(range(500), size, kernel)
    assert seed is not None, f"{name}: 500 runs did not show it"
    smallest = shrink(seed, size, kernel, seeds_tried=5)
    found = findings(*smallest, kernel)
    assert found
    assert not findings(*smallest, Kernel()), "the kernel itself holds there"
    print(f"{name}: seed {seed}, then {smallest}: {found[0][:120]}")
