"""What pricer and sink count, against what the log and the table hold."""

from collections import Counter
from functools import partial

from prometheus_client.parser import text_string_to_metric_families

from chargeline.adapters.memory import MemoryLogReader
from chargeline.domain.errors import TransientError
from chargeline.pricer.metrics import PricerMetrics
from chargeline.pricer.observer import Observer
from chargeline.pricer.processor import Pricer
from chargeline.runtime.telemetry import Telemetry
from chargeline.sink.metrics import SinkMetrics
from chargeline.wire.arrow_messages import decode
from chargeline.wire.units import OUTCOMES, UnitHeader
from tests.simulation.processes import PARTITIONS, PricerProcess
from tests.simulation.simulation import Simulation
from tests.unit.test_sink import TOPIC, drain, sink, world


def series(telemetry, name, label=None):
    """Value by the label's value, of the metric's samples that are not zero."""
    families = text_string_to_metric_families(telemetry.metrics.exposition().decode())
    samples = [s for f in families for s in f.samples if s.name == name and s.value]
    return {s.labels.get(label): s.value for s in samples}


def settle(simulation, process):
    """Until everything is committed, and what was committed last is applied: a step finds nothing to do."""
    while simulation.behind() or process.service.step():
        process.step()


def busy_pricer(telemetry):
    """One pricer on the fakes after 40 rounds of events without faults; (simulation, process)."""
    simulation = Simulation(5)
    simulation.log.marker_lag_ms = 0
    observer = PricerMetrics(telemetry, simulation.clock, lambda: simulation.clock.now_ms() / 1000)
    simulation.make = partial(Pricer, observer=observer)
    topic = {"topic": "usage-events", "partitions": PARTITIONS, "partitioner": "MURMUR2"}
    simulation.fact(topic, "InputTopicCreated")
    simulation.publish()
    process = PricerProcess(simulation, "pricer-0")
    process.start()
    for number in range(40):
        simulation.clock.now += 1500
        for value in simulation.events[number % 2].values(9):
            simulation.log.append("usage-events", number % 2, None, value)
        process.step()
    settle(simulation, process)
    return simulation, process


def messages(simulation, topic):
    reader = MemoryLogReader(simulation.log)
    for partition in range(PARTITIONS):
        yield from reader.read(topic, partition, 0, reader.bounds(topic, partition)[1])


def test_the_pricer_counts_what_the_log_holds():
    telemetry = Telemetry(60.0)
    simulation, process = busy_pricer(telemetry)
    headers = [UnitHeader.decode(record.headers) for record in messages(simulation, "charges")]
    units = [header for header in headers if header.slice_index == 0]
    outcomes = {name: sum(unit.outcomes[name] for unit in units) for name in OUTCOMES}
    assert outcomes["DUPLICATE"]
    assert outcomes["DEAD_LETTER"]
    assert series(telemetry, "chargeline_events_total", "outcome") == {k: v for k, v in outcomes.items() if v}
    assert series(telemetry, "chargeline_units_total") == {None: len(units)}
    letters = Counter(
        dict(record.headers)["x-chargeline-code"].decode() for record in messages(simulation, "usage-events-dlq")
    )
    assert series(telemetry, "chargeline_dead_letters_total", "code") == letters
    panes: Counter[str] = Counter()
    for record in messages(simulation, "cost-rollups"):
        panes.update(decode(record.value)["pane"].to_pylist())
    assert panes["LATE"]
    assert series(telemetry, "chargeline_panes_total", "pane") == panes
    states = process.service.states
    held = series(telemetry, "chargeline_identities", "partition")
    assert held == {str(p): len(state.identities) for p, state in states.items()}
    next_offsets = series(telemetry, "chargeline_next_offset", "partition")
    assert next_offsets == {str(p): state.next_offset for p, state in states.items()}
    steps = series(telemetry, "chargeline_unit_step_seconds_count", "step")
    assert set(steps) == {"poll", "fresh", "prepare", "book", "settle", "apply", "aggregate", "produce", "commit"}
    assert len(set(steps.values())) == 1


def test_a_pricer_is_ready_with_its_partitions_and_not_without():
    telemetry = Telemetry(60.0)
    _, process = busy_pricer(telemetry)
    assert telemetry.health.waiting() == {}
    process.service._on_revoke([0, 1])
    assert set(telemetry.health.waiting()) == {"assignment"}
    assert series(telemetry, "chargeline_identities", "partition") == {}
    process.service._on_assign([1])
    assert set(telemetry.health.waiting()) == {"partition 1"}
    process.service._recover()
    assert telemetry.health.waiting() == {}


def test_a_recovery_tells_how_far_it_is_and_is_a_sign_of_life():
    now = [0.0]
    telemetry = Telemetry(60.0)
    observer = PricerMetrics(telemetry, Simulation(1).clock, lambda: now[0])
    observer.assigned([3])
    observer.recovering(3, "folding charges", 0, 9000)
    now[0] = 3.0
    observer.recovering(3, "folding charges", 3000, 9000)
    assert telemetry.health.waiting() == {"partition 3": "folding charges: 3,000 of 9,000, about 6 s left"}
    assert telemetry.health.stuck() == {}


def test_a_fold_reports_every_event_that_it_folds():
    simulation, process = busy_pricer(Telemetry(60.0))
    told = []

    class Listener(Observer):
        def recovering(self, partition, phase, done, total):
            told.append((partition, phase, done, total))

    simulation.store.invalidate(0)
    process.service.observer = Listener()
    process.service._on_assign([0])
    process.service._recover()
    end = process.service.states[0].next_offset
    assert {(partition, phase, total) for partition, phase, _, total in told} == {(0, "folding charges", end)}
    starts = [UnitHeader.decode(r.headers).start for r in messages(simulation, "charges") if r.partition == 0]
    assert [done for *_, done, _ in told] == starts


def test_a_redis_that_is_away_is_counted_and_the_units_that_wait_for_it_too():
    telemetry = Telemetry(60.0)
    simulation, process = busy_pricer(telemetry)
    process.service.store.away = True
    for value in simulation.events[0].values(5):
        simulation.log.append("usage-events", 0, None, value)
    settle(simulation, process)
    assert series(telemetry, "chargeline_unsaved_units", "partition") == {"0": 1}
    assert sum(series(telemetry, "chargeline_transient_errors_total", "peer").values()) >= 1


def test_the_sink_counts_the_rows_that_the_table_holds():
    log, warehouse = world(units=3, rows=4)
    telemetry = Telemetry(60.0)
    topic_sink = sink(log, warehouse)
    topic_sink.observer = SinkMetrics(telemetry, log.clock)
    failures = iter([TransientError("away")])
    insert = warehouse.insert

    def failing(*arguments):
        for error in failures:
            raise error
        insert(*arguments)

    warehouse.insert = failing
    drain(topic_sink)
    assert series(telemetry, "chargeline_rows_total", "table") == {"cost_rollups": warehouse.rows("cost_rollups")}
    assert series(telemetry, "chargeline_insert_seconds_count", "table") == {"cost_rollups": 3}
    assert sum(series(telemetry, "chargeline_transient_errors_total", "peer").values()) == 1
    assert series(telemetry, "chargeline_next_offset", "partition") == {"0": 3}
    assert telemetry.health.waiting() == {}
    topic_sink._on_revoke([0])
    assert set(telemetry.health.waiting()) == {TOPIC}
    assert series(telemetry, "chargeline_next_offset", "partition") == {}
