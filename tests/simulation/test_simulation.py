"""Seeded runs with a crash possible at every step; and a list of planted bugs that must be found."""

import os
from typing import Any

import pytest

import chargeline.pricer.compute as compute_module
from chargeline.adapters.governance import TOPIC, GovernanceReader, decode
from chargeline.adapters.memory import MemoryTransactionalProducer
from chargeline.domain.errors import AbortRequired, Fault
from chargeline.pricer.processor import Pricer
from tests.simulation.simulation import Simulation

pytestmark = pytest.mark.timeout(60)
SEEDS = 60
FOUND_WITHIN = 60


@pytest.mark.parametrize("seed", range(SEEDS))
def test_whatever_fails_the_bill_is_the_oracles(seed):
    assert Simulation(seed).run() is None, f"make sim SEED={seed}"


def test_one_seed():
    seed = int(os.environ.get("CHARGELINE_SIM_SEED", "1"))
    world = Simulation(seed, verbose="CHARGELINE_SIM_SEED" in os.environ)
    assert world.run() is None


class AppliesBeforeTheCommit(Pricer):
    def _commit(self, unit, computed):
        for partition, each in computed.items():
            header = self._header(unit.batches[partition], each)
            self.states[partition].identities.add(each.keys)
            del header
        super()._commit(unit, computed)

    def _apply(self, header, computed, charges_next_offset):
        empty = computed.keys.take(computed.keys.offset < 0)
        super()._apply(header, compute_module.Computed(**{**vars(computed), "keys": empty}), charges_next_offset)


class ReadsMetadataAgain(Pricer):
    def _commit(self, unit, computed):
        class Late:
            batches = unit.batches

            @property
            def group_metadata(self_):  # noqa: N805
                return self.consumer.group_metadata()

        late: Any = Late()
        super()._commit(late, computed)


class DoesNotSeekAfterAnAbort(Pricer):
    def _commit(self, unit, computed):
        consumer: Any = self.consumer
        start = consumer.start
        consumer.start = lambda _: None
        try:
            super()._commit(unit, computed)
        finally:
            consumer.start = start


class WritesPanesOutside(MemoryTransactionalProducer):
    def produce(self, topic, partition, key, value, headers):
        if topic == "cost-rollups":
            self._log.append(topic, partition, key, value, headers)
        else:
            super().produce(topic, partition, key, value, headers)


class WritesChargesOutside(MemoryTransactionalProducer):
    def produce(self, topic, partition, key, value, headers):
        if topic == "charges":
            offset = self._log.append(topic, partition, key, value, headers)
            self._written[topic, partition] = offset + 1
        else:
            super().produce(topic, partition, key, value, headers)


class OneRefreshOld(GovernanceReader):
    def refresh(self):
        seen = getattr(self, "seen", 0)
        _, end = self._reader.bounds(TOPIC, 0)
        for record in self._reader.read(TOPIC, 0, self._next_offset, seen):
            self.chain.add(decode(record.value or b""), (record.value or b"")[5:], record.append_time)
            self._next_offset = record.offset + 1
        self.seen = end
        self.view_ms = self._clock.now_ms() - self._skew


def refused_events_become_known(monkeypatch):
    judge = compute_module._judge
    monkeypatch.setattr(compute_module, "_judge", lambda keys, known, possible: judge(keys, known, possible | True))


PLANTED: list[tuple[str, dict[str, Any]]] = [
    ("state applied before the commit", {"make": AppliesBeforeTheCommit}),
    ("metadata read again at commit", {"make": ReadsMetadataAgain}),
    ("no seek after an abort", {"make": DoesNotSeekAfterAnAbort}),
    ("a pane outside the transaction", {"producer": WritesPanesOutside}),
    ("a charge outside the transaction", {"producer": WritesChargesOutside}),
    ("a governance view one refresh old", {"governance": OneRefreshOld}),
    ("an identity made known by a refused event", {}),
]


@pytest.mark.parametrize(("name", "bug"), PLANTED, ids=[name for name, _ in PLANTED])
def test_a_planted_bug_is_found(name, bug, monkeypatch):
    if not bug:
        refused_events_become_known(monkeypatch)
    for seed in range(FOUND_WITHIN):
        world = Simulation(seed)
        for attribute, value in bug.items():
            setattr(world, attribute, value)
        try:
            if world.run() is not None:
                return
        except (Fault, AbortRequired, AssertionError, StopIteration):
            return
    pytest.fail(f"{name} was not found in {FOUND_WITHIN} seeds")
