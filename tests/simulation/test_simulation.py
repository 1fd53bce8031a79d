"""Seeded runs with a crash possible at every step; and a list of planted bugs that must be found."""

import os

import pytest

import chargeline.pricer.compute as compute_module
from chargeline.domain.errors import AbortRequired, Fault
from tests.simulation.planted import BUGS, REFUSED_BECOME_KNOWN, plant
from tests.simulation.simulation import Simulation

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]
SEEDS = int(os.environ.get("CHARGELINE_SIM_SEEDS", "300"))
GROUP = 10


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_whatever_fails_the_bill_is_the_oracles(first):
    for seed in range(first, first + GROUP):
        assert Simulation(seed).run() is None, f"make sim SEED={seed}"


def test_one_seed():
    seed = int(os.environ.get("CHARGELINE_SIM_SEED", "1"))
    world = Simulation(seed, verbose="CHARGELINE_SIM_SEED" in os.environ)
    assert world.run() is None


@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_a_planted_bug_is_found(bug, monkeypatch):
    if bug.name == REFUSED_BECOME_KNOWN:
        monkeypatch.setattr(compute_module, "_judge", all_become_known(compute_module._judge))
    for seed in sorted(range(bug.within), key=lambda seed: seed != bug.seed):
        world = Simulation(seed)
        plant(world, bug)
        try:
            found = world.run()
        except (Fault, AbortRequired, AssertionError, StopIteration, ValueError) as error:
            found = repr(error)
        if found is not None:
            print(f"found with seed {seed}: {found}")
            return
    pytest.fail(f"{bug.name} was not found in {bug.within} seeds")


def all_become_known(judge):
    """Events that cannot be booked are looked at as the others are, and only then left out."""

    def judged(keys, known, possible, before):
        fresh, duplicate, conflict = judge(keys, known, possible | True, before)
        return fresh & possible, duplicate & possible, conflict & possible

    return judged
