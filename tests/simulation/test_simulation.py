"""Thousands of interleavings of the real kernel hold; every broken kernel is caught."""

import os

import pytest

from simulation.mutations import CALM, CROWDED, KERNELS, MUTATIONS, ROUGH
from simulation.search import command, findings, first_failure, played, shrink
from simulation.world import Kernel, Size

MANY = int(os.environ.get("DESK_SIMULATION_SEEDS", "1450"))
SOME = MANY // 5


def hold(seeds: int, size: Size, name: str = "whole") -> None:
    kernel = KERNELS[name]
    seed = first_failure(range(seeds), size, kernel)
    if seed is not None:
        smallest = shrink(seed, size, kernel)
        pytest.fail(f"{findings(*smallest, kernel)}\nagain: {command(*smallest, name)}")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("size", "seeds"),
    [(CALM, MANY), (ROUGH, SOME), (CROWDED, SOME)],
    ids=["calm", "rough", "crowded"],
)
def test_whatever_the_order_and_whoever_dies_the_invariants_hold(size: Size, seeds: int) -> None:
    hold(seeds, size)


@pytest.mark.timeout(120)
def test_the_invariants_do_not_rest_on_leases() -> None:
    hold(SOME, ROUGH, "leases to everybody")


def test_the_same_seed_plays_the_same_run() -> None:
    runs = [played(7, ROUGH, Kernel())[0] for _ in range(2)]
    assert runs[0].trace == runs[1].trace
    assert runs[0].log.records == runs[1].log.records
    assert played(8, ROUGH, Kernel())[0].log.records != runs[0].log.records


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_kernel_without_one_of_its_rules_is_caught(name: str) -> None:
    kernel, size, invariant = MUTATIONS[name]
    seed = next((n for n in range(500) if breaks(invariant, n, size, kernel)), None)
    assert seed is not None, f"{name}: 500 runs did not show it"
    smallest = shrink(seed, size, kernel, seeds_tried=5)
    found = findings(*smallest, kernel)
    assert found
    assert not findings(*smallest, Kernel()), "the kernel itself holds there"
    print(f"{name}: seed {seed}, then {smallest}: {found[0][:120]}")


def breaks(invariant: str, seed: int, size: Size, kernel: Kernel) -> bool:
    return any(found.startswith(invariant) for found in findings(seed, size, kernel))
