"""Recovery from `charges` alone, where retention has deleted the front of the topic."""

import pytest

from chargeline.adapters.memory import MemoryLogConsumer, MemoryLogReader
from chargeline.domain.errors import Fault
from chargeline.pricer.observer import Observer
from chargeline.pricer.recovery import Recovery
from chargeline.runtime.telemetry import Telemetry
from chargeline.wire import arrow_messages
from chargeline.wire.units import UnitHeader
from tests.support.archive import LogArchive
from tests.unit.test_service_metrics import busy_pricer


class Trimmed(MemoryLogReader):
    low = 0

    def bounds(self, topic, partition):
        return self.low, super().bounds(topic, partition)[1]


class Counting(Trimmed):
    def __init__(self, log):
        super().__init__(log)
        self.asked = []

    def read(self, topic, partition, start, end):
        self.asked.append(start)
        return super().read(topic, partition, start, end)


class Until(MemoryLogConsumer):
    """A group that committed so far, or whose offsets expired."""

    def __init__(self, log, committed):
        super().__init__(log, "pricer")
        self.subscribe("usage-events", lambda _: None, lambda _: None)
        self._next = committed

    def committed(self, partitions):
        return dict.fromkeys(partitions, self._next)


@pytest.mark.parametrize("is_state_lost", [False, True])
def test_a_partition_goes_on_where_it_was_when_retention_has_deleted_all_its_charges(is_state_lost):
    simulation, process = busy_pricer(Telemetry(60.0))
    whole, service = process.service.states[0], process.service
    reader = Trimmed(simulation.log)
    reader.low = reader.bounds("charges", 0)[1]
    if is_state_lost:
        simulation.store.invalidate(0)
    archive = LogArchive(MemoryLogReader(simulation.log))
    found = Recovery(service.consumer, reader, service.store, service.clock, Observer(), archive).recover(0)
    assert found.next_offset == whole.next_offset > 0
    assert found.scopes.stored() == whole.scopes.stored()
    assert len(found.identities) == (0 if is_state_lost else len(whole.identities))
    again = Recovery(service.consumer, reader, service.store, service.clock, Observer(), archive).recover(0)
    assert (again.next_offset, again.scopes.stored()) == (found.next_offset, found.scopes.stored())


@pytest.mark.parametrize("is_trimmed", [False, True])
@pytest.mark.parametrize("units_behind", [0, 1])
def test_without_committed_offsets_what_the_state_holds_is_not_read_again(is_trimmed, units_behind):
    simulation, process = busy_pricer(Telemetry(60.0))
    service, whole = process.service, process.service.states[0]
    reader = Counting(simulation.log)
    units = [UnitHeader.decode(r.headers) for r in reader.read("charges", 0, 0, reader.bounds("charges", 0)[1])]
    if units_behind:  # the last unit was committed, and the process died before its state was kept
        simulation.store.invalidate(0)
        earlier = Recovery(
            Until(simulation.log, units[-1].start), reader, simulation.store, service.clock, Observer()
        ).recover(0)
        assert earlier.next_offset == units[-1].start
    kept = simulation.store.head(0).charges_next_offset
    reader.low = kept if is_trimmed else 0
    reader.asked.clear()
    found = Recovery(Until(simulation.log, None), reader, simulation.store, service.clock, Observer()).recover(0)
    assert found.next_offset == whole.next_offset == units[-1].end
    assert min(reader.asked) == kept


def test_charges_that_were_lost_are_no_charges_that_retention_deleted():
    simulation, process = busy_pricer(Telemetry(60.0))
    simulation.store.invalidate(0)
    simulation.log.logs["charges", 0].clear()
    service, reader = process.service, MemoryLogReader(simulation.log)
    with pytest.raises(Fault, match="charges were lost"):
        Recovery(service.consumer, reader, service.store, service.clock, Observer()).recover(0)


@pytest.mark.parametrize("into_a_unit", [False, True])
def test_a_state_is_folded_from_the_first_whole_unit_that_is_left(monkeypatch, into_a_unit):
    monkeypatch.setattr(arrow_messages, "_WANTED", 200)  # two rows a slice
    simulation, process = busy_pricer(Telemetry(60.0))
    whole = process.service.states[0]
    reader = Trimmed(simulation.log)
    records = [
        (r.offset, UnitHeader.decode(r.headers)) for r in reader.read("charges", 0, 0, reader.bounds("charges", 0)[1])
    ]
    middle = len(records) // 2
    reader.low = next(offset for offset, header in records[middle:] if (header.slice_index > 0) == into_a_unit)
    first = next(header for offset, header in records if offset >= reader.low and header.slice_index == 0)
    simulation.store.invalidate(0)
    service = process.service
    archive = LogArchive(MemoryLogReader(simulation.log))
    found = Recovery(service.consumer, reader, service.store, service.clock, Observer(), archive).recover(0)
    assert found.next_offset == whole.next_offset
    expected = [offset for offset in whole.identities.keys().offset.tolist() if offset >= first.start]
    assert found.identities.keys().offset.tolist() == expected
    assert 0 < len(expected) < len(whole.identities)
    assert len(whole.scopes) > 0
    assert found.scopes.stored() == whole.scopes.stored()
